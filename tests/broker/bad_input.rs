//! What a peer should not send, and that nobody else suffers from it.

use std::net::SocketAddr;

use bytes::Bytes;
use redrive::client::{Client, ClientOptions};
use redrive::protocol::api_key::ApiKey;
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::group_offsets::{FetchOffsetsRequest, ListGroupsRequest};
use redrive::protocol::handshake::HandshakeRequest;
use redrive::protocol::list_offsets::{ListOffsetsRequest, Place, PlaceInPartition};
use redrive::protocol::metadata::MetadataRequest;
use redrive::protocol::produce::{Acks, ProduceBatch, ProduceRequest};
use redrive::protocol::read_letters::LetterStatsRequest;
use redrive::protocol::selection::{Order, Page, Selection};
use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec};
use storage::checksum::crc32;
use storage::offset::Offset;

use crate::harness::{Running, batch, bounded, create, read_all, record, refused};
use crate::letters::{list_request, retry_request};
use crate::process::Random;
use crate::produce::{fetch_request, produce_request};
use crate::wire::{Raw, frame, frame_of, handshake};

/// Asserts that the broker still serves somebody else.
async fn others_go_on(client: &Client) {
    let appended = client
        .produce(&produce_request("other", 0, batch(&[b"still here"])))
        .await
        .unwrap();
    let offset = appended.batches[0].as_ref().unwrap().base_offset;
    let fetched = client
        .fetch(&fetch_request("other", offset.0, 0))
        .await
        .unwrap();
    assert!(!fetched.partitions[0].batches.is_empty());
}

async fn start() -> (Running, Client, SocketAddr) {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    create(&client, "other", 1).await;
    let address = broker.addresses.protocol;
    (broker, client, address)
}

/// Sends one frame after a handshake; the answer is a refusal and the connection ends.
async fn ends_with(address: SocketAddr, bytes: &[u8], code: ErrorCode) -> Refusal {
    let mut raw = Raw::shaken(address).await;
    raw.send(bytes).await;
    let (_, answer) = raw.answer::<MetadataRequest>().await.expect("an answer");
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.code, code, "{refusal}");
    assert_eq!(raw.body().await, None, "the connection is to end");
    refusal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_frame_cut_anywhere_appends_nothing() {
    let (broker, client, address) = start().await;
    let whole = frame(1, &produce_request("t", 0, batch(&[b"a", b"b"])));
    for end in 0..whole.len() {
        // The stream ends within the frame.
        let mut raw = Raw::shaken(address).await;
        raw.send(&whole[..end]).await;
        raw.finish().await;
        assert_eq!(raw.body().await, None, "cut at {end}");
        // The frame says that it is complete.
        if end >= 4 {
            let mut bytes = u32::try_from(end - 4).unwrap().to_be_bytes().to_vec();
            bytes.extend(&whole[4..end]);
            ends_with(address, &bytes, ErrorCode::MalformedRequest).await;
        }
    }
    others_go_on(&client).await;
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

fn requests() -> Vec<Vec<u8>> {
    vec![
        frame(1, &MetadataRequest { topics: None }),
        frame(2, &produce_request("t", 0, batch(&[b"abc"]))),
        frame(3, &fetch_request("t", 0, 0)),
        frame(4, &ListGroupsRequest {}),
        frame(
            5,
            &FetchOffsetsRequest {
                group: "g".to_owned(),
                topics: Some(vec!["t".to_owned()]),
            },
        ),
        frame(
            6,
            &ListOffsetsRequest {
                partitions: vec![PlaceInPartition {
                    topic: "t".to_owned(),
                    partition: 0,
                    place: Place::Earliest,
                }],
            },
        ),
        frame(
            7,
            &LetterStatsRequest {
                topic: "t".to_owned(),
                selection: Selection::All,
            },
        ),
        frame(
            8,
            &list_request("t", Selection::All, Page::first(Order::OldestFirst, 5)),
        ),
        frame(9, &retry_request("t", Selection::All)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_may_come_in_two_parts_split_anywhere() {
    let (broker, client, address) = start().await;
    let mut raw = Raw::connect(address).await;
    let shake = frame(0, &handshake());
    for byte in &shake {
        raw.send(&[*byte]).await;
        others_go_on(&client).await;
    }
    raw.answer::<HandshakeRequest>().await.unwrap().1.unwrap();
    for (request, id) in requests().into_iter().zip(1_u32..) {
        for at in 1..request.len() {
            raw.send(&request[..at]).await;
            // A round trip on another connection: the first part has most likely been read by now.
            client.metadata(Some(Vec::new())).await.unwrap();
            raw.send(&request[at..]).await;
            let body = raw.body().await.expect("an answer");
            assert_eq!(body[..4], id.to_be_bytes(), "split at {at}");
            assert_eq!(body[4..6], [0, 0], "request {id} split at {at}");
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_frames_in_one_write_are_answered_in_order() {
    let (broker, _client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    let all: Vec<u8> = (0..40).flat_map(|_| requests().concat()).collect();
    raw.send(&all).await;
    raw.finish().await;
    for _ in 0..40 {
        for id in 1..=9_u32 {
            let body = raw.body().await.expect("an answer");
            assert_eq!(body[..6], [id.to_be_bytes().as_slice(), &[0, 0]].concat());
        }
    }
    assert_eq!(raw.body().await, None);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_is_told_and_left() {
    let broker = Running::with(&[("token", "the-secret")]).await;
    let address = broker.addresses.protocol;
    let ends = async |bytes: Vec<u8>, code| {
        let mut raw = Raw::connect(address).await;
        raw.send(&bytes).await;
        let answer = raw.answer::<HandshakeRequest>().await.expect("an answer").1;
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(raw.body().await, None);
        assert!(!refusal.message.contains("the-secret"));
        refusal
    };
    for request in requests() {
        ends(request, ErrorCode::HandshakeExpected).await;
    }
    let mut wrong = handshake();
    ends(frame(1, &wrong), ErrorCode::WrongToken).await;
    for token in ["", "the-secre", "the-secret ", "redrive"] {
        wrong.token = Some(token.to_owned());
        ends(frame(1, &wrong), ErrorCode::WrongToken).await;
    }
    wrong.token = Some("the-secret".to_owned());
    let right = frame(1, &wrong);
    wrong.version_min = 2;
    wrong.version_max = 9;
    let refusal = ends(frame(1, &wrong), ErrorCode::UnsupportedVersion).await;
    assert!(refusal.message.contains("2 to 9") && refusal.message.contains('1'));
    let mut magic = right.clone();
    magic[12] ^= 1;
    ends(magic, ErrorCode::MalformedRequest).await;
    let mut trailing = right.clone();
    trailing.push(0);
    trailing[3] += 1;
    ends(trailing, ErrorCode::MalformedRequest).await;
    for end in 0..right.len() {
        let mut raw = Raw::connect(address).await;
        raw.send(&right[..end]).await;
        raw.finish().await;
        assert_eq!(raw.body().await, None, "cut at {end}");
    }
    let client = |token: Option<&str>| {
        Client::connect(ClientOptions {
            token: token.map(str::to_owned),
            ..broker.options()
        })
    };
    refused(client(None).await, ErrorCode::WrongToken);
    client(Some("the-secret")).await.unwrap();
    // A second handshake is refused; the connection goes on.
    let mut raw = Raw::connect(address).await;
    raw.send(&right).await;
    raw.answer::<HandshakeRequest>().await.unwrap().1.unwrap();
    raw.send(&right).await;
    let answer = raw.answer::<HandshakeRequest>().await.unwrap().1;
    assert_eq!(answer.unwrap_err().code, ErrorCode::HandshakeExpected);
    raw.send(&frame(3, &ListGroupsRequest {})).await;
    raw.answer::<ListGroupsRequest>().await.unwrap().1.unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_may_send_64_kib_and_no_more() {
    let (broker, client, address) = start().await;
    for (bytes, is_taken) in [(64 << 10, true), ((64 << 10) + 1, false), (u32::MAX, false)] {
        let mut raw = Raw::connect(address).await;
        raw.send(&bytes.to_be_bytes()).await;
        if is_taken {
            // A handshake with a name that fills the frame: it decodes, and the name is what is wrong with it.
            let mut request = handshake();
            let empty = frame(1, &request).len() - 4 - request.client_name.len();
            request.client_name = "n".repeat(bytes as usize - empty);
            let whole = frame(1, &request);
            assert_eq!(whole.len(), bytes as usize + 4);
            raw.send(&whole[4..]).await;
        }
        let answer = raw.answer::<HandshakeRequest>().await.expect("an answer").1;
        let code = answer.unwrap_err().code;
        let expected = if is_taken {
            ErrorCode::LimitExceeded
        } else {
            ErrorCode::FrameTooLarge
        };
        assert_eq!(code, expected, "{bytes} bytes");
        assert_eq!(raw.body().await, None);
    }
    others_go_on(&client).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_ends_its_connection_alone() {
    let (broker, client, address) = start().await;
    let frame_bytes_max = client.terms().await.unwrap().frame_bytes_max;
    for bytes in [frame_bytes_max + 1, u32::MAX / 2, u32::MAX] {
        let refusal = ends_with(address, &bytes.to_be_bytes(), ErrorCode::FrameTooLarge).await;
        assert!(refusal.message.contains(&bytes.to_string()));
        assert!(refusal.message.contains(&frame_bytes_max.to_string()));
        others_go_on(&client).await;
    }
    // As large as may be is announced by many who send nothing more: no memory is taken for it.
    let before = resident_bytes();
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut raw = Raw::shaken(address).await;
        raw.send(&frame_bytes_max.to_be_bytes()).await;
        raw.send(&[0, 7]).await;
        held.push(raw);
        // Those who announce much and send little must not starve those who send.
        bounded(others_go_on(&client)).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 512 << 20, "{grown} bytes for 64 announcements");
    drop(held);
    broker.stop().await;
}

/// Bytes of this process in memory.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_requests_and_versions_are_refused_and_the_connection_goes_on() {
    let (broker, _client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    for key in [0, 20, 999, u16::MAX] {
        raw.send(&frame_of(key, 1, 5, b"whatever")).await;
        let (id, answer) = raw.answer::<MetadataRequest>().await.unwrap();
        let refusal = answer.unwrap_err();
        assert_eq!((id, refusal.code), (5, ErrorCode::UnknownApi));
        assert!(refusal.message.contains(&key.to_string()));
    }
    for key in 2..=19 {
        let newest = ApiKey::from_number(key).unwrap().version();
        for version in [0, newest + 1, u16::MAX] {
            raw.send(&frame_of(key, version, 6, b"")).await;
            let refusal = raw
                .answer::<MetadataRequest>()
                .await
                .unwrap()
                .1
                .unwrap_err();
            assert_eq!(refusal.code, ErrorCode::UnsupportedVersion, "key {key}");
            assert!(refusal.message.contains(&version.to_string()), "{refusal}");
        }
    }
    // Every request with a payload that is no request.
    for key in 2..=19 {
        let is_empty = matches!(key, 6 | 12);
        let bytes = frame_of(key, 1, 6, &[0xFF; 9]);
        let refusal = ends_with(address, &bytes, ErrorCode::MalformedRequest).await;
        assert!(is_empty || !refusal.message.is_empty(), "key {key}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_lie_about_what_follows_take_no_memory() {
    let (broker, client, address) = start().await;
    let before = resident_bytes();
    // A count of 2^32 - 1 where an array begins, in every request that begins with one.
    let huge = u32::MAX.to_be_bytes();
    for (key, prefix) in [(2, &[1][..]), (7, &[1][..]), (8, &[][..]), (9, &[][..])] {
        let payload = [prefix, huge.as_slice(), &[0; 64]].concat();
        let bytes = frame_of(key, 1, 6, &payload);
        ends_with(address, &bytes, ErrorCode::MalformedRequest).await;
    }
    assert!(resident_bytes().saturating_sub(before) < 256 << 20);
    others_go_on(&client).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_connection_alone() {
    let (broker, client, address) = start().await;
    let mut random = Random::new("garbage");
    for round in 0..200 {
        let mut raw = if round % 2 == 0 {
            Raw::connect(address).await
        } else {
            Raw::shaken(address).await
        };
        let bytes: Vec<u8> = (0..random.below(400))
            .map(|_| random.below(256) as u8)
            .collect();
        raw.send(&bytes).await;
        raw.finish().await;
        while raw.body().await.is_some() {}
    }
    let mut raw = Raw::connect(address).await;
    raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.answer::<HandshakeRequest>().await.expect("an answer").1;
    assert_eq!(answer.unwrap_err().code, ErrorCode::FrameTooLarge);
    others_go_on(&client).await;
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

/// Computes both checksums of a batch anew.
fn checked(mut batch: Vec<u8>) -> Vec<u8> {
    let body = crc32(&batch[96..]).to_be_bytes();
    batch[52..56].copy_from_slice(&body);
    let header = crc32(&batch[..92]).to_be_bytes();
    batch[92..96].copy_from_slice(&header);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_bit_of_a_batch_is_refused_and_its_connection_goes_on() {
    let (broker, client, _address) = start().await;
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let text = b"a record that packs packs packs packs packs packs packs well".as_slice();
        let whole = crate::harness::batch_of(&[text, text, text], codec, None);
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1 << (at % 8);
            let answer = client.produce(&produce_request("t", 0, wrong)).await;
            let answer = answer.unwrap_or_else(|error| panic!("byte {at}: {error}"));
            assert!(answer.batches[0].is_err(), "byte {at} of {codec:?}");
        }
        for end in 0..whole.len() {
            let cut = whole[..end].to_vec();
            let answer = client.produce(&produce_request("t", 0, cut)).await.unwrap();
            assert!(answer.batches[0].is_err(), "cut at {end} of {codec:?}");
        }
    }
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_lies_with_right_checksums_is_refused_with_the_reason() {
    let (broker, client, _address) = start().await;
    let honest = batch(&[b"one", b"two", b"three"]);
    let refusal_of = async |wrong: Vec<u8>, what: &str| {
        let answer = client.produce(&produce_request("t", 0, wrong)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        let Err(refusal) = answer.batches.into_iter().next().unwrap() else {
            panic!("{what} was taken");
        };
        assert!(!refusal.code.is_retryable() || refusal.code == ErrorCode::CorruptBatch);
        refusal
    };
    let put_u32 = |at: usize, value: u32| {
        let mut wrong = honest.clone();
        wrong[at..at + 4].copy_from_slice(&value.to_be_bytes());
        checked(wrong)
    };
    for (what, at, value) in [
        ("a length that is too large", 8, 1 << 20),
        ("a length that is too small", 8, 96),
        ("no length", 8, 0),
        ("a partition number", 12, 1),
        ("a last offset delta that is too large", 24, 3),
        ("a last offset delta that is too small", 24, 1),
        ("a record count that is too large", 28, 4),
        ("a record count that is too small", 28, 2),
        ("no records", 28, 0),
        ("unpacked bytes that are too many", 32, 1_000),
        ("unpacked bytes that are too few", 32, 5),
        ("a sequence without a producer", 36, 5),
        ("a chain", 80, 7),
        ("a base offset", 20, 9),
        ("an append time", 76, 9),
        ("a durable end", 88, 9),
    ] {
        let refusal = refusal_of(put_u32(at, value), what).await;
        assert!(!refusal.message.is_empty(), "{what}");
    }
    // Count and last delta lie together: the records tell.
    for count in [1_u32, 2, 4, 1_000, u32::MAX] {
        let mut wrong = honest.clone();
        wrong[24..28].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
        wrong[28..32].copy_from_slice(&count.to_be_bytes());
        refusal_of(checked(wrong), &format!("{count} records instead of 3")).await;
    }
    for (what, at) in [
        ("a log kind", 5),
        ("an attribute of the broker", 6),
        ("an unknown attribute or codec", 7),
        ("a version", 4),
        ("a magic", 0),
        ("a reserved field", 50),
    ] {
        for bit in 0..8 {
            let mut wrong = honest.clone();
            wrong[at] ^= 1 << bit;
            let answer = refusal_of(checked(wrong), &format!("{what}, bit {bit}")).await;
            assert!(!answer.message.is_empty());
        }
    }
    // Every byte of the records section wrong, with the right checksums: refused, or another record of the same shape.
    let mut taken = 0;
    for at in 96..honest.len() {
        for flip in [0x01, 0x40, 0x80, 0xFF] {
            let mut wrong = honest.clone();
            wrong[at] ^= flip;
            let answer = client
                .produce(&produce_request("t", 0, checked(wrong)))
                .await
                .unwrap();
            taken += usize::from(answer.batches[0].is_ok());
        }
    }
    // What was taken decodes.
    assert_eq!(read_all(&client, "t").await.len(), taken * 3);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_headers_and_the_brokers_mark_are_refused() {
    let (broker, client, _address) = start().await;
    let refusal_of = async |batch: Vec<u8>| {
        let answer = client.produce(&produce_request("t", 0, batch)).await;
        answer
            .unwrap()
            .batches
            .into_iter()
            .next()
            .unwrap()
            .unwrap_err()
    };
    let of = |name: &str, mark: BrokerMark| {
        let headers = [storage::batch::HeaderRef { name, value: None }];
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&record(None, b"value", &headers)).unwrap();
        let options = BuildOptions {
            broker: mark,
            ..BuildOptions::default()
        };
        builder.build(options).unwrap()
    };
    for mark in [BrokerMark::Broker, BrokerMark::BrokerWithCauses] {
        refusal_of(of("redrive.group", mark)).await;
        refusal_of(of("mine", mark)).await;
    }
    for name in ["redrive.", "redrive.group", "redrive.cause", "redrive.x"] {
        // The name is as long while the batch is built, and reserved when it is sent.
        let innocent = format!("y{}", &name[1..]);
        let mut batch = of(&innocent, BrokerMark::Client);
        let at = batch
            .windows(innocent.len())
            .position(|window| window == innocent.as_bytes())
            .unwrap();
        batch[at] = b'r';
        let refusal = refusal_of(checked(batch)).await;
        assert_eq!(refusal.code, ErrorCode::ReservedHeader);
        assert!(refusal.message.contains("redrive."), "{refusal}");
    }
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_without_being_unpacked_whole() {
    let (broker, client, _address) = start().await;
    let zeros = vec![0; 1 << 20];
    for codec in [Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        for _ in 0..60 {
            if builder.push(&record(None, &zeros, &[])).is_err() {
                break;
            }
        }
        let bomb = builder.build(BuildOptions::default()).unwrap();
        let before = resident_bytes();
        for declared in [10, 1_000, 1 << 20, u32::MAX] {
            let mut lying = bomb.clone();
            lying[32..36].copy_from_slice(&declared.to_be_bytes());
            let answer = client
                .produce(&produce_request("t", 0, checked(lying)))
                .await
                .unwrap();
            assert!(answer.batches[0].is_err(), "{codec:?} says {declared}");
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes");
    }
    // An honest one is more than a small topic takes.
    let mut small = crate::harness::topic_request("small", 1);
    small.change.record_bytes_max = Some(64 << 10);
    small.change.batch_bytes_max = Some(256 << 10);
    client.create_topic(&small).await.unwrap();
    let mut builder = BatchBuilder::new(Codec::Zstd);
    for _ in 0..1_000 {
        builder
            .push(&record(None, &zeros[..60 << 10], &[]))
            .unwrap();
    }
    let honest = builder.build(BuildOptions::default()).unwrap();
    let answer = client.produce(&produce_request("small", 0, honest)).await;
    let refusal = answer.unwrap().batches.pop().unwrap().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::BatchTooLarge, "{refusal}");
    let large = batch(&[&zeros[..=(64 << 10)]]);
    let answer = client.produce(&produce_request("small", 0, large)).await;
    let refusal = answer.unwrap().batches.pop().unwrap().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::RecordTooLarge, "{refusal}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_out_of_range_names_the_range() {
    let (broker, client, _address) = start().await;
    client
        .produce(&produce_request("t", 0, batch(&[b"a", b"b"])))
        .await
        .unwrap();
    for offset in [3, 99, u64::MAX] {
        let answer = bounded(client.fetch(&fetch_request("t", offset, 30_000)))
            .await
            .unwrap();
        let partition = &answer.partitions[0];
        let refusal = partition.refusal.as_ref().unwrap();
        assert_eq!(refusal.code, ErrorCode::OffsetOutOfRange);
        for part in [offset.to_string().as_str(), "0", "2"] {
            assert!(refusal.message.contains(part), "{refusal}");
        }
        assert_eq!(partition.log_start_offset, Offset(0));
        assert_eq!(partition.high_watermark, Offset(2));
    }
    let mut request = fetch_request("nowhere", 0, 30_000);
    let answer = bounded(client.fetch(&request)).await.unwrap();
    let code = answer.partitions[0].refusal.as_ref().unwrap().code;
    assert_eq!(code, ErrorCode::UnknownTopic);
    request.partitions[0].topic = "t".to_owned();
    request.partitions[0].partition = 3;
    let answer = bounded(client.fetch(&request)).await.unwrap();
    let refusal = answer.partitions[0].refusal.as_ref().unwrap();
    assert_eq!(refusal.code, ErrorCode::UnknownPartition);
    assert!(refusal.message.contains('3') && refusal.message.contains("it has 1"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_keeps_to_what_was_asked_for_and_to_the_frame() {
    let sizes = [
        ("topic.record_bytes_max", "64KiB"),
        ("topic.batch_bytes_max", "256KiB"),
        ("limits.frame_bytes_max", "512KiB"),
    ];
    let broker = Running::with(&sizes).await;
    let client = broker.client().await;
    create(&client, "t", 4).await;
    let value = vec![7; 60 << 10];
    let large = batch(&[&value, &value, &value]);
    for partition in 0..4 {
        let request = produce_request("t", partition, large.clone());
        for _ in 0..4 {
            let answer = client.produce(&request).await.unwrap();
            answer.batches[0].as_ref().unwrap();
        }
    }
    let ask = |bytes_max: u32| FetchRequest {
        partitions: (0..4)
            .map(|partition| FetchPartition {
                topic: "t".to_owned(),
                partition,
                offset: Offset(0),
                bytes_max: u32::MAX,
            })
            .collect(),
        bytes_min: 0,
        bytes_max,
        wait_ms_max: 0,
    };
    let mut raw = Raw::shaken(broker.addresses.protocol).await;
    for bytes_max in [
        1,
        large.len(),
        large.len() + 1,
        2 * large.len() + 1,
        1 << 30,
    ] {
        let bytes_max = u32::try_from(bytes_max).unwrap();
        raw.send(&frame(1, &ask(bytes_max))).await;
        let (_, answer) = raw.answer::<FetchRequest>().await.unwrap();
        let found: usize = answer
            .unwrap()
            .partitions
            .iter()
            .map(|partition| partition.batches.len())
            .sum();
        let allowed = large.len().max(bytes_max as usize);
        assert!(found > 0 && found <= allowed, "{found} of {bytes_max}");
        assert!(found < 512 << 10, "{found} bytes do not fit the frame");
    }
    // Partitions without data stand before the one that has some.
    create(&client, "u", 2).await;
    client
        .produce(&produce_request("u", 1, large.clone()))
        .await
        .unwrap();
    let mut request = ask(0);
    request.partitions.truncate(2);
    for partition in &mut request.partitions {
        partition.topic = "u".to_owned();
    }
    let answer = client.fetch(&request).await.unwrap();
    assert_eq!(answer.partitions[1].batches.len(), large.len());
    // Letters: a page ends where the frame does.
    let ids = crate::letters::reject_all(&client, "t", "g").await;
    let mut page = Page::first(Order::OldestFirst, 1_000);
    let mut seen = 0;
    loop {
        let request = list_request("t", Selection::All, page.clone());
        raw.send(&frame(2, &request)).await;
        let body = raw.body().await.unwrap();
        assert!(body.len() <= 512 << 10, "an answer of {} bytes", body.len());
        let (_, answer) = redrive::protocol::frame::decode_answer::<
            redrive::protocol::read_letters::ListLettersAnswer,
        >(&body)
        .unwrap();
        let answer = answer.unwrap();
        seen += answer.letters.len();
        page.cursor = answer.cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids.len());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_a_request_may_name_are_refused() {
    let (broker, client, _address) = start().await;
    let one = fetch_request("t", 0, 0).partitions.remove(0);
    let mut request = fetch_request("t", 0, 0);
    request.partitions = vec![one; 1_025];
    refused(client.fetch(&request).await, ErrorCode::LimitExceeded);
    let batch = ProduceBatch {
        topic: "t".to_owned(),
        partition: 0,
        batch: Bytes::from(batch(&[b"a"])),
    };
    let request = ProduceRequest {
        acks: Acks::TopicDefault,
        batches: vec![batch; 1_025],
    };
    // One refusal, not one for each batch: the connection ends.
    refused(client.produce(&request).await, ErrorCode::LimitExceeded);
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_not_read_from_and_holds_up_nobody() {
    let (broker, client, address) = start().await;
    let value = vec![1; 200_000];
    for _ in 0..8 {
        client
            .produce(&produce_request("t", 0, batch(&[&value])))
            .await
            .unwrap();
    }
    let before = resident_bytes();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let mut raw = Raw::shaken(address).await;
                let request = frame(1, &fetch_request("t", 0, 0));
                let many = request.repeat(1_000);
                // 64 MiB of requests, whose answers would be a terabyte: they must not all be taken.
                for _ in 0..(64 << 20) / many.len() {
                    raw.send(&many).await;
                }
            })
        })
        .collect();
    for _ in 0..300 {
        bounded(others_go_on(&client)).await;
    }
    assert!(senders.iter().all(|sender| !sender.is_finished()));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 512 << 20, "{grown} bytes");
    for sender in senders {
        sender.abort();
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_name_of_a_client_does_not_stand_in_the_way_of_its_markers() {
    let (broker, client, _address) = start().await;
    crate::letters::fill(&client, "t", 50).await;
    crate::letters::reject_all(&client, "t", "g").await;
    let options = ClientOptions {
        client_name: "n".repeat(255),
        ..broker.options()
    };
    let long = Client::connect(options).await.unwrap();
    assert_eq!(crate::letters::retry_all(&long, "t", 1_000).await.len(), 50);
    let broker = broker.restart().await;
    let client = broker.client().await;
    let counts = client.topic("t").await.unwrap().partitions[0].letters;
    assert_eq!((counts.live, counts.republished), (0, 50));
    assert_eq!(read_all(&client, "t").await.len(), 100);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_half_a_frame_does_not_keep_a_topic_from_changing() {
    let (broker, client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    let whole = frame(1, &produce_request("t", 0, batch(&[b"late"])));
    raw.send(&whole[..whole.len() - 1]).await;
    client.delete_topic("t", false).await.unwrap();
    raw.send(&whole[whole.len() - 1..]).await;
    let (_, answer) = raw.answer::<ProduceRequest>().await.unwrap();
    let refusal = answer.unwrap().batches.pop().unwrap().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownTopic);
    let again = CreateTopicRequest {
        ..crate::harness::topic_request("t", 1)
    };
    client.create_topic(&again).await.unwrap();
    assert_eq!(read_all(&client, "t").await, []);
    broker.stop().await;
}
