//! Entries of the delivery log: histories through them, and reading them either way.

use super::*;
use crate::delivery::limits::RETRIES_MAX;

const RETRY: Verdict = Verdict::Retry { at: NOW };

#[test]
fn a_history_is_read_through_outcomes_and_copies_however_many() {
    let mut partition = with_messages(2);
    let first = partition
        .append_entries(&[outcome(0, 1, RETRY), outcome(1, 1, RETRY)], NOW)
        .unwrap();
    assert_eq!(first.next_offset, Offset(2));
    partition
        .append_entries(&[outcome(0, 2, RETRY), outcome(0, 3, RETRY)], NOW)
        .unwrap();
    let read = |partition: &Partition, message: u64| {
        let at = partition.delivery().unwrap().history_at(Offset(message));
        let history = partition.push_reader().history(at).unwrap();
        let numbers = history.attempts().iter().map(|attempt| attempt.number);
        (numbers.collect::<Vec<_>>(), history.left_out())
    };
    assert_eq!(read(&partition, 0), (vec![1, 2, 3], 0));
    assert_eq!(read(&partition, 1), (vec![1], 0));
    let mut history = History::default();
    (1..=3).for_each(|number| history.push(attempt(number)));
    let copy = Entry::History {
        message: Offset(0),
        history,
    };
    partition
        .append_entries(&[copy, outcome(0, 4, RETRY)], NOW)
        .unwrap();
    assert_eq!(read(&partition, 0), (vec![1, 2, 3, 4], 0));
    for number in 2..=RETRIES_MAX + 1 {
        partition
            .append_entries(&[outcome(1, number, RETRY)], NOW)
            .unwrap();
    }
    let (numbers, left_out) = read(&partition, 1);
    assert_eq!((numbers[0], numbers.last()), (1, Some(&(RETRIES_MAX + 1))));
    let kept = u32::try_from(numbers.len()).unwrap();
    assert_eq!(kept + left_out, RETRIES_MAX + 1);
}

#[test]
fn what_is_not_durable_is_read_as_well_and_not_kept() {
    let mut partition = with_messages(1);
    partition
        .append_entries(&[outcome(0, 1, RETRY)], NOW)
        .unwrap();
    sync(&mut partition, LogKind::Delivery);
    partition
        .append_entries(&[outcome(0, 2, RETRY)], NOW)
        .unwrap();
    let reader = partition.push_reader();
    let mut recent = RecentBatches::default();
    let newest = reader.outcome_near(Offset(1), &mut recent).unwrap();
    assert_eq!((newest.attempt.number, recent.bytes()), (2, 0));
    let history = reader.history_near(Some(Offset(1)), &mut recent).unwrap();
    assert_eq!(history, reader.history(Some(Offset(1))).unwrap());
    assert!(recent.bytes() > 0, "the first one is durable");
}

#[test]
fn entries_are_read_forwards_and_backwards_when_they_are_durable() {
    let mut partition = with_messages(1);
    for number in 1..=700 {
        partition
            .append_entries(&[outcome(0, number, RETRY)], NOW)
            .unwrap();
    }
    let reader = partition.push_reader();
    assert_eq!(reader.entries(Offset(0), 1 << 20).unwrap(), []);
    sync(&mut partition, LogKind::Delivery);
    let upkeep_reader = partition.push_reader();
    let all = upkeep_reader.entries(Offset(0), 1 << 20).unwrap();
    let offsets = |entries: &[PlacedEntry]| entries.iter().map(|(at, ..)| at.0).collect::<Vec<_>>();
    assert_eq!(offsets(&all), (0..700).collect::<Vec<_>>());
    assert_eq!(
        offsets(&reader.entries(Offset(698), 1 << 20).unwrap()),
        [698, 699]
    );
    assert_eq!(offsets(&reader.entries(Offset(5), 1).unwrap()), [5]);
    assert_eq!(reader.entries(Offset(700), 1 << 20).unwrap(), []);
    let back = reader.entries_back(Offset(600), usize::MAX).unwrap();
    assert_eq!(offsets(&back), (0..600).rev().collect::<Vec<_>>());
    let some = reader.entries_back(Offset(u64::MAX), 1).unwrap();
    assert_eq!(offsets(&some)[..2], [699, 698]);
    assert!(some.len() < 700);
    assert_eq!(reader.entries_back(Offset(0), 1 << 20).unwrap(), []);
    assert_eq!(reader.outcome(Offset(3)).unwrap().attempt.number, 4);
    assert!(reader.outcome(Offset(700)).is_err());
}

#[test]
#[should_panic(expected = "was not admitted")]
fn an_entry_about_nothing_is_our_own_mistake() {
    let mut partition = with_messages(1);
    partition.append_entries(&[outcome(1, 1, RETRY)], NOW).ok();
}
