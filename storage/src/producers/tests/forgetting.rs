//! What the memory lets go of: by count, by time, with retention.

use super::*;

#[test]
fn who_was_silent_longest_is_dropped_first() {
    let mut partition = Partition::new(SMALL);
    for id in [1, 2, 3] {
        assert_eq!(partition.produce(id, 0, 0, 1), Verdict::Fresh);
    }
    assert_eq!(partition.produce(1, 0, 1, 1), Verdict::Fresh);
    assert_eq!(partition.produce(4, 0, 0, 1), Verdict::Fresh);
    assert_eq!(partition.producers.len(), 3);
    assert_eq!(partition.check(2, 0, 1, 1), Verdict::Unknown { found: 1 });
    for (id, next) in [(1, 2), (3, 1), (4, 1)] {
        assert_eq!(
            partition.check(id, 0, next, 1),
            Verdict::Fresh,
            "producer {id}"
        );
    }
    partition.producers.set_limits(ProducerLimits {
        producer_count_max: 1,
        ..SMALL
    });
    assert_eq!(partition.check(1, 0, 2, 1), Verdict::Unknown { found: 2 });
    assert_eq!(partition.check(4, 0, 1, 1), Verdict::Fresh);
}

#[test]
fn the_memory_ends_by_append_time_and_not_a_millisecond_before() {
    let mut partition = Partition::new(SMALL);
    assert_eq!(partition.produce(1, 7, 0, 2), Verdict::Fresh);
    partition.now += SMALL.memory_ms;
    partition
        .producers
        .forget_expired(TimestampMs(partition.now));
    assert_eq!(partition.check(1, 7, 0, 2), repeat(100, 102));
    partition.now += 1;
    assert_eq!(partition.check(1, 7, 2, 2), Verdict::Unknown { found: 2 });
    // Nothing was forgotten yet, and it must not be taken for a repeat either.
    assert_eq!(partition.produce(1, 7, 0, 2), Verdict::Fresh);
    assert_eq!(partition.check(1, 7, 0, 2), repeat(102, 104));
    partition.now += SMALL.memory_ms + 1;
    partition
        .producers
        .forget_expired(TimestampMs(partition.now));
    assert!(partition.producers.is_empty());
}

#[test]
fn the_memory_is_the_shorter_of_a_day_and_the_retention() {
    let of = |ms| ProducerLimits::of_retention(ms).memory_ms;
    assert_eq!(of(None), PRODUCER_MEMORY_MS);
    assert_eq!(of(Some(PRODUCER_MEMORY_MS + 1)), PRODUCER_MEMORY_MS);
    assert_eq!(of(Some(5)), 5);
}

#[test]
fn what_retention_deleted_is_not_remembered() {
    let mut partition = Partition::new(SMALL);
    for n in 0..3 {
        assert_eq!(partition.produce(1, 0, n, 1), Verdict::Fresh);
    }
    assert_eq!(partition.produce(2, 0, 0, 1), Verdict::Fresh);
    partition.producers.forget_below(Offset(102));
    let (expected, found) = (3, 1);
    assert_eq!(
        partition.check(1, 0, 1, 1),
        Verdict::Forgotten { expected, found }
    );
    assert_eq!(partition.check(1, 0, 2, 1), repeat(102, 103));
    partition.producers.forget_below(Offset(103));
    assert_eq!(partition.producers.len(), 1);
    assert_eq!(partition.check(1, 0, 3, 1), Verdict::Unknown { found: 3 });
}
