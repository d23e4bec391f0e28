//! Records whose own numbers and names lie, or are too large.

use super::*;

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
