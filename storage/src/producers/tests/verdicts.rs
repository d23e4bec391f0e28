//! What is said of a batch: fresh, a repeat, a gap, fenced, forgotten.

use super::*;

#[test]
fn batches_follow_one_another_and_five_repeats_are_known() {
    let mut partition = Partition::new(ProducerLimits::default());
    for n in 0..7 {
        assert_eq!(partition.produce(1, 0, n * 10, 10), Verdict::Fresh);
    }
    let expected = 70;
    for n in 0..7 {
        let found = n * 10;
        let verdict = if n < 2 {
            Verdict::Forgotten { expected, found }
        } else {
            repeat(100 + u64::from(found), 110 + u64::from(found))
        };
        assert_eq!(partition.produce(1, 0, found, 10), verdict);
    }
    let found = 80;
    assert_eq!(
        partition.produce(1, 0, found, 10),
        Verdict::Gap { expected, found }
    );
    let found = 60;
    let other_count = Verdict::Forgotten { expected, found };
    assert_eq!(partition.produce(1, 0, found, 9), other_count);
    assert_eq!(partition.log.len(), 7);
}

#[test]
fn a_producer_nobody_knows_begins_at_sequence_0() {
    let mut partition = Partition::new(ProducerLimits::default());
    assert_eq!(partition.produce(9, 3, 5, 1), Verdict::Unknown { found: 5 });
    assert!(partition.producers.is_empty());
    assert_eq!(partition.produce(9, 3, 0, 5), Verdict::Fresh);
    assert_eq!(partition.produce(9, 3, 5, 1), Verdict::Fresh);
}

#[test]
fn a_higher_epoch_begins_anew_and_fences_the_lower() {
    let mut partition = Partition::new(ProducerLimits::default());
    assert_eq!(partition.produce(1, 4, 0, 3), Verdict::Fresh);
    let (expected, found) = (0, 3);
    assert_eq!(
        partition.produce(1, 5, 3, 1),
        Verdict::Gap { expected, found }
    );
    assert_eq!(partition.produce(1, 4, 3, 1), Verdict::Fresh);
    assert_eq!(partition.produce(1, 5, 0, 3), Verdict::Fresh);
    let current_epoch = 5;
    for sequence in [0, 3, 4] {
        let verdict = partition.produce(1, 4, sequence, 3);
        assert_eq!(verdict, Verdict::Fenced { current_epoch });
    }
    // The repeat of sequence 0 is the new epoch's, not the old one's.
    assert_eq!(partition.produce(1, 5, 0, 3), repeat(104, 107));
}

#[test]
fn the_sequence_wraps_from_the_last_but_one_to_0() {
    assert_eq!(next_sequence(u32::MAX - 2, 1), u32::MAX - 1);
    assert_eq!(next_sequence(u32::MAX - 1, 1), 0);
    assert_eq!(next_sequence(u32::MAX - 1, 5), 4);
    let mut partition = Partition::new(ProducerLimits::default());
    partition.append(producer(1, 0, u32::MAX - 4), 3);
    let found = 0;
    let expected = u32::MAX - 1;
    assert_eq!(
        partition.check(1, 0, found, 1),
        Verdict::Gap { expected, found }
    );
    assert_eq!(partition.produce(1, 0, u32::MAX - 1, 2), Verdict::Fresh);
    assert_eq!(partition.produce(1, 0, 1, 1), Verdict::Fresh);
    assert_eq!(partition.check(1, 0, u32::MAX - 1, 2), repeat(103, 105));
    assert_eq!(partition.check(1, 0, u32::MAX - 4, 3), repeat(100, 103));
    let (expected, found) = (2, u32::MAX - 9);
    assert_eq!(
        partition.check(1, 0, found, 1),
        Verdict::Forgotten { expected, found }
    );
}

#[test]
fn a_new_epoch_forgets_the_batches_of_the_old_also_where_the_sequence_wraps() {
    let mut partition = Partition::new(ProducerLimits::default());
    partition.append(producer(1, 0, u32::MAX - 1), 1);
    assert_eq!(partition.produce(1, 1, 0, 1), Verdict::Fresh);
    let (expected, found) = (1, u32::MAX - 1);
    assert_eq!(
        partition.check(1, 1, found, 1),
        Verdict::Forgotten { expected, found }
    );
}

#[test]
fn a_sequence_that_begins_again_in_the_log_takes_the_place_of_the_first() {
    // Written under a shorter memory than the one it is folded with.
    let mut partition = Partition::new(SMALL);
    for sequence in [0, 2, 0] {
        partition.append(producer(1, 0, sequence), 2);
    }
    assert_eq!(partition.check(1, 0, 0, 2), repeat(104, 106));
    assert_eq!(partition.check(1, 0, 2, 2), Verdict::Fresh);
    let bytes = partition.producers.encode();
    assert_eq!(Producers::decode(SMALL, &bytes), Ok(partition.producers));
}

#[test]
fn batches_without_a_producer_change_nothing() {
    let mut producers = Producers::new(SMALL);
    let mut header = header(producer(1, 0, 0), 1, 0, 0);
    header.producer = None;
    producers.record(&header);
    assert!(producers.is_empty());
}
