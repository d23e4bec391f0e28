//! The encoding of records: Kafka's record batch v2, byte for byte.

use super::*;

/// Three records, encoded by hand from Kafka's description of record batch v2.
fn by_hand() -> (Vec<NewRecord<'static>>, Vec<u8>) {
    const HEADER: [HeaderRef<'_>; 1] = [HeaderRef {
        name: "h",
        value: Some(b"x"),
    }];
    const NULL_HEADER: [HeaderRef<'_>; 1] = [HeaderRef {
        name: "",
        value: None,
    }];
    let records = vec![
        NewRecord {
            timestamp: NOW,
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &HEADER,
        },
        NewRecord {
            timestamp: NOW.saturating_add(1000),
            ..NewRecord::default()
        },
        NewRecord {
            timestamp: NOW.saturating_add(-1),
            key: Some(b""),
            value: Some(&[0x55; 64]),
            headers: &NULL_HEADER,
        },
    ];
    let mut bytes = vec![
        0x18, // length 12
        0x00, // attributes
        0x00, // timestamp delta 0
        0x00, // offset delta 0
        0x02, b'k', // key
        0x02, b'v', // value
        0x02, // one header
        0x02, b'h', 0x02, b'x', //
        0x0e, // length 7
        0x00, // attributes
        0xd0, 0x0f, // timestamp delta 1000
        0x02, // offset delta 1
        0x01, // no key
        0x01, // no value
        0x00, // no headers
        0x92, 0x01, // length 73
        0x00, // attributes
        0x01, // timestamp delta -1
        0x04, // offset delta 2
        0x00, // empty key
        0x80, 0x01, // value of 64 bytes
    ];
    bytes.extend_from_slice(&[0x55; 64]);
    bytes.extend_from_slice(&[
        0x02, // one header
        0x00, // empty name
        0x01, // no value
    ]);
    (records, bytes)
}

#[test]
fn records_have_kafkas_bytes() {
    let (records, bytes) = by_hand();
    let batch = build(Codec::None, &records);
    assert_eq!(&batch[HEADER_BYTES..], bytes);
    let header = header_of(&batch);
    assert_eq!(header.record_count, 3);
    assert_eq!(header.first_timestamp, NOW);
    assert_eq!(header.max_timestamp, NOW.saturating_add(1000));
}

#[test]
fn kafkas_bytes_read_as_the_records() {
    let (records, bytes) = by_hand();
    let header = header_of(&build(Codec::None, &records));
    let read: Vec<_> = Records::new(&header, &bytes).map(Result::unwrap).collect();
    assert_eq!(read.len(), 3);
    for (index, (read, expected)) in read.iter().zip(&records).enumerate() {
        assert_eq!(read.offset_delta as usize, index);
        assert_eq!(read.timestamp, expected.timestamp);
        assert_eq!((read.key, read.value), (expected.key, expected.value));
        let headers: Vec<_> = read.headers.iter().collect();
        let expected: Vec<_> = expected.headers.iter().map(|h| (h.name, h.value)).collect();
        assert_eq!(headers, expected);
    }
    assert_eq!(read[0].headers.get("h"), Some(Some(&b"x"[..])));
    assert_eq!(read[0].headers.get("H"), None);
    assert_eq!(read[2].headers.get(""), Some(None));
}

#[test]
fn section_truncated_at_every_byte_is_an_error() {
    let (records, bytes) = by_hand();
    let header = header_of(&build(Codec::None, &records));
    for end in 0..bytes.len() {
        let last = Records::new(&header, &bytes[..end]).last();
        assert!(
            last.is_some_and(|record| record.is_err()),
            "cut at {end} reads as whole"
        );
    }
}

#[test]
fn reading_ends_at_the_first_record_that_does_not_decode() {
    let (records, mut bytes) = by_hand();
    let header = header_of(&build(Codec::None, &records));
    bytes[14] = 1; // attributes of the second record
    let read: Vec<_> = Records::new(&header, &bytes).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(
        read[1],
        Err(Corruption::Record {
            index: 1,
            position: 13,
            fault: crate::error::RecordFault::Field {
                part: "attributes",
                found: 1,
                expected: 0
            }
        })
    );
}
