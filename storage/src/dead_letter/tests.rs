//! The codecs of letters and markers, over everything that can stand in them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::fingerprint::Fingerprint;
use super::history::{AttemptResult, ErrorClass, History};
use super::letter::{DeadLetter, Destination, Lineage, Receiver};
use super::limits::{LABEL_COUNT_MAX, NAME_BYTES_MAX, URL_BYTES_MAX};
use super::marker::{Marker, Resolution};
use super::samples::{attempt, letter};
use crate::batch::Record;
use crate::limits::LETTER_OVERHEAD_BYTES;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// A letter with something in every field.
fn full() -> DeadLetter {
    let mut history = History::default();
    history.push(attempt(
        1,
        AttemptResult::Error(ErrorClass::RESOLVE),
        b"no such host",
    ));
    history.push(attempt(2, AttemptResult::Status(503), b"busy"));
    let text = |text: &str| Some(text.to_owned());
    DeadLetter {
        receiver: Receiver::Destination(Destination {
            url: "https://example.com/hook".to_owned(),
            method: "POST".to_owned(),
            url_group: text("group"),
            endpoint: text("endpoint"),
            queue: text("queue"),
            schedule: text("schedule"),
            flow_control_key: text("key"),
        }),
        record: Record {
            timestamp: TimestampMs(-5),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"value")),
            headers: vec![
                ("trace".to_owned(), Some(Bytes::from_static(b"\x00\xff"))),
                ("empty".to_owned(), Some(Bytes::new())),
                ("null".to_owned(), None),
                ("trace".to_owned(), None),
            ],
        },
        details: text("at line 3"),
        history,
        lineage: Lineage {
            first_message_id: text("msg-0"),
            republished: 2,
        },
        labels: vec!["a".to_owned(), "b".to_owned()],
        message_id: text("msg-1"),
        caller: text("ada"),
        ..letter((0, 0, 0, 0, 0, 9))
    }
}

#[test]
fn a_full_letter_round_trips() {
    assert_eq!(DeadLetter::decode(&full().encode()), Ok(full()));
}

#[test]
fn no_part_of_a_destination_or_a_record_is_taken_for_another() {
    let part = |change: fn(&mut Destination)| {
        let mut destination = Destination::default();
        change(&mut destination);
        DeadLetter {
            receiver: Receiver::Destination(destination),
            ..full()
        }
    };
    let value = |bytes: Option<&'static [u8]>| bytes.map(Bytes::from_static);
    let record = |key, value_of| DeadLetter {
        record: Record {
            key: value(key),
            value: value(value_of),
            ..Record::default()
        },
        ..full()
    };
    let letters = [
        part(|d| d.url = "x".to_owned()),
        part(|d| d.method = "x".to_owned()),
        part(|d| d.url_group = Some("x".to_owned())),
        part(|d| d.endpoint = Some("x".to_owned())),
        part(|d| d.queue = Some("x".to_owned())),
        part(|d| d.schedule = Some("x".to_owned())),
        part(|d| d.flow_control_key = Some("x".to_owned())),
        part(|d| d.flow_control_key = Some(String::new())),
        record(None, None),
        record(Some(b""), None),
        record(None, Some(b"")),
        record(Some(b"x"), Some(b"x")),
    ];
    for (at, letter) in letters.iter().enumerate() {
        let bytes = letter.encode();
        assert_eq!(DeadLetter::decode(&bytes).as_ref(), Ok(letter));
        assert!(
            letters[..at].iter().all(|other| other.encode() != bytes),
            "letter {at}"
        );
    }
}

#[test]
fn truncated_at_every_byte_is_an_error() {
    let bytes = full().encode();
    for end in 0..bytes.len() {
        assert!(DeadLetter::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(DeadLetter::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn a_flipped_bit_is_an_error_or_another_letter() {
    let bytes = full().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = DeadLetter::decode(&flipped) {
            assert_ne!(other, full(), "bit {bit}");
            assert_eq!(other.encode(), flipped, "bit {bit}");
        }
    }
}

#[test]
fn hostile_lengths_in_every_place_never_panic_nor_allocate_what_they_say() {
    let bytes = full().encode();
    for at in 0..bytes.len() {
        let mut hostile = bytes.clone();
        for (place, byte) in hostile[at..].iter_mut().zip([0xff, 0xff, 0xff, 0xff, 0x0f]) {
            *place = byte;
        }
        if let Ok(other) = DeadLetter::decode(&hostile) {
            assert_eq!(other.encode(), hostile, "at {at}");
        }
    }
}

/// Text of up to a little more than a limit, whose characters have two bytes each.
fn texts(bytes_max: usize) -> impl Strategy<Value = String> {
    let sizes = prop_oneof![0..4_usize, 0..=bytes_max + 9, Just(bytes_max + 9)];
    sizes.prop_map(|bytes: usize| "\u{e9}".repeat(bytes.div_ceil(2)))
}

fn destinations() -> impl Strategy<Value = Destination> {
    let name = || option::of(texts(NAME_BYTES_MAX));
    let names = (name(), name(), name(), name(), name());
    (texts(URL_BYTES_MAX), texts(NAME_BYTES_MAX), names).prop_map(|(url, method, names)| {
        let (url_group, endpoint, queue, schedule, flow_control_key) = names;
        Destination {
            url,
            method,
            url_group,
            endpoint,
            queue,
            schedule,
            flow_control_key,
        }
    })
}

fn receivers() -> impl Strategy<Value = Receiver> {
    prop_oneof![
        texts(NAME_BYTES_MAX).prop_map(Receiver::Group),
        destinations().prop_map(Receiver::Destination),
    ]
}

fn records() -> impl Strategy<Value = Record> {
    let bytes = || option::of(vec(any::<u8>(), 0..100).prop_map(Bytes::from));
    let headers = vec(("[a-z]{0,9}", bytes()), 0..100);
    (any::<i64>(), bytes(), bytes(), headers).prop_map(|(time, key, value, headers)| Record {
        timestamp: TimestampMs(time),
        key,
        value,
        headers,
    })
}

fn histories() -> impl Strategy<Value = History> {
    (0..30_u32, 0..9000_usize, 0..3000_usize).prop_map(|(count, body_bytes, header_bytes)| {
        let mut history = History::default();
        for number in 0..count {
            let mut next = attempt(number, AttemptResult::Status(500), &vec![b'x'; body_bytes]);
            next.headers = vec![("h".to_owned(), "v".repeat(header_bytes / 50)); 50];
            history.push(next);
        }
        history
    })
}

fn letters() -> impl Strategy<Value = DeadLetter> {
    let long = (
        texts(NAME_BYTES_MAX),
        texts(4 << 10),
        option::of(texts(16 << 10)),
    );
    let name = || option::of(texts(NAME_BYTES_MAX));
    let names = (name(), name(), name(), vec(texts(256), 0..40));
    (
        receivers(),
        records(),
        histories(),
        long,
        names,
        any::<u64>(),
    )
        .prop_map(|(receiver, record, history, long, names, number)| {
            let mut letter = full();
            letter.receiver = receiver;
            letter.record = record;
            letter.history = history;
            (letter.source.topic, letter.reason, letter.details) = long;
            (
                letter.lineage.first_message_id,
                letter.message_id,
                letter.caller,
                letter.labels,
            ) = names;
            letter.source.offset = Offset(number);
            letter.fingerprint = Fingerprint {
                version: 1,
                hash: number,
            };
            letter
        })
}

fn markers() -> impl Strategy<Value = Marker> {
    let resolution = prop_oneof![
        Just(Resolution::Deleted),
        (any::<u32>(), any::<u64>()).prop_map(|(partition, offset)| Resolution::Republished {
            partition: PartitionNumber(partition),
            offset: Offset(offset),
        }),
    ];
    let texts = (option::of("[a-z\u{e9}]{0,20}"), "[a-z\u{e9}]{0,20}");
    (any::<u64>(), resolution, texts, any::<i64>()).prop_map(
        |(letter, resolution, (request_id, who), time)| Marker {
            letter: Offset(letter),
            resolution,
            request_id,
            time: TimestampMs(time),
            who,
        },
    )
}

fn overhead(letter: &DeadLetter) -> usize {
    letter.encode().len() - letter.record.weight()
}

/// Bytes that a letter takes in a batch: encoded, with its cause and its record's own framing.
fn in_a_batch(letter: &DeadLetter) -> usize {
    let group = match &letter.receiver {
        Receiver::Group(group) => group.len(),
        Receiver::Destination(_) => 0,
    };
    letter.encode().len() + group + 128
}

/// The letter with the most bytes that its record does not have.
fn largest() -> DeadLetter {
    let name = || Some("n".repeat(NAME_BYTES_MAX + 1));
    let mut history = History::default();
    for number in 0..20 {
        let mut next = attempt(u32::MAX - number, AttemptResult::Status(500), &[b'x'; 5000]);
        next.headers = vec![("h".repeat(20), "v".repeat(20)); 70];
        history.push(next);
    }
    let mut letter = full();
    letter.source.topic = "t".repeat(NAME_BYTES_MAX + 1);
    letter.receiver = Receiver::Destination(Destination {
        url: "u".repeat(URL_BYTES_MAX + 1),
        method: "m".repeat(NAME_BYTES_MAX + 1),
        url_group: name(),
        endpoint: name(),
        queue: name(),
        schedule: name(),
        flow_control_key: name(),
    });
    letter.record.headers = vec![("h".to_owned(), Some(Bytes::new())); 100];
    letter.reason = "r".repeat(5 << 10);
    letter.details = Some("d".repeat(17 << 10));
    letter.history = history;
    letter.lineage.first_message_id = name();
    letter.labels = vec!["l".repeat(300); LABEL_COUNT_MAX + 1];
    letter.message_id = name();
    letter.caller = name();
    letter
}

#[test]
fn the_largest_letter_is_within_its_overhead_and_says_what_was_cut() {
    let mut letter = largest();
    letter.fit();
    assert!(
        overhead(&letter) + (8 << 10) <= LETTER_OVERHEAD_BYTES as usize,
        "{}",
        overhead(&letter)
    );
    let cut: u16 = [1, 2, 6, 7, 10, 11, 12, 13]
        .map(|tag| 1_u16 << tag)
        .into_iter()
        .sum();
    assert_eq!(letter.cut, cut);
    assert!(in_a_batch(&letter) <= letter.weight());
    assert_eq!(DeadLetter::decode(&letter.encode()), Ok(letter));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_letter_fits_its_overhead_and_round_trips(letter in letters()) {
        let mut letter = letter;
        letter.fit();
        prop_assert!(overhead(&letter) <= LETTER_OVERHEAD_BYTES as usize, "{} bytes", overhead(&letter));
        prop_assert!(in_a_batch(&letter) <= letter.weight(), "{letter:?}");
        let again = letter.clone();
        letter.fit();
        prop_assert_eq!(&letter, &again, "fitting twice changes nothing");
        prop_assert_eq!(DeadLetter::decode(&letter.encode()), Ok(letter));
    }

    #[test]
    fn any_marker_round_trips(marker in markers()) {
        let mut bytes = Vec::new();
        marker.encode(&mut bytes);
        prop_assert_eq!(Marker::decode(&bytes), Ok(marker));
    }

    #[test]
    fn decoding_any_bytes_never_panics_and_a_letter_has_one_form(
        changes in vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = full().encode();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(other) = DeadLetter::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}
