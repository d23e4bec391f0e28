//! Pages over the logs of several partitions, of letters that all match.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn pages_of_any_size_give_what_one_page_gives(
        deaths in vec(vec((1..4_u64, 0..6_i64), 0..12), 0..5),
        sizes in vec((1..5_usize, 1..6_usize), 1..40),
        is_newest: bool,
    ) {
        let order = if is_newest { Order::NewestFirst } else { Order::OldestFirst };
        let logs = logs(&deaths);
        let (whole, left) = page(order, &logs, &everything(&logs), usize::MAX, usize::MAX);
        prop_assert!(left.is_empty());
        prop_assert_eq!(whole.len(), deaths.iter().map(Vec::len).sum::<usize>());
        let mut left = everything(&logs);
        let mut listed = Vec::new();
        for (size, seen) in sizes.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (picks, next) = page(order, &logs, &left, *size, *seen);
            prop_assert!(picks.len() <= *size);
            let offsets = |ranges: &[PartitionRange]| ranges.iter().map(|r| r.to.0 - r.from.0).sum::<u64>();
            prop_assert!(offsets(&next) < offsets(&left), "each page leaves less");
            listed.extend(picks);
            left = next;
        }
        prop_assert_eq!(listed, whole);
    }
}

/// Logs with gaps between their letters, where markers stand.
fn logs(deaths: &[Vec<(u64, i64)>]) -> Vec<Letters> {
    let place = |deaths: &Vec<(u64, i64)>| {
        let mut offset = 0;
        let letters = deaths.iter().map(|(gap, died_at)| {
            offset += gap;
            (Offset(offset), TimestampMs(*died_at))
        });
        letters.collect()
    };
    deaths.iter().map(place).collect()
}

fn everything(logs: &[Letters]) -> Vec<PartitionRange> {
    (1..)
        .zip(logs)
        .map(|(partition, _)| range(partition, 0, 100))
        .collect()
}

#[test]
fn over_partitions_the_earlier_death_comes_first_then_the_lower_partition() {
    let logs = logs(&[vec![(1, 5), (1, 9)], vec![(1, 5)], vec![(1, 1), (1, 7)]]);
    let at = |partition, offset| (PartitionNumber(partition), Offset(offset));
    let (oldest, _) = page(Order::OldestFirst, &logs, &everything(&logs), 9, 9);
    assert_eq!(oldest, [at(3, 1), at(1, 1), at(2, 1), at(3, 2), at(1, 2)]);
    let (newest, _) = page(Order::NewestFirst, &logs, &everything(&logs), 9, 9);
    assert_eq!(newest, oldest.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn letters_that_come_after_the_first_page_are_not_part_of_the_selection() {
    let first = logs(&[vec![(1, 1), (1, 2)]]);
    let fixed = [range(1, 0, 3)];
    let (_, left) = page(Order::OldestFirst, &first, &fixed, 1, 9);
    let grown = logs(&[vec![(1, 1), (1, 2), (1, 3)]]);
    let (rest, left) = page(Order::OldestFirst, &grown, &left, 9, 9);
    assert_eq!(
        (rest, left),
        (vec![(PartitionNumber(1), Offset(2))], Vec::new())
    );
}

#[test]
fn a_partition_that_was_looked_at_in_vain_holds_the_page_back_but_makes_progress() {
    let vain = PartitionPage {
        asked: range(1, 0, 100),
        unseen: range(1, 60, 100),
        letters: Vec::new(),
    };
    let found = PartitionPage {
        asked: range(2, 0, 10),
        unseen: range(2, 0, 0),
        letters: vec![(Offset(4), TimestampMs(1))],
    };
    let merged = merge(Order::OldestFirst, &[vain, found], 10);
    assert_eq!(merged.picks, []);
    assert_eq!(merged.remaining, [range(1, 60, 100), range(2, 4, 10)]);
}
