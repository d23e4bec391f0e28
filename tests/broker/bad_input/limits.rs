//! Requests for more than there is, or than a broker gives.

use bytes::Bytes;
use redrive::client::{Client, ClientOptions};
use redrive::protocol::api_key::ApiKey;
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::metadata::MetadataRequest;
use redrive::protocol::produce::{Acks, ProduceBatch, ProduceRequest};
use redrive::protocol::selection::{Order, Page, Selection};
use storage::offset::Offset;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{others_go_on, resident_bytes, start};
use crate::harness::{Running, batch, bounded, create, read_all, refused};
use crate::letters::list_request;
use crate::produce::{fetch_request, produce_request};
use crate::wire::{Raw, frame, frame_of};

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

/// A request for topics without names, each of which is 2 bytes on the wire and 24 in memory.
fn nameless(count: u32) -> Vec<u8> {
    let names = vec![0; 2 * count as usize];
    let payload = [&[1], count.to_be_bytes().as_slice(), &names].concat();
    frame_of(ApiKey::Metadata.number(), 1, 5, &payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_full_of_empty_names_is_refused_by_their_number() {
    let (broker, _client, address) = start().await;
    let mut raw = Raw::shaken(address).await;
    for count in [30 << 20, 16_385, 10_001] {
        raw.send(&nameless(count)).await;
        let (_, answer) = raw.answer::<MetadataRequest>().await.expect("an answer");
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::LimitExceeded);
        assert!(refusal.message.contains(&count.to_string()), "{refusal}");
        let limit = if count > 10_001 { "16384" } else { "10000" };
        assert!(refusal.message.contains(limit), "{refusal}");
    }
    raw.send(&nameless(10_000)).await;
    let (_, answer) = raw.answer::<MetadataRequest>().await.expect("an answer");
    assert_eq!(answer.unwrap().topics.len(), 10_000);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_decoded_keep_to_the_room() {
    const CONNECTIONS: usize = 10;
    let broker = Running::with(&[("limits.in_flight_bytes_max", "64MiB")]).await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let before = resident_bytes();
    // Behind a fetch that waits stand as many requests as a connection takes. As frames all of them have room.
    let waits = frame(1, &fetch_request("t", 0, 2_000));
    let many = [waits, nameless(16_000).repeat(200)].concat();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = Raw::shaken(broker.addresses.protocol).await;
        let bytes = many.clone();
        connections.push(tokio::spawn(async move {
            let (reading, mut writing) = raw.stream.split();
            let mut reading = tokio::io::BufReader::new(reading);
            let read = async {
                let length = reading.read_u32().await.unwrap();
                let mut body = vec![0; length as usize];
                reading.read_exact(&mut body).await.unwrap();
                let grown = resident_bytes().saturating_sub(before);
                let rest = &mut tokio::io::sink();
                tokio::io::copy(&mut reading, rest).await.unwrap();
                grown
            };
            let write = async {
                writing.write_all(&bytes).await.unwrap();
                writing.shutdown().await.unwrap();
            };
            tokio::join!(read, write).0
        }));
    }
    for connection in connections {
        let grown = bounded(connection).await.unwrap();
        assert!(grown < 400 << 20, "{grown} bytes");
    }
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
async fn refusals_that_nobody_reads_keep_to_their_room() {
    const REQUESTS: usize = 250;
    let (broker, client, address) = start().await;
    // Each batch is refused in more bytes than it takes in the frame.
    let batch = ProduceBatch {
        topic: "n".repeat(240),
        partition: 0,
        batch: Bytes::new(),
    };
    let request = ProduceRequest {
        acks: Acks::TopicDefault,
        batches: vec![batch; 1_024],
    };
    let request = Bytes::from(frame(1, &request));
    let before = resident_bytes();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let request = request.clone();
            tokio::spawn(async move {
                let mut raw = Raw::shaken(address).await;
                for _ in 0..REQUESTS {
                    raw.send(&request).await;
                }
                raw
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
    // Who reads them gets them all.
    let mut raw = Raw::shaken(address).await;
    let (mut reading, mut writing) = raw.stream.split();
    let write = async {
        for _ in 0..REQUESTS {
            writing.write_all(&request).await.unwrap();
        }
    };
    let read = async {
        let mut bytes = 0_u64;
        for _ in 0..REQUESTS {
            let length = reading.read_u32().await.unwrap();
            let mut answer = (&mut reading).take(length.into());
            bytes += tokio::io::copy(&mut answer, &mut tokio::io::sink())
                .await
                .unwrap();
        }
        bytes
    };
    let ((), bytes) = bounded(async { tokio::join!(write, read) }).await;
    assert!(bytes > request.len() as u64 * REQUESTS as u64, "{bytes}");
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
