//! Producing and consuming: the same bytes, in order, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redrive::client::{Consumer, ConsumerOptions, Producer, ProducerOptions, Start};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::group_offsets::CommittedOffset;
use redrive::protocol::list_offsets::Place;
use redrive::protocol::produce::{Acks, ProduceBatch, ProduceRequest};
use redrive::protocol::settings::Durability;
use storage::batch::{Codec, HeaderRef, Producer as ProducerTag};
use storage::offset::{Offset, TimestampMs};

use crate::harness::{
    Running, batch, batch_of, bounded, counted, create, read, read_all, record, refused,
    topic_request,
};

type Expected = (Option<Vec<u8>>, Vec<u8>, Vec<(String, Option<Bytes>)>);

/// Values of many shapes: empty, text, every byte, one larger than a read-ahead buffer.
fn value(index: u32) -> Vec<u8> {
    match index % 50 {
        0 => Vec::new(),
        7 => (0..=255).collect(),
        13 => index.to_be_bytes().repeat(20_000),
        _ => format!("value {index} {}", "x".repeat(index as usize % 90)).into_bytes(),
    }
}

async fn comes_back(codec: Codec, partition_count: u32) {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", partition_count).await;
    let options = ProducerOptions {
        codec,
        batch_bytes_max: 64 << 10,
        ..ProducerOptions::default()
    };
    let mut sent: BTreeMap<u32, Vec<Expected>> = BTreeMap::new();
    let producer = Producer::open(&client, "t", options).await.unwrap();
    for index in 0..2_000_u32 {
        let key = (index % 3 != 0).then(|| format!("key {}", index % 17).into_bytes());
        let value = value(index);
        let header = index.to_string();
        let headers = [
            HeaderRef {
                name: "number",
                value: Some(header.as_bytes()),
            },
            HeaderRef {
                name: "nothing",
                value: None,
            },
        ];
        let headers = if index % 2 == 0 { &headers[..] } else { &[] };
        let delivery = producer
            .send(&record(key.as_deref(), &value, headers))
            .await
            .unwrap();
        let owned = headers.iter().map(|header| {
            let value = header.value.map(Bytes::copy_from_slice);
            (header.name.to_owned(), value)
        });
        let expected = (key, value.clone(), owned.collect());
        sent.entry(delivery.partition()).or_default().push(expected);
    }
    let counts = bounded(producer.close()).await.unwrap();
    assert_eq!((counts.acknowledged, counts.failed), (2_000, 0));
    let broker = broker.restart().await;
    let records = read_all(&broker.client().await, "t").await;
    let mut found: BTreeMap<u32, Vec<Expected>> = BTreeMap::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for record in records {
        let expected = next.entry(record.partition).or_default();
        assert_eq!(record.offset, Offset(*expected), "no gap, no repeat");
        *expected += 1;
        let key = record.key.map(|key| key.to_vec());
        let value = record.value.unwrap().to_vec();
        found
            .entry(record.partition)
            .or_default()
            .push((key, value, record.headers));
    }
    // Seventeen keys need not fall into every one of eight partitions.
    assert!(found.keys().all(|partition| *partition < partition_count));
    assert!(found == sent, "{codec:?}, {partition_count} partitions");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_byte_for_byte_without_a_codec() {
    comes_back(Codec::None, 1).await;
    comes_back(Codec::None, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_byte_for_byte_with_lz4() {
    comes_back(Codec::Lz4, 1).await;
    comes_back(Codec::Lz4, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_byte_for_byte_with_zstd() {
    comes_back(Codec::Zstd, 1).await;
    comes_back(Codec::Zstd, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_lose_nothing_and_keep_the_order_of_each() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 2).await;
    let writers = (0..8_u32).map(|writer| {
        let client = client.sibling();
        tokio::spawn(async move {
            let options = ProducerOptions {
                batch_bytes_max: 2_000,
                ..ProducerOptions::default()
            };
            let producer = Producer::open(&client, "t", options).await.unwrap();
            for index in 0..500 {
                let value = format!("{writer} {index}");
                let key = writer.to_be_bytes();
                producer
                    .send(&record(Some(&key), value.as_bytes(), &[]))
                    .await
                    .unwrap();
            }
            producer.close().await.unwrap()
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        assert_eq!(bounded(writer).await.unwrap().acknowledged, 500);
    }
    let records = read_all(&client, "t").await;
    assert_eq!(records.len(), 4_000);
    let mut next = BTreeMap::new();
    for record in records {
        let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let (writer, index) = text.split_once(' ').unwrap();
        let expected = next.entry(writer.to_owned()).or_insert(0);
        assert_eq!(index.parse::<u32>().unwrap(), *expected, "writer {writer}");
        *expected += 1;
    }
    broker.stop().await;
}

pub(crate) fn produce_request(topic: &str, partition: u32, batch: Vec<u8>) -> ProduceRequest {
    ProduceRequest {
        acks: Acks::TopicDefault,
        batches: vec![ProduceBatch {
            topic: topic.to_owned(),
            partition,
            batch: batch.into(),
        }],
    }
}

pub(crate) fn fetch_request(topic: &str, offset: u64, wait_ms_max: u32) -> FetchRequest {
    FetchRequest {
        partitions: vec![FetchPartition {
            topic: topic.to_owned(),
            partition: 0,
            offset: Offset(offset),
            bytes_max: 1 << 20,
        }],
        bytes_min: 1,
        bytes_max: 1 << 20,
        wait_ms_max,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let connection = client.connection().await.unwrap();
    let mut produced = Vec::new();
    let mut fetched = Vec::new();
    for index in 0..300_u32 {
        let value = index.to_be_bytes();
        let request = produce_request("t", 0, batch(&[&value]));
        produced.push(connection.submit(&request, Duration::ZERO).await.unwrap());
        // A fetch behind a produce request sees what that appended: it is answered after it.
        let request = fetch_request("t", u64::from(index), 0);
        fetched.push(connection.submit(&request, Duration::ZERO).await.unwrap());
        if produced.len() == 50 {
            let start = index + 1 - 50;
            for (at, answer) in (start..).zip(produced.drain(..)) {
                let answer = bounded(answer.answer()).await.unwrap();
                let appended = answer.batches[0].as_ref().unwrap();
                assert_eq!(appended.base_offset, Offset(u64::from(at)));
            }
            for answer in fetched.drain(..) {
                let answer = bounded(answer.answer()).await.unwrap();
                assert_eq!(answer.partitions[0].refusal, None);
                assert!(!answer.partitions[0].batches.is_empty());
            }
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_wakes_on_new_data_that_is_as_durable_as_the_topic_promises() {
    let broker = Running::start().await;
    let client = broker.client().await;
    for (name, durability) in [("s", Durability::Synced), ("w", Durability::Written)] {
        let request = CreateTopicRequest {
            durability,
            ..topic_request(name, 1)
        };
        client.create_topic(&request).await.unwrap();
        for round in 0..20_u64 {
            let poller = client.sibling().connection().await.unwrap();
            let request = fetch_request(name, round, 30_000);
            let poll = poller
                .submit(&request, Duration::from_secs(30))
                .await
                .unwrap();
            // The poll has been sent before the produce request; it may also come second: both must be answered.
            let value = round.to_be_bytes();
            let answer = client
                .produce(&produce_request(name, 0, batch(&[&value])))
                .await
                .unwrap();
            assert!(answer.batches[0].is_ok());
            let answer = tokio::time::timeout(Duration::from_secs(20), poll.answer())
                .await
                .expect("the poll slept through new data")
                .unwrap();
            assert!(!answer.partitions[0].batches.is_empty());
            assert_eq!(answer.partitions[0].high_watermark, Offset(round + 1));
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_ends_when_its_wait_is_over_or_enough_is_there() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let answer = bounded(client.fetch(&fetch_request("t", 0, 50)))
        .await
        .unwrap();
    assert!(answer.partitions[0].batches.is_empty());
    let produced = batch(&[b"a"]);
    client
        .produce(&produce_request("t", 0, produced.clone()))
        .await
        .unwrap();
    // More is asked for than there is: what is there comes at the end of the wait.
    let mut request = fetch_request("t", 0, 50);
    request.bytes_min = 1 << 19;
    let answer = bounded(client.fetch(&request)).await.unwrap();
    assert_eq!(answer.partitions[0].batches.len(), produced.len());
    // One byte is asked for: a whole batch comes.
    request.bytes_max = 1;
    request.bytes_min = 0;
    let answer = bounded(client.fetch(&request)).await.unwrap();
    assert_eq!(answer.partitions[0].batches.len(), produced.len());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_place_and_by_append_time() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let find = async |place| client.find_offset("t", 0, place).await.unwrap();
    let empty = find(Place::AppendedAt(TimestampMs(0))).await;
    assert_eq!((empty.offset, empty.append_time), (Offset(0), None));
    let mut times = Vec::new();
    for index in 0..50_u32 {
        let value = index.to_be_bytes();
        let answer = client
            .produce(&produce_request("t", 0, batch(&[&value, &value])))
            .await
            .unwrap();
        times.push(answer.batches[0].as_ref().unwrap().append_time);
    }
    assert_eq!(find(Place::Earliest).await.offset, Offset(0));
    assert_eq!(find(Place::Latest).await.offset, Offset(100));
    for (index, time) in times.iter().enumerate() {
        let first = times.iter().position(|other| other >= time).unwrap();
        let found = find(Place::AppendedAt(*time)).await;
        assert_eq!(found.offset, Offset(first as u64 * 2), "batch {index}");
        assert_eq!(found.append_time, Some(*time), "batch {index}");
    }
    let later = TimestampMs(times[49].0 + 1);
    let found = find(Place::AppendedAt(later)).await;
    assert_eq!((found.offset, found.append_time), (Offset(100), None));
    // A consumer that begins at a time begins there.
    let options = ConsumerOptions {
        start: Start::AppendedAt(times[49]),
        ..ConsumerOptions::default()
    };
    let first = times.iter().position(|other| *other >= times[49]).unwrap();
    let records = read(&client, "t", options).await;
    assert_eq!(records.len(), 100 - first * 2);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_where_it_committed_and_its_lag_is_told() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    for index in 0..10_u32 {
        let value = index.to_be_bytes();
        client
            .produce(&produce_request("t", 0, batch(&[&value])))
            .await
            .unwrap();
    }
    let options = ConsumerOptions {
        group: Some("g".to_owned()),
        stops_at_end: true,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, "t", options.clone()).await.unwrap();
    for _ in 0..4 {
        bounded(consumer.next()).await.unwrap().unwrap();
    }
    consumer.commit().await.unwrap();
    let broker = broker.restart().await;
    let client = broker.client().await;
    let groups = client.groups().await.unwrap();
    let partition = &groups[0].partitions[0];
    assert_eq!((groups[0].name.as_str(), partition.lag), ("g", 6));
    assert_eq!(partition.high_watermark, Offset(10));
    let rest = read(&client, "t", options).await;
    assert_eq!(rest.first().unwrap().offset, Offset(4));
    assert_eq!(rest.len(), 6);
    // Beyond the end nothing can be committed, and what stands stays.
    let beyond = CommittedOffset {
        topic: "t".to_owned(),
        partition: 0,
        offset: Offset(11),
        metadata: String::new(),
    };
    let refusal = refused(
        client.commit_offsets("g", vec![beyond]).await,
        ErrorCode::OffsetOutOfRange,
    );
    assert!(refusal.message.contains("11") && refusal.message.contains("10"));
    let committed = client.committed_offsets("g", None).await.unwrap();
    assert_eq!(committed[0].offset, Offset(4));
    client.delete_group("g").await.unwrap();
    refused(client.delete_group("g").await, ErrorCode::UnknownGroup);
    assert_eq!(client.committed_offsets("g", None).await.unwrap(), []);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_commits_nothing_of_where_it_has_read_nothing() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 2).await;
    for partition in 0..2 {
        for _ in 0..3 {
            client
                .produce(&produce_request("t", partition, batch(&[b"x"])))
                .await
                .unwrap();
        }
    }
    let of = |partitions| ConsumerOptions {
        partitions,
        group: Some("g".to_owned()),
        ..ConsumerOptions::default()
    };
    let mut all = Consumer::open(&client, "t", of(None)).await.unwrap();
    let first = bounded(all.next()).await.unwrap().unwrap();
    let other = 1 - first.partition;
    let options = of(Some(vec![other]));
    let mut of_other = Consumer::open(&client, "t", options).await.unwrap();
    for _ in 0..2 {
        bounded(of_other.next()).await.unwrap().unwrap();
    }
    of_other.commit().await.unwrap();
    all.commit().await.unwrap();
    let committed = client.committed_offsets("g", None).await.unwrap();
    let mut offsets: Vec<_> = committed
        .iter()
        .map(|one| (one.partition, one.offset))
        .collect();
    offsets.sort_unstable_by_key(|(partition, _)| *partition != other);
    assert_eq!(offsets, [(other, Offset(2)), (first.partition, Offset(1))]);
    broker.stop().await;
}

/// Otherwise the same command would begin at what is the latest then.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_s_first_commit_says_also_where_it_has_begun() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 2).await;
    let send = async |partition| {
        let request = produce_request("t", partition, batch(&[b"x"]));
        client.produce(&request).await.unwrap();
    };
    send(0).await;
    send(1).await;
    let options = ConsumerOptions {
        start: Start::Latest,
        group: Some("g".to_owned()),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, "t", options.clone()).await.unwrap();
    send(0).await;
    bounded(consumer.next()).await.unwrap().unwrap();
    consumer.commit().await.unwrap();
    drop(consumer);
    send(1).await;
    let mut again = Consumer::open(&client, "t", options).await.unwrap();
    let record = bounded(again.next()).await.unwrap().unwrap();
    assert_eq!((record.partition, record.offset), (1, Offset(1)));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_all_stand() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 4).await;
    let tasks: Vec<_> = (0..32_u32)
        .map(|task| {
            let client = client.sibling();
            tokio::spawn(async move {
                let committed = CommittedOffset {
                    topic: "t".to_owned(),
                    partition: task % 4,
                    offset: Offset(0),
                    metadata: format!("of {task}"),
                };
                let group = format!("g{task}");
                client.commit_offsets(&group, vec![committed]).await
            })
        })
        .collect();
    for task in tasks {
        bounded(task).await.unwrap().unwrap();
    }
    let broker = broker.restart().await;
    let client = broker.client().await;
    for task in 0..32_u32 {
        let committed = client
            .committed_offsets(&format!("g{task}"), None)
            .await
            .unwrap();
        assert_eq!(committed.len(), 1);
        assert_eq!(committed[0].metadata, format!("of {task}"));
        assert_eq!(committed[0].partition, task % 4);
    }
    broker.stop().await;
}

fn tagged(id: u64, epoch: u16, sequence: u32, values: &[&[u8]]) -> Vec<u8> {
    let tag = ProducerTag {
        id,
        epoch,
        base_sequence: sequence,
    };
    batch_of(values, Codec::None, Some(tag))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_stored_once_across_connections_and_restarts() {
    let mut broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let id = client.producer_id().await.unwrap().id;
    let batches: Vec<_> = (0..5_u32)
        .map(|index| tagged(id, 0, index * 2, &[&[index as u8], &[index as u8]]))
        .collect();
    for round in 0..3 {
        let connection = broker.client().await.connection().await.unwrap();
        for (index, batch) in batches.iter().enumerate() {
            let request = produce_request("t", 0, batch.clone());
            let answer = connection.call(&request).await.unwrap();
            let appended = answer.batches[0].as_ref().unwrap();
            let offset = Offset(index as u64 * 2);
            assert_eq!(appended.base_offset, offset, "round {round}");
        }
        if round == 1 {
            broker = broker.restart().await;
        }
    }
    let client = broker.client().await;
    assert_eq!(read_all(&client, "t").await.len(), 10);
    // A gap, a lower epoch and a producer that nobody knows are refused, and nothing is stored.
    let produce = async |batch| {
        let answer = client
            .produce(&produce_request("t", 0, batch))
            .await
            .unwrap();
        answer.batches.into_iter().next().unwrap()
    };
    let gap = produce(tagged(id, 0, 12, &[b"gap"])).await.unwrap_err();
    assert_eq!(gap.code, ErrorCode::OutOfOrderSequence);
    assert!(gap.message.contains("12") && gap.message.contains("10"));
    produce(tagged(id, 1, 0, &[b"new epoch"])).await.unwrap();
    let fenced = produce(tagged(id, 0, 10, &[b"old"])).await.unwrap_err();
    assert_eq!(fenced.code, ErrorCode::ProducerFenced);
    let unknown = produce(tagged(id + 1, 0, 7, &[b"?"])).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownProducer);
    let counts = counted(&read_all(&client, "t").await);
    assert_eq!(counts.get(b"new epoch".as_slice()), Some(&1));
    assert_eq!(counts.values().sum::<usize>(), 11);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_from_many_connections_at_once_is_stored_once() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let id = client.producer_id().await.unwrap().id;
    let start = Arc::new(tokio::sync::Barrier::new(16));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (client, start) = (client.sibling(), Arc::clone(&start));
            tokio::spawn(async move {
                let connection = client.connection().await.unwrap();
                start.wait().await;
                let request = produce_request("t", 0, tagged(id, 0, 0, &[b"once"]));
                let answer = connection.call(&request).await.unwrap();
                answer.batches[0].as_ref().unwrap().base_offset
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(bounded(task).await.unwrap(), Offset(0));
    }
    assert_eq!(read_all(&client, "t").await.len(), 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ids_are_never_handed_out_twice() {
    let mut broker = Running::start().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let client = broker.client().await;
        for _ in 0..1_100 {
            assert!(seen.insert(client.producer_id().await.unwrap().id));
        }
        broker = broker.restart().await;
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_one_request_succeed_and_fail_apart() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 2).await;
    let to = |topic: &str, partition, batch: Vec<u8>| ProduceBatch {
        topic: topic.to_owned(),
        partition,
        batch: batch.into(),
    };
    let request = ProduceRequest {
        acks: Acks::Synced,
        batches: vec![
            to("t", 0, batch(&[b"a"])),
            to("nowhere", 0, batch(&[b"b"])),
            to("t", 9, batch(&[b"c"])),
            to("t", 1, b"no batch".to_vec()),
            to("t", 1, batch(&[b"d", b"e"])),
            to("t", 0, batch(&[b"f"])),
        ],
    };
    let answer = client.produce(&request).await.unwrap();
    let codes: Vec<_> = answer
        .batches
        .iter()
        .map(|batch| batch.as_ref().map(|appended| appended.base_offset.0))
        .map(|batch| batch.map_err(|refusal| refusal.code))
        .collect();
    assert_eq!(codes[0], Ok(0));
    assert_eq!(codes[1], Err(ErrorCode::UnknownTopic));
    assert_eq!(codes[2], Err(ErrorCode::UnknownPartition));
    assert!(codes[3].is_err());
    assert_eq!((codes[4], codes[5]), (Ok(0), Ok(1)));
    let refusal = answer.batches[2].as_ref().unwrap_err();
    assert!(refusal.message.contains('9') && refusal.message.contains("0 to 1"));
    assert_eq!(read_all(&client, "t").await.len(), 4);
    broker.stop().await;
}
