//! What holds for every message: it survives the wire, every truncation is an error, hostile numbers allocate nothing,
//! and its bytes are those of the golden file.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::fmt::{Debug, Write as _};

use bytes::Bytes;
use storage::offset::{Offset, TimestampMs};

use super::api_key::{API_VERSION_MAX, API_VERSION_MIN, ApiKey};
use super::cursor::{DecodeError, EncodeError, Reader, Text, Wire, Writer};
use super::error_code::{ErrorCode, Refusal};
use super::frame::{self, Request, RequestHeader};
use super::{
    alter_topic::AlterTopicRequest,
    create_topic::CreateTopicRequest,
    delete_topic::{DeleteTopicAnswer, DeleteTopicRequest},
    fetch::{FetchAnswer, FetchPartition, FetchRequest, FetchedPartition},
    group_offsets::{
        CommitOffsetsAnswer, CommitOffsetsRequest, CommittedOffset, DeleteGroupAnswer,
        DeleteGroupRequest, FetchOffsetsAnswer, FetchOffsetsRequest, GroupPartitionView, GroupView,
        ListGroupsAnswer, ListGroupsRequest,
    },
    handshake::{HandshakeAnswer, HandshakeRequest},
    letter::{AttemptView, DestinationView, LetterView, ReceiverView},
    list_offsets::{FoundOffset, ListOffsetsAnswer, ListOffsetsRequest, Place, PlaceInPartition},
    metadata::{LetterCounts, MetadataAnswer, MetadataRequest, PartitionView, TopicView},
    produce::{Acks, Appended, ProduceAnswer, ProduceBatch, ProduceRequest},
    producer_id::{ProducerIdAnswer, ProducerIdRequest},
    read_letters::{
        FingerprintCount, GetLetterRequest, LetterStatsAnswer, LetterStatsRequest,
        ListLettersAnswer, ListLettersRequest,
    },
    reject::{RejectAnswer, RejectRequest},
    resolve_letters::{
        DeleteLettersAnswer, DeleteLettersRequest, Republished, RetryLettersAnswer,
        RetryLettersRequest,
    },
    selection::{LetterFilter, Order, Page, Selection},
    settings::{Durability, Limit, SettingsChange, TopicSettings},
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Sees every message of the protocol once, with all its fields filled in.
trait Visitor {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T);

    fn api<R>(&mut self, request: &R, answer: &R::Answer)
    where
        R: Request + PartialEq + Debug,
        R::Answer: PartialEq + Debug,
    {
        self.visit(&format!("{}.request", R::KEY.name()), request);
        self.visit(&format!("{}.answer", R::KEY.name()), answer);
    }
}

fn name(text: &str) -> String {
    text.to_owned()
}

fn refusal() -> Refusal {
    Refusal::new(ErrorCode::UnknownTopic, "no topic `flights`")
}

fn topic() -> TopicView {
    TopicView {
        name: name("flights"),
        durability: Durability::Written,
        settings: TopicSettings {
            segment_bytes: 1,
            segment_ms: 2,
            retention_ms: Some(3),
            retention_bytes: None,
            dead_letter_retention_ms: Some(4),
            dead_letter_retention_bytes: Some(5),
            record_bytes_max: 6,
            batch_bytes_max: 7,
        },
        partitions: vec![PartitionView {
            index: 0,
            number: 9,
            log_start_offset: Offset(10),
            high_watermark: Offset(11),
            log_end_offset: Offset(12),
            letters: counts(),
        }],
    }
}

fn counts() -> LetterCounts {
    LetterCounts {
        live: 1,
        republished: 2,
        deleted: 3,
        expired: 4,
    }
}

fn change() -> SettingsChange {
    SettingsChange {
        segment_bytes: Some(1),
        retention_ms: Some(Limit::Unlimited),
        retention_bytes: Some(Limit::AtMost(2)),
        ..SettingsChange::default()
    }
}

fn committed() -> CommittedOffset {
    CommittedOffset {
        topic: name("flights"),
        partition: 3,
        offset: Offset(4),
        metadata: name("m"),
    }
}

fn filter() -> LetterFilter {
    LetterFilter {
        groups: vec![name("billing")],
        fingerprints: vec![name("010203040506070809")],
        dispositions: vec![1, 3],
        urls: vec![name("https://example.com/hook")],
        labels: vec![name("l1"), name("l2")],
        message_ids: vec![name("m1")],
        callers: vec![name("10.0.0.1")],
        statuses: vec![500, 503],
        died_from: Some(TimestampMs(-1)),
        died_to: Some(TimestampMs(2)),
        url_groups: vec![name("g1")],
        endpoints: vec![name("e1")],
        queues: vec![name("q1"), name("q2")],
        schedules: vec![name("s1")],
        flow_control_keys: vec![name("k1")],
    }
}

fn page() -> Page {
    Page {
        order: Order::NewestFirst,
        limit: 100,
        cursor: Some(name("next")),
    }
}

fn letter(receiver: ReceiverView) -> LetterView {
    LetterView {
        id: name("2abc"),
        topic: name("flights"),
        partition: 1,
        dead_letter_offset: Offset(2),
        source_offset: Offset(3),
        receiver,
        disposition: 3,
        reason: Text(name("late")),
        details: Some(Text(name("by a day"))),
        died_at: TimestampMs(4),
        fingerprint: name("010203040506070809"),
        first_message_id: Some(name("1abc")),
        republished: 5,
        history: vec![AttemptView {
            started_at: TimestampMs(6),
            duration_ms: 7,
            status: Some(500),
            error: Some(Text(name("reset"))),
            headers: vec![(Text(name("server")), Text(name("x")))],
            body: Bytes::from_static(b"oops"),
            is_cut: true,
            number: 2,
            error_class: Some(5),
        }],
        attempts_left_out: 8,
        labels: vec![name("l1")],
        message_id: Some(name("m1")),
        caller: Some(name("10.0.0.1")),
        record_timestamp: TimestampMs(9),
        key: Some(Bytes::from_static(b"k")),
        value: None,
        headers: vec![
            (name("h"), Some(Bytes::from_static(b"v"))),
            (name("none"), None),
        ],
    }
}

fn visit_all(v: &mut impl Visitor) {
    visit_topics(v);
    visit_logs(v);
    visit_groups(v);
    visit_letters(v);
    visit_resolutions(v);
}

fn visit_topics(v: &mut impl Visitor) {
    v.api(
        &HandshakeRequest {
            version_min: 1,
            version_max: 2,
            client_name: name("redrive 0.1.0"),
            token: Some(name("secret")),
        },
        &HandshakeAnswer {
            version: 1,
            broker_version: name("0.1.0"),
            frame_bytes_max: 3,
            batch_bytes_max: 4,
            record_bytes_max: 5,
        },
    );
    v.api(
        &MetadataRequest {
            topics: Some(vec![name("flights"), name("other")]),
        },
        &MetadataAnswer {
            topics: vec![
                (name("flights"), Ok(topic())),
                (name("other"), Err(refusal())),
            ],
        },
    );
    v.api(
        &CreateTopicRequest {
            name: name("flights"),
            partition_count: 8,
            durability: Durability::Synced,
            change: change(),
        },
        &topic(),
    );
    v.api(
        &AlterTopicRequest {
            name: name("flights"),
            partition_count: Some(16),
            change: change(),
        },
        &topic(),
    );
    v.api(
        &DeleteTopicRequest {
            name: name("flights"),
            force: true,
        },
        &DeleteTopicAnswer {},
    );
    v.api(
        &ProducerIdRequest {},
        &ProducerIdAnswer { id: 1000, epoch: 2 },
    );
}

fn visit_logs(v: &mut impl Visitor) {
    v.api(
        &ProduceRequest {
            acks: Acks::Synced,
            batches: vec![ProduceBatch {
                topic: name("flights"),
                partition: 1,
                batch: Bytes::from_static(b"batch"),
            }],
        },
        &ProduceAnswer {
            batches: vec![
                Ok(Appended {
                    base_offset: Offset(7),
                    append_time: TimestampMs(8),
                }),
                Err(refusal()),
            ],
        },
    );
    v.api(
        &FetchRequest {
            partitions: vec![FetchPartition {
                topic: name("flights"),
                partition: 1,
                offset: Offset(2),
                bytes_max: 3,
            }],
            bytes_min: 4,
            bytes_max: 5,
            wait_ms_max: 6,
        },
        &FetchAnswer {
            partitions: vec![
                FetchedPartition {
                    refusal: None,
                    log_start_offset: Offset(1),
                    high_watermark: Offset(2),
                    batches: Bytes::from_static(b"batches"),
                },
                FetchedPartition {
                    refusal: Some(refusal()),
                    ..FetchedPartition::default()
                },
            ],
        },
    );
    let place = |place| PlaceInPartition {
        topic: name("flights"),
        partition: 1,
        place,
    };
    v.api(
        &ListOffsetsRequest {
            partitions: vec![
                place(Place::Earliest),
                place(Place::Latest),
                place(Place::AppendedAt(TimestampMs(-5))),
            ],
        },
        &ListOffsetsAnswer {
            partitions: vec![
                Ok(FoundOffset {
                    offset: Offset(1),
                    append_time: Some(TimestampMs(2)),
                }),
                Err(refusal()),
            ],
        },
    );
}

fn visit_groups(v: &mut impl Visitor) {
    v.api(
        &CommitOffsetsRequest {
            group: name("billing"),
            offsets: vec![committed()],
        },
        &CommitOffsetsAnswer {},
    );
    v.api(
        &FetchOffsetsRequest {
            group: name("billing"),
            topics: Some(vec![name("flights")]),
        },
        &FetchOffsetsAnswer {
            offsets: vec![committed()],
        },
    );
    v.api(
        &ListGroupsRequest {},
        &ListGroupsAnswer {
            groups: vec![GroupView {
                name: name("billing"),
                partitions: vec![GroupPartitionView {
                    committed: committed(),
                    high_watermark: Offset(9),
                    lag: 5,
                }],
            }],
        },
    );
    v.api(
        &DeleteGroupRequest {
            group: name("billing"),
        },
        &DeleteGroupAnswer {},
    );
}

fn visit_letters(v: &mut impl Visitor) {
    v.api(
        &RejectRequest {
            group: name("billing"),
            topic: name("flights"),
            partition: 1,
            offset: Offset(2),
            reason: Text(name("late")),
            details: Some(Text(name("by a day"))),
        },
        &RejectAnswer {
            letter_id: name("2abc"),
            is_new: true,
        },
    );
    v.api(
        &ListLettersRequest {
            topic: name("flights"),
            selection: Selection::Filter(filter()),
            page: page(),
            bytes_max: 1,
        },
        &ListLettersAnswer {
            letters: vec![letter(ReceiverView::Group(name("billing")))],
            cursor: Some(name("next")),
        },
    );
    v.api(
        &GetLetterRequest { id: name("2abc") },
        &letter(ReceiverView::Destination(DestinationView {
            method: name("POST"),
            url: name("https://example.com/hook"),
            url_group: Some(name("g1")),
            endpoint: Some(name("e1")),
            queue: None,
            schedule: Some(name("s1")),
            flow_control_key: Some(name("k1")),
        })),
    );
    v.api(
        &LetterStatsRequest {
            topic: name("flights"),
            selection: Selection::All,
        },
        &LetterStatsAnswer {
            counts: counts(),
            selected: 5,
            by_disposition: vec![(3, 5)],
            by_group: vec![(name("billing"), 5)],
            by_fingerprint: vec![FingerprintCount {
                fingerprint: name("010203040506070809"),
                reason: Text(name("late")),
                count: 5,
            }],
            by_age: vec![(3_600_000, 5)],
            oldest_died_at: Some(TimestampMs(6)),
            newest_died_at: Some(TimestampMs(7)),
        },
    );
}

fn visit_resolutions(v: &mut impl Visitor) {
    v.api(
        &RetryLettersRequest {
            topic: name("flights"),
            selection: Selection::Ids(vec![name("2abc")]),
            page: page(),
            request_id: Some(name("r1")),
        },
        &RetryLettersAnswer {
            letters: vec![
                (
                    name("2abc"),
                    Ok(Republished {
                        message_id: name("1abc"),
                        partition: 1,
                        offset: Offset(2),
                        is_new: true,
                    }),
                ),
                (name("2abd"), Err(refusal())),
            ],
            cursor: Some(name("next")),
        },
    );
    v.api(
        &DeleteLettersRequest {
            topic: name("flights"),
            selection: Selection::All,
            page: Page::first(Order::OldestFirst, 10_000),
            request_id: None,
        },
        &DeleteLettersAnswer {
            letters: vec![(name("2abc"), Ok(true)), (name("2abd"), Err(refusal()))],
            cursor: None,
        },
    );
}

fn bytes_of(message: &impl Wire) -> Vec<u8> {
    bytes_in(API_VERSION_MAX, message)
}

fn bytes_in(version: u16, message: &impl Wire) -> Vec<u8> {
    let mut writer = Writer::of_version(version);
    message.write(&mut writer);
    writer.finish().unwrap().concat()
}

struct RoundTrip(usize);

impl Visitor for RoundTrip {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_of(message);
        let decoded: T = frame::decode_payload(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(&decoded, message, "{name}");
        let shared = Bytes::from(bytes);
        let decoded: T = frame::decode_payload(&mut Reader::shared(&shared)).unwrap();
        assert_eq!(&decoded, message, "{name}, shared");
        self.0 += 1;
    }
}

#[test]
fn every_message_survives_the_wire() {
    let mut visitor = RoundTrip(0);
    visit_all(&mut visitor);
    assert_eq!(visitor.0, 2 * ApiKey::ALL.len(), "an API has no sample");
}

struct Truncation;

impl Visitor for Truncation {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_of(message);
        for end in 0..bytes.len() {
            let result = frame::decode_payload::<T>(&mut Reader::new(&bytes[..end]));
            let Err(DecodeError::Truncated { field, .. }) = &result else {
                panic!("{name} cut at {end} gives {result:?}");
            };
            assert!(
                !field.is_empty(),
                "{name} cut at {end}: the field has no name"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        let result = frame::decode_payload::<T>(&mut Reader::new(&longer));
        assert_eq!(
            result,
            Err(DecodeError::Trailing {
                position: bytes.len(),
                bytes: 1
            }),
            "{name}"
        );
    }
}

#[test]
fn every_truncation_and_every_addition_is_an_error() {
    visit_all(&mut Truncation);
}

struct Flips;

impl Visitor for Flips {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_of(message);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The codec carries no checksum (batches and TCP do): a flip is an error or another message, whose bytes
            // are then exactly these.
            if let Ok(other) = frame::decode_payload::<T>(&mut Reader::new(&flipped)) {
                assert_ne!(&other, message, "{name}, bit {bit}");
                assert_eq!(bytes_of(&other), flipped, "{name}, bit {bit}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_another_message() {
    visit_all(&mut Flips);
}

/// Messages as lines, in a version's layout.
struct Golden(u16, String);

impl Visitor for Golden {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        write!(self.1, "{name} ").unwrap();
        for byte in bytes_in(self.0, message) {
            write!(self.1, "{byte:02x}").unwrap();
        }
        self.1.push('\n');
    }
}

/// With `REDRIVE_WRITE_GOLDEN` set, writes the file of the newest version. It may only change together with the version, those
/// of older ones never.
#[test]
fn the_bytes_of_every_message_are_the_golden_ones() {
    for version in API_VERSION_MIN..=API_VERSION_MAX {
        let mut golden = Golden(version, String::new());
        visit_all(&mut golden);
        let path = format!("{FIXTURES}/protocol_v{version}.txt");
        if version == API_VERSION_MAX && std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &golden.1).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap();
        for (ours, stored) in golden.1.lines().zip(stored.lines()) {
            assert_eq!(ours, stored, "version {version}");
        }
        assert_eq!(golden.1.lines().count(), stored.lines().count());
    }
}

/// Takes each message for one of an older version.
struct Older(u16);

impl Visitor for Older {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_in(self.0, message);
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            reader.set_version(self.0);
            frame::decode_payload::<T>(&mut reader)
        };
        let decoded = read(&bytes).unwrap();
        assert_eq!(bytes_in(self.0, &decoded), bytes, "{name}");
        // An older message says nothing of what came later; it is no error that it does not.
        let newest = bytes_of(message);
        assert_eq!(newest == bytes, decoded == *message, "{name}");
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn messages_of_older_versions_are_understood() {
    for version in API_VERSION_MIN..API_VERSION_MAX {
        visit_all(&mut Older(version));
    }
}

/// Finds the messages whose layout a version has changed.
struct Changed(Vec<String>);

impl Visitor for Changed {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        if bytes_in(1, message) != bytes_in(2, message) {
            self.0.push(name.to_owned());
        }
    }
}

#[test]
fn only_requests_with_a_newer_version_have_a_newer_layout() {
    let mut changed = Changed(Vec::new());
    visit_all(&mut changed);
    for name in [
        "ListLetters.request",
        "ListLetters.answer",
        "GetLetter.answer",
    ] {
        assert!(changed.0.iter().any(|one| one == name), "{name}");
    }
    for key in ApiKey::ALL {
        let own = format!("{}.", key.name());
        let has_changed = changed.0.iter().any(|name| name.starts_with(&own));
        assert!(!has_changed || key.version() == 2, "{own}");
        assert!(key.understands(1) && key.understands(key.version()));
        assert!(!key.understands(0) && !key.understands(key.version() + 1));
    }
}

#[test]
fn hostile_counts_and_lengths_are_refused_before_anything_is_allocated() {
    let hostile = [0xFF; 4];
    let mut reader = Reader::new(&hostile);
    assert_eq!(
        Vec::<u8>::read(&mut reader),
        Err(DecodeError::Truncated {
            field: "",
            position: 4,
            needed: 0xFFFF_FFFF,
            available: 0
        })
    );
    let result = Bytes::read(&mut Reader::new(&hostile));
    let Err(DecodeError::Truncated { needed, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(needed, 0xFFFF_FFFF);
    let result = Text::read(&mut Reader::new(&hostile));
    let Err(DecodeError::Truncated { .. }) = result else {
        panic!("{result:?}");
    };
}

#[test]
fn a_string_that_does_not_fit_is_refused_when_it_is_encoded() {
    let mut writer = Writer::new();
    writer.string(&"x".repeat(65_536));
    assert_eq!(
        writer.finish().unwrap_err(),
        EncodeError {
            value: "string",
            bytes: 65_536,
            bytes_max: 65_535
        }
    );
}

#[test]
fn a_long_error_message_is_cut_between_characters() {
    let mut message = "x".repeat(65_534);
    message.push('\u{e9}');
    let answer: Result<u8, Refusal> = Err(Refusal::new(ErrorCode::Internal, message));
    let bytes = bytes_of(&answer);
    let decoded: Result<u8, Refusal> = frame::decode_payload(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(decoded.unwrap_err().message.len(), 65_534);
}

#[test]
fn strings_that_are_not_utf8_are_errors() {
    let result = String::read(&mut Reader::new(&[0, 1, 0xFF]));
    let Err(DecodeError::Utf8 { position: 2, .. }) = result else {
        panic!("{result:?}");
    };
}

#[test]
fn a_batch_is_neither_copied_to_be_encoded_nor_to_be_decoded() {
    let batch = Bytes::from(vec![7; 100_000]);
    let request = ProduceRequest {
        acks: Acks::TopicDefault,
        batches: vec![
            ProduceBatch {
                topic: name("a"),
                partition: 0,
                batch: batch.clone(),
            },
            ProduceBatch {
                topic: name("b"),
                partition: 1,
                batch: Bytes::from_static(b"small"),
            },
        ],
    };
    let header = RequestHeader {
        api_key: ApiKey::Produce.number(),
        api_version: ApiKey::Produce.version(),
        correlation_id: 5,
    };
    let parts = frame::encode_request(header, |writer| request.write(writer)).unwrap();
    assert_eq!(parts[1].as_ptr(), batch.as_ptr(), "the batch was copied");

    let mut frame = parts.concat();
    let length = frame::body_bytes(&frame, 1 << 20).unwrap().unwrap();
    assert_eq!(length as usize, frame.len() - frame::LENGTH_BYTES);
    let body = &mut frame[frame::LENGTH_BYTES..];
    let mut reader = Reader::new(body);
    assert_eq!(RequestHeader::read(&mut reader).unwrap(), header);
    let decoded = ProduceRequest::decode_in_place(&mut reader).unwrap();
    let ranges: Vec<_> = decoded.batches.iter().map(|b| b.batch.clone()).collect();
    assert_eq!(body[ranges[0].clone()], batch[..]);
    assert_eq!(&mut body[ranges[1].clone()], b"small");
}

#[test]
fn produce_decoded_in_place_is_an_error_when_cut_anywhere() {
    let request = ProduceRequest {
        acks: Acks::Synced,
        batches: vec![ProduceBatch {
            topic: name("flights"),
            partition: 1,
            batch: Bytes::from_static(b"batch"),
        }],
    };
    let bytes = bytes_of(&request);
    for end in 0..bytes.len() {
        let result = ProduceRequest::decode_in_place(&mut Reader::new(&bytes[..end]));
        let Err(DecodeError::Truncated { .. }) = result else {
            panic!("cut at {end} gives {result:?}");
        };
    }
}

#[test]
fn a_frame_above_the_maximum_is_refused_by_its_length_alone() {
    assert_eq!(frame::body_bytes(&[0, 0, 1], 10), Ok(None));
    assert_eq!(frame::body_bytes(&[0, 0, 0, 10], 10), Ok(Some(10)));
    let refused = frame::body_bytes(&[0, 0, 0, 11], 10).unwrap_err();
    assert_eq!((refused.bytes, refused.bytes_max), (11, 10));
}

#[test]
fn answers_carry_their_correlation_id_and_their_refusal() {
    let answer: Result<ProducerIdAnswer, Refusal> = Err(refusal());
    let frame = frame::encode_answer(77, &answer).unwrap().concat();
    let body = Bytes::from(frame).split_off(frame::LENGTH_BYTES);
    assert_eq!(frame::answer_correlation_id(&body), Ok(77));
    assert_eq!(frame::decode_answer(&body), Ok((77, answer)));
}

#[test]
fn numbers_of_keys_and_codes_lead_back_to_them() {
    for key in ApiKey::ALL {
        assert_eq!(ApiKey::from_number(key.number()), Some(*key));
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        assert_ne!(code.number(), 0, "0 says that nothing was refused");
    }
    assert_eq!(ApiKey::from_number(0), None);
    assert_eq!(ErrorCode::from_number(0), None);
}

#[test]
fn a_handshake_never_shows_its_token() {
    let request = HandshakeRequest {
        version_min: 1,
        version_max: 1,
        client_name: name("c"),
        token: Some(name("hunter2")),
    };
    let shown = format!("{request:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_handshake_agrees_only_on_versions_that_both_speak() {
    let request = |version_min, version_max| HandshakeRequest {
        version_min,
        version_max,
        client_name: String::new(),
        token: None,
    };
    assert_eq!(request(0, 5).chosen_version(), Some(1));
    assert_eq!(request(2, 5).chosen_version(), None);
    assert_eq!(request(0, 0).chosen_version(), None);
}
