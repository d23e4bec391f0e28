//! What the check of a produced batch refuses, and where it says that the fault is.

use super::*;
use crate::batch::varint::{write_i32, write_i64};
use crate::error::RecordFault;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::Offset;

fn refusal(batch: &[u8], limits: &BatchLimits) -> BatchRefusal {
    check_produced(batch, limits).unwrap_err()
}

/// A record by its parts; the tests change one of them at a time.
#[derive(Clone)]
struct Forged {
    length_off_by: i32,
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    /// Length and bytes.
    key: (i32, Vec<u8>),
    value: (i32, Vec<u8>),
    header_count: i32,
    headers: Vec<u8>,
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            length_off_by: 0,
            attributes: 0,
            timestamp_delta: 0,
            offset_delta: 1,
            key: (1, b"k".to_vec()),
            value: (5, b"value".to_vec()),
            header_count: 0,
            headers: Vec::new(),
        }
    }
}

impl Forged {
    fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.attributes];
        write_i64(&mut body, self.timestamp_delta);
        write_i32(&mut body, self.offset_delta);
        for (length, bytes) in [&self.key, &self.value] {
            write_i32(&mut body, *length);
            body.extend_from_slice(bytes);
        }
        write_i32(&mut body, self.header_count);
        body.extend_from_slice(&self.headers);
        let mut out = Vec::new();
        write_i32(&mut out, body.len() as i32 + self.length_off_by);
        out.extend_from_slice(&body);
        out
    }
}

/// The fault that the check finds in the second record, which stands between two that are right, in each codec.
fn fault_of(forged: &Forged) -> RecordFault {
    fault_of_bytes(&forged.encode(), &BatchLimits::default())
}

fn fault_of_bytes(second: &[u8], limits: &BatchLimits) -> RecordFault {
    let right = build(Codec::None, &[value("first"), value("2"), value("third")]);
    let first = Forged {
        offset_delta: 0,
        ..Forged::default()
    }
    .encode();
    let third = Forged {
        offset_delta: 2,
        ..Forged::default()
    }
    .encode();
    let section = [&first, second, &third].concat();
    let mut faults = Vec::new();
    for codec in CODECS {
        let mut body = Vec::new();
        crate::batch::codec::pack(codec, &section, &mut body).unwrap();
        let mut header = header_of(&right);
        header.attributes.codec = codec;
        let batch = packed(header, section.len() as u32, &body);
        match refusal(&batch, limits) {
            BatchRefusal::Record {
                index: 1,
                position,
                fault,
            } if position as usize == first.len() => faults.push(fault),
            other => panic!("{codec:?}: {other}"),
        }
    }
    assert_eq!((faults[0], faults[0]), (faults[1], faults[2]));
    faults[0]
}

fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_i32(&mut out, name.len() as i32);
    out.extend_from_slice(name);
    write_i32(&mut out, value.len() as i32);
    out.extend_from_slice(value);
    out
}

fn with_headers(header_count: i32, headers: Vec<u8>) -> Forged {
    Forged {
        header_count,
        headers,
        ..Forged::default()
    }
}

#[test]
fn a_forged_record_without_a_fault_passes() {
    let right = header_of(&build(Codec::None, &[value("1"), value("2")]));
    let first = Forged {
        offset_delta: 0,
        ..Forged::default()
    };
    let second = with_headers(2, [header(b"a", b"1"), header(b"a", b"")].concat());
    let section = [first.encode(), second.encode()].concat();
    assert!(check_produced(&sealed(right, &section), &BatchLimits::default()).is_ok());
}

#[test]
fn attributes_and_deltas_that_lie_are_refused() {
    let field = |part, found, expected| RecordFault::Field {
        part,
        found,
        expected,
    };
    let attributes = Forged {
        attributes: 4,
        ..Forged::default()
    };
    assert_eq!(fault_of(&attributes), field("attributes", 4, 0));
    for delta in [0, 2, -1, i32::MAX] {
        let forged = Forged {
            offset_delta: delta,
            ..Forged::default()
        };
        assert_eq!(fault_of(&forged), field("offset delta", delta.into(), 1));
    }
    let overflow = Forged {
        timestamp_delta: i64::MAX,
        ..Forged::default()
    };
    assert_eq!(
        fault_of(&overflow),
        RecordFault::Timestamp { delta: i64::MAX }
    );
}

#[test]
fn a_record_length_that_lies_is_refused() {
    let bytes = Forged::default().encode().len() as i32;
    for (length_off_by, expected) in [
        (1, "1 bytes follow the record's last part"),
        (-1, "the header count needs 1 bytes, 0 are left"),
        (i32::MAX - bytes, "the record needs 2147483646 bytes"),
        (-bytes, "the record length is -1, it must be 0 or more"),
    ] {
        let lying = Forged {
            length_off_by,
            ..Forged::default()
        };
        let fault = fault_of(&lying).to_string();
        assert!(
            fault.starts_with(expected),
            "off by {length_off_by}: {fault}"
        );
    }
}

#[test]
fn key_and_value_lengths_that_lie_are_refused() {
    let forged = |key, value| Forged {
        key,
        value,
        ..Forged::default()
    };
    let long = |part, needed, available| RecordFault::Truncated {
        part,
        needed,
        available,
    };
    let less_than_null = |part| RecordFault::Negative {
        part,
        found: -2,
        least: -1,
    };
    let null = || (-1, vec![]);
    assert_eq!(
        fault_of(&forged((i32::MAX, vec![]), (0, vec![]))),
        long("key", i32::MAX as u64, 2)
    );
    assert_eq!(
        fault_of(&forged((0, vec![]), (2, vec![]))),
        long("value", 2, 1)
    );
    assert_eq!(
        fault_of(&forged((-2, vec![]), null())),
        less_than_null("key length")
    );
    assert_eq!(
        fault_of(&forged(null(), (-2, vec![]))),
        less_than_null("value length")
    );
}

#[test]
fn header_lengths_that_lie_are_refused() {
    let truncated = |part, needed, available| RecordFault::Truncated {
        part,
        needed,
        available,
    };
    assert_eq!(
        fault_of(&with_headers(-1, vec![])),
        RecordFault::Negative {
            part: "header count",
            found: -1,
            least: 0
        }
    );
    assert_eq!(
        fault_of(&with_headers(i32::MAX, header(b"n", b"v"))),
        truncated("header name length", 1, 0)
    );
    assert_eq!(
        fault_of(&with_headers(1, [header(b"n", b"v"), vec![0]].concat())),
        RecordFault::Trailing {
            part: "record's last part",
            bytes: 1
        }
    );
    let mut long_name = Vec::new();
    write_i32(&mut long_name, i32::MAX);
    assert_eq!(
        fault_of(&with_headers(1, long_name)),
        truncated("header name", i32::MAX as u64, 0)
    );
    let mut null_name = Vec::new();
    write_i32(&mut null_name, -1);
    assert_eq!(
        fault_of(&with_headers(1, null_name)),
        RecordFault::Negative {
            part: "header name length",
            found: -1,
            least: 0
        }
    );
    assert_eq!(
        fault_of(&with_headers(1, header(b"\xff", b""))),
        RecordFault::HeaderName { header: 0 }
    );
}

#[test]
fn numbers_in_a_longer_form_are_refused() {
    let mut bytes = Forged::default().encode();
    bytes[0] |= 0x80;
    bytes.insert(1, 0);
    assert_eq!(
        fault_of_bytes(&bytes, &BatchLimits::default()),
        RecordFault::Varint {
            part: "record length"
        }
    );
}

#[test]
fn reserved_header_names_are_refused_from_a_producer() {
    let headers = [header(b"mine", b""), header(b"redrive.cause", b"")].concat();
    assert_eq!(
        fault_of(&with_headers(2, headers)),
        RecordFault::ReservedHeader { header: 1 }
    );
}

#[test]
fn parts_over_the_limits_are_refused() {
    let limits = BatchLimits {
        record_bytes_max: 40,
        key_bytes_max: 10,
        header_count_max: 2,
        header_name_bytes_max: 4,
        header_value_bytes_max: 8,
        ..BatchLimits::default()
    };
    let part = |forged: &Forged| match fault_of_bytes(&forged.encode(), &limits) {
        RecordFault::TooLarge { part, found, limit } => (part, found, limit),
        other => panic!("{other}"),
    };
    let of = |key: usize, value: usize| Forged {
        key: (key as i32, vec![b'k'; key]),
        value: (value as i32, vec![b'v'; value]),
        ..Forged::default()
    };
    assert_eq!(part(&of(11, 0)), ("key, in bytes,", 11, 10));
    assert_eq!(part(&of(10, 31)), ("record, in bytes,", 41, 40));
    let counted = Forged {
        header_count: 2,
        headers: [header(b"name", b"12345678"), header(b"name", b"1")].concat(),
        ..of(10, 14)
    };
    assert_eq!(part(&counted), ("record, in bytes,", 41, 40));
    let three = header(b"n", b"").repeat(3);
    assert_eq!(part(&with_headers(3, three)), ("header count", 3, 2));
    assert_eq!(
        part(&with_headers(1, header(b"names", b""))),
        ("header name, in bytes,", 5, 4)
    );
    assert_eq!(
        part(&with_headers(1, header(b"n", b"123456789"))),
        ("header value, in bytes,", 9, 8)
    );
}

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
