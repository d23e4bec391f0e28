//! Tests of the memory of producers: against a model that keeps the whole log, and one by one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::batch::header::{Attributes, HEADER_BYTES_U32};
use crate::log_id::{LogId, LogKind, PartitionNumber};

const SMALL: ProducerLimits = ProducerLimits {
    memory_ms: 1_000,
    producer_count_max: 3,
};

fn producer(id: u64, epoch: u16, base_sequence: u32) -> Producer {
    Producer {
        id,
        epoch,
        base_sequence,
    }
}

fn header(producer: Producer, record_count: u32, base_offset: u64, now: i64) -> BatchHeader {
    BatchHeader {
        log: Some(LogId::new(PartitionNumber(1), LogKind::Main)),
        attributes: Attributes::default(),
        length: HEADER_BYTES_U32,
        base_offset: Offset(base_offset),
        record_count,
        unpacked_bytes: 0,
        producer: Some(producer),
        body_crc: 0,
        first_timestamp: TimestampMs(0),
        max_timestamp: TimestampMs(0),
        append_time: TimestampMs(now),
        prev_header_crc: 0,
        durable_up_to: Offset(0),
        header_crc: 0,
    }
}

/// A log with its memory, appended to as a partition does.
struct Partition {
    producers: Producers,
    log: Vec<BatchHeader>,
    log_start: Offset,
    end: u64,
    now: i64,
}

impl Partition {
    fn new(limits: ProducerLimits) -> Self {
        Self {
            producers: Producers::new(limits),
            log: Vec::new(),
            log_start: Offset(0),
            end: 100,
            now: 1_000_000,
        }
    }

    fn check(&self, id: u64, epoch: u16, sequence: u32, count: u32) -> Verdict {
        let now = TimestampMs(self.now);
        self.producers
            .check(&producer(id, epoch, sequence), count, now)
    }

    fn produce(&mut self, id: u64, epoch: u16, sequence: u32, count: u32) -> Verdict {
        let verdict = self.check(id, epoch, sequence, count);
        if verdict == Verdict::Fresh {
            self.append(producer(id, epoch, sequence), count);
        }
        verdict
    }

    fn append(&mut self, producer: Producer, count: u32) {
        let header = header(producer, count, self.end, self.now);
        self.end += u64::from(count);
        self.producers.record(&header);
        self.log.push(header);
    }

    fn folded(&self) -> Producers {
        let mut folded = Producers::new(self.producers.limits);
        for header in self.log.iter().filter(|h| h.base_offset >= self.log_start) {
            folded.record(header);
        }
        folded.forget_expired(TimestampMs(self.now));
        folded
    }
}

fn repeat(base: u64, next: u64) -> Verdict {
    Verdict::Repeat {
        base_offset: Offset(base),
        next_offset: Offset(next),
    }
}

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

#[test]
fn batches_without_a_producer_change_nothing() {
    let mut producers = Producers::new(SMALL);
    let mut header = header(producer(1, 0, 0), 1, 0, 0);
    header.producer = None;
    producers.record(&header);
    assert!(producers.is_empty());
}

fn sample() -> Producers {
    let mut partition = Partition::new(SMALL);
    for n in 0..7 {
        partition.produce(1, 2, n * 3, 3);
        partition.now += 1;
    }
    partition.produce(u64::MAX - 1, u16::MAX, 0, 9);
    partition.append(producer(5, 0, u32::MAX - 1), 1);
    partition.producers
}

#[test]
fn the_encoding_is_the_golden_one() {
    const GOLDEN: &str = include_str!("../../tests/fixtures/producers-v1.hex");
    let bytes = sample().encode();
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    assert_eq!(hex, GOLDEN.trim());
}

#[test]
fn truncated_at_every_byte_is_an_error() {
    let bytes = sample().encode();
    for end in 0..bytes.len() {
        assert!(
            Producers::decode(SMALL, &bytes[..end]).is_err(),
            "cut at {end}"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Producers::decode(SMALL, &longer).is_err());
}

#[test]
fn lies_are_refused_and_cost_nothing() {
    let bytes = sample().encode();
    let lie = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        Producers::decode(SMALL, &bytes)
    };
    for (what, at, value) in [
        ("version", 0, &[2][..]),
        ("count of producers", 1, &[0xFF; 4]),
        ("producer id", 5, &[0xFF; 8]),
        ("batch count 0", 23, &[0]),
        ("batch count 6", 23, &[6]),
        ("sequence", 24, &[0xFF; 4]),
        ("record count", 28, &[0; 4]),
    ] {
        assert!(lie(at, value).is_err(), "{what}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Produce {
        id: u64,
        epoch: u16,
        skip: u32,
        count: u32,
    },
    Again {
        back: usize,
    },
    Wait {
        ms: i64,
    },
    Retention {
        keep: usize,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u64, 0..3_u16, prop_oneof![4 => Just(0), 1 => 0..4_u32], 1..4_u32)
            .prop_map(|(id, epoch, skip, count)| Step::Produce { id, epoch, skip, count }),
        4 => (0..12_usize).prop_map(|back| Step::Again { back }),
        1 => (0..700_i64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..8_usize).prop_map(|keep| Step::Retention { keep }),
        1 => Just(Step::Restart),
    ]
}

/// The sequence behind the last batch that the log has of this producer and epoch.
fn next_in_log(log: &[BatchHeader], id: u64, epoch: u16) -> u32 {
    log.iter()
        .rev()
        .filter_map(|h| h.producer.map(|p| (p, h.record_count)))
        .find(|(p, _)| p.id == id && p.epoch == epoch)
        .map_or(0, |(p, count)| next_sequence(p.base_sequence, count))
}

/// What a memory of three producers must remember: the batches of the last three producers in the retained log.
fn is_due(partition: &Partition, header: &BatchHeader) -> bool {
    let producer = header.producer.unwrap();
    let behind: Vec<_> = partition
        .log
        .iter()
        .filter(|h| h.base_offset > header.base_offset)
        .collect();
    let own = |h: &&&BatchHeader| h.producer.unwrap().id == producer.id;
    let mut others: Vec<_> = behind
        .iter()
        .map(|h| h.producer.unwrap().id)
        .filter(|id| *id != producer.id)
        .collect();
    others.sort_unstable();
    others.dedup();
    header.base_offset >= partition.log_start
        && partition.now - header.append_time.0 <= SMALL.memory_ms
        && others.len() < SMALL.producer_count_max
        && behind.iter().filter(own).count() < PRODUCER_BATCHES_MAX
        && !behind
            .iter()
            .filter(own)
            .any(|h| h.producer.unwrap().epoch != producer.epoch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_repeat_is_never_stored_twice_and_the_state_is_the_fold(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut partition = Partition::new(SMALL);
        for step in steps {
            match step {
                Step::Produce { id, epoch, skip, count } => {
                    let next = next_in_log(&partition.log, id, epoch) + skip;
                    partition.produce(id, epoch, next, count);
                }
                Step::Again { back } => {
                    let Some(at) = partition.log.len().checked_sub(back + 1) else { continue };
                    let header = partition.log[at];
                    let (p, count) = (header.producer.unwrap(), header.record_count);
                    let is_due = is_due(&partition, &header);
                    let verdict = partition.produce(p.id, p.epoch, p.base_sequence, count);
                    if is_due {
                        let (base, next) = (header.base_offset.0, header.next_offset().0);
                        prop_assert_eq!(verdict, repeat(base, next));
                    }
                }
                Step::Wait { ms } => partition.now += ms,
                Step::Retention { keep } => {
                    let Some(at) = partition.log.len().checked_sub(keep + 1) else { continue };
                    let start = partition.log[at].base_offset;
                    partition.log_start = partition.log_start.max(start);
                    partition.producers.forget_below(partition.log_start);
                }
                Step::Restart => {
                    let bytes = partition.producers.encode();
                    let decoded = Producers::decode(SMALL, &bytes).unwrap();
                    prop_assert_eq!(&decoded, &partition.producers);
                    partition.producers = decoded;
                }
            }
            partition.producers.forget_expired(TimestampMs(partition.now));
            prop_assert!(partition.producers.len() <= SMALL.producer_count_max);
            prop_assert_eq!(&partition.folded(), &partition.producers);
        }
    }

    #[test]
    fn any_bytes_decode_to_an_error_or_to_what_encodes_to_them(
        at in 0..200_usize, byte in any::<u8>(),
    ) {
        let mut bytes = sample().encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(decoded) = Producers::decode(SMALL, &bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }
}
