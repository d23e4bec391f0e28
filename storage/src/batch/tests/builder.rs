//! The builder: what it refuses, and that a refusal leaves it as it was.

use super::*;
use crate::limits::{
    BATCH_BYTES_CEILING, HEADER_COUNT_MAX, HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX,
    KEY_BYTES_MAX,
};

const CAUSE: [HeaderRef<'_>; 1] = [HeaderRef {
    name: "redrive.cause",
    value: Some(b"cause"),
}];

fn with_headers<'a>(headers: &'a [HeaderRef<'a>]) -> NewRecord<'a> {
    NewRecord {
        headers,
        ..value("v")
    }
}

/// The part that the error names, its size and the limit.
fn refused(record: &NewRecord<'_>) -> (&'static str, u64, u64) {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&value("first")).unwrap();
    let before = builder.unpacked_bytes();
    let error = builder.push(record).unwrap_err();
    assert_eq!(
        (builder.record_count(), builder.unpacked_bytes()),
        (1, before)
    );
    let batch = builder.build(BuildOptions::default()).unwrap();
    assert_eq!(batch, build(Codec::None, &[value("first")]));
    match error {
        BuildError::TooLarge { part, found, limit } => (part, found, limit),
        other => panic!("{other}"),
    }
}

#[test]
fn a_record_over_a_limit_is_refused_and_leaves_the_batch_as_it_was() {
    let key = vec![0; KEY_BYTES_MAX as usize + 1];
    let record = NewRecord {
        key: Some(&key),
        ..value("v")
    };
    assert_eq!(
        refused(&record),
        ("key, in bytes,", 65_537, KEY_BYTES_MAX.into())
    );

    let large = vec![0; BATCH_BYTES_CEILING as usize];
    let record = NewRecord {
        value: Some(&large),
        ..NewRecord::default()
    };
    let limit = u64::from(BATCH_BYTES_CEILING - HEADER_BYTES_U32);
    assert_eq!(
        refused(&record),
        ("value, in bytes,", u64::from(BATCH_BYTES_CEILING), limit)
    );
    let record = NewRecord {
        timestamp: NOW,
        value: Some(&large[..limit as usize]),
        ..NewRecord::default()
    };
    assert_eq!(refused(&record).0, "batch, in bytes,");
}

#[test]
fn headers_over_a_limit_are_refused_and_leave_the_batch_as_it_was() {
    let header = HeaderRef {
        name: "n",
        value: None,
    };
    let many = vec![header; HEADER_COUNT_MAX as usize + 1];
    assert_eq!(
        refused(&with_headers(&many)),
        ("header count", 101, HEADER_COUNT_MAX.into())
    );
    let name = "n".repeat(HEADER_NAME_BYTES_MAX as usize + 1);
    let long_name = [HeaderRef {
        name: &name,
        ..header
    }];
    assert_eq!(
        refused(&with_headers(&long_name)),
        ("header name, in bytes,", 1025, HEADER_NAME_BYTES_MAX.into())
    );
    let bytes = vec![0; HEADER_VALUE_BYTES_MAX as usize + 1];
    let long_value = [HeaderRef {
        value: Some(&bytes),
        ..header
    }];
    assert_eq!(
        refused(&with_headers(&long_value)),
        (
            "header value, in bytes,",
            65_537,
            HEADER_VALUE_BYTES_MAX.into()
        )
    );
}

#[test]
fn parts_at_their_limits_are_taken_and_pass_the_check() {
    let key = vec![1; KEY_BYTES_MAX as usize];
    let name = "n".repeat(HEADER_NAME_BYTES_MAX as usize);
    let plain = HeaderRef {
        name: &name,
        value: None,
    };
    let mut headers = vec![plain; HEADER_COUNT_MAX as usize];
    let bytes = vec![2; HEADER_VALUE_BYTES_MAX as usize];
    headers[0].value = Some(&bytes);
    let record = NewRecord {
        key: Some(&key),
        headers: &headers,
        ..value("v")
    };
    let batch = build(Codec::None, &[record]);
    assert!(check_produced(&batch, &BatchLimits::default()).is_ok());
}

#[test]
fn a_timestamp_too_far_from_the_first_is_refused() {
    let mut builder = BatchBuilder::new(Codec::None);
    let at = |time| NewRecord {
        timestamp: TimestampMs(time),
        ..NewRecord::default()
    };
    builder.push(&at(-2)).unwrap();
    assert!(matches!(
        builder.push(&at(i64::MAX)),
        Err(BuildError::Timestamp { .. })
    ));
    builder.push(&at(i64::MAX - 2)).unwrap();
    builder.push(&at(i64::MIN)).unwrap();
    let batch = builder.build(BuildOptions::default()).unwrap();
    let header = check_produced(&batch, &BatchLimits::default()).unwrap();
    assert_eq!(header.first_timestamp, TimestampMs(-2));
    assert_eq!(header.max_timestamp, TimestampMs(i64::MAX - 2));
}

#[test]
fn an_empty_batch_is_refused() {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    let built = builder.build(BuildOptions::default());
    assert!(matches!(built, Err(BuildError::Empty)));
}

#[test]
fn reserved_headers_are_built_for_the_broker_alone() {
    for (broker, bits) in [
        (BrokerMark::Client, None),
        (BrokerMark::Broker, Some((true, false))),
        (BrokerMark::BrokerWithCauses, Some((true, true))),
    ] {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&with_headers(&CAUSE)).unwrap();
        let built = builder.build(BuildOptions {
            broker,
            ..BuildOptions::default()
        });
        match bits {
            Some(bits) => {
                let attributes = header_of(&built.unwrap()).attributes;
                assert_eq!((attributes.is_broker_built, attributes.holds_causes), bits);
            }
            None => assert!(matches!(built, Err(BuildError::ReservedHeader))),
        }
    }
}

#[test]
fn the_brokers_headers_come_on_top_of_the_most_that_a_producer_may_send() {
    let plain = HeaderRef {
        name: "n",
        value: None,
    };
    let mut headers = vec![plain; HEADER_COUNT_MAX as usize];
    headers.extend_from_slice(&CAUSE);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&with_headers(&headers)).unwrap();
    let batch = builder
        .build(BuildOptions {
            broker: BrokerMark::BrokerWithCauses,
            ..BuildOptions::default()
        })
        .unwrap();
    let records = Batch::decode(batch.into()).unwrap().records(1 << 20);
    assert_eq!(
        records.unwrap()[0].header("redrive.cause"),
        Some(&b"cause"[..])
    );
}

#[test]
fn a_builder_that_is_used_again_builds_what_a_new_one_does() {
    for codec in CODECS {
        let mut builder = BatchBuilder::new(codec);
        let earlier = NewRecord {
            timestamp: NOW.saturating_add(50_000),
            headers: &CAUSE,
            ..value("earlier")
        };
        builder.push(&earlier).unwrap();
        let broker = BuildOptions {
            broker: BrokerMark::Broker,
            ..BuildOptions::default()
        };
        let old = builder.build(broker).unwrap();
        builder.recycle(old);
        builder.push(&earlier).unwrap();
        builder.clear();
        let text = "later ".repeat(20);
        builder.push(&value(&text)).unwrap();
        let again = builder.build(BuildOptions::default()).unwrap();
        assert_eq!(again, build(codec, &[value(&text)]));
    }
}

#[test]
fn a_section_that_does_not_become_smaller_stands_uncompressed() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let batch = build(codec, &[value("short")]);
        assert_eq!(batch, build(Codec::None, &[value("short")]));
    }
}
