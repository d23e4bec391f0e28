//! Batches whose header lies about their records, claims what is the broker's, or exceeds a limit.

use super::*;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::Offset;

#[test]
fn a_record_count_that_lies_is_refused() {
    let batch = build(Codec::None, &[value("a"), value("b")]);
    let section = &batch[HEADER_BYTES..];
    let mut header = header_of(&batch);
    header.record_count = 3;
    assert_eq!(
        refusal(&sealed(header, section), &BatchLimits::default()),
        BatchRefusal::Record {
            index: 2,
            position: section.len() as u32,
            fault: RecordFault::Truncated {
                part: "record length",
                needed: 1,
                available: 0
            }
        }
    );
    header.record_count = 1;
    assert_eq!(
        refusal(&sealed(header, section), &BatchLimits::default()),
        BatchRefusal::Record {
            index: 1,
            position: 8,
            fault: RecordFault::Trailing {
                part: "last record",
                bytes: 8
            }
        }
    );
}

#[test]
fn timestamps_that_lie_are_refused() {
    let batch = build(Codec::None, &[value("a"), value("b")]);
    let section = &batch[HEADER_BYTES..];
    for wrong in [NOW.saturating_add(1), NOW.saturating_add(-1)] {
        let mut header = header_of(&batch);
        header.max_timestamp = wrong;
        assert_eq!(
            refusal(&sealed(header, section), &BatchLimits::default()),
            BatchRefusal::MaxTimestamp {
                declared: wrong,
                found: NOW
            }
        );
    }
    let late_first = Forged {
        timestamp_delta: 3,
        offset_delta: 0,
        ..Forged::default()
    };
    let header = header_of(&build(Codec::None, &[value("a")]));
    assert_eq!(
        refusal(
            &sealed(header, &late_first.encode()),
            &BatchLimits::default()
        ),
        BatchRefusal::Record {
            index: 0,
            position: 0,
            fault: RecordFault::Field {
                part: "first timestamp delta",
                found: 3,
                expected: 0
            }
        }
    );
}

type Change = fn(&mut BatchHeader);

#[test]
fn every_field_of_the_broker_is_refused_from_a_producer() {
    let batch = build(Codec::None, &[value("a")]);
    let section = &batch[HEADER_BYTES..];
    let main = LogId::new(PartitionNumber(0), LogKind::Main);
    let sets: [(&str, u64, Change); 6] = [
        ("\"built by the broker\" bit", 1, |h| {
            h.attributes.is_broker_built = true;
        }),
        ("\"built by the broker\" bit", 1, |h| {
            h.attributes.is_broker_built = true;
            h.attributes.holds_causes = true;
        }),
        ("base offset", 7, |h| h.base_offset = Offset(7)),
        ("append time", u64::MAX, |h| h.append_time = TimestampMs(-1)),
        ("previous header CRC", 9, |h| h.prev_header_crc = 9),
        ("durable up to", 5, |h| h.durable_up_to = Offset(5)),
    ];
    let refused = |header: BatchHeader| refusal(&sealed(header, section), &BatchLimits::default());
    for (field, value, set) in sets {
        let mut header = header_of(&batch);
        set(&mut header);
        assert_eq!(refused(header), BatchRefusal::BrokerField { field, value });
    }
    let mut header = header_of(&batch);
    header.log = Some(main);
    let (field, value) = ("log kind", 1);
    assert_eq!(refused(header), BatchRefusal::BrokerField { field, value });
}

#[test]
fn sizes_of_the_batch_over_the_limits_are_refused() {
    let text = "a".repeat(1000);
    let batch = build(Codec::Zstd, &[value(&text), value(&text)]);
    let section_bytes = header_of(&batch).unpacked_bytes;
    let bytes = batch.len() as u32;
    let at_limit = BatchLimits {
        batch_bytes_max: bytes,
        unpacked_bytes_max: section_bytes,
        record_count_max: 2,
        record_bytes_max: 1000,
        ..BatchLimits::default()
    };
    assert!(check_produced(&batch, &at_limit).is_ok());
    let over = |limits: BatchLimits| match refusal(&batch, &limits) {
        BatchRefusal::TooLarge { part, found, limit } => {
            assert_eq!(found, u64::from(limit) + 1);
            part
        }
        other => panic!("{other}"),
    };
    let batch_bytes_max = bytes - 1;
    assert_eq!(
        over(BatchLimits {
            batch_bytes_max,
            ..at_limit
        }),
        "size in bytes"
    );
    let unpacked_bytes_max = section_bytes - 1;
    assert_eq!(
        over(BatchLimits {
            unpacked_bytes_max,
            ..at_limit
        }),
        "unpacked size in bytes"
    );
    let record_count_max = 1;
    assert_eq!(
        over(BatchLimits {
            record_count_max,
            ..at_limit
        }),
        "record count"
    );
}

#[test]
fn a_length_other_than_what_was_sent_is_refused() {
    let mut batch = build(Codec::None, &[value("a")]);
    let bytes = batch.len() as u32;
    batch.push(0);
    assert_eq!(
        refusal(&batch, &BatchLimits::default()),
        BatchRefusal::Length {
            declared: bytes,
            received: u64::from(bytes) + 1
        }
    );
}

#[test]
fn a_refusal_says_where_the_fault_is_and_what_would_be_right() {
    let forged = Forged {
        offset_delta: 5,
        ..Forged::default()
    };
    let header = header_of(&build(Codec::None, &[value("a")]));
    assert_eq!(
        refusal(&sealed(header, &forged.encode()), &BatchLimits::default()).to_string(),
        "record 0 at byte 0 of the unpacked records section: the offset delta is 5, 0 was to come"
    );
}

/// What is taken must be read: readers unpack no more than the ceiling, whatever a topic's batches may have.
#[test]
fn no_log_takes_what_readers_do_not_unpack() {
    for batch_bytes_max in [4 << 10, 8 << 20, 9 << 20, BATCH_BYTES_CEILING] {
        let limits = BatchLimits::new(1 << 20, batch_bytes_max);
        let wanted = u64::from(batch_bytes_max) * 8;
        let expected = wanted.min(u64::from(BATCH_BYTES_CEILING));
        assert_eq!(u64::from(limits.unpacked_bytes_max), expected);
    }
}
