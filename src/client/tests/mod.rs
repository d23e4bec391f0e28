//! The client against a broker in memory: real sockets, real codecs, faults by order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod ahead;
mod fake;

use std::time::Duration;

use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec, HeaderRef, NewRecord};
use storage::cause::GROUP_HEADER;
use storage::offset::{Offset, TimestampMs};

use self::fake::{Fake, Fault, TOKEN, TOPIC};
use super::backoff::Backoff;
use super::consumer::{Consumer, ConsumerOptions, Start};
use super::producer::{Producer, ProducerOptions};
use super::{Client, ClientError, ClientOptions};
use crate::protocol::error_code::ErrorCode;

fn options(fake: &Fake) -> ClientOptions {
    ClientOptions {
        token: Some(TOKEN.to_owned()),
        backoff: Backoff {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
        },
        ..ClientOptions::new(fake.addr.as_str())
    }
}

fn record(value: &str) -> NewRecord<'_> {
    NewRecord {
        timestamp: TimestampMs(1),
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    }
}

/// Batches of about ten of the records that [`produce`] makes.
fn small_batches(codec: Codec) -> ProducerOptions {
    ProducerOptions {
        batch_bytes_max: 560,
        linger: Duration::from_millis(1),
        codec,
        ..ProducerOptions::default()
    }
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("value {n:06}")).collect()
}

/// Produces to a fake with these faults, and returns the values that were stored.
async fn produce_through(faults: &[Option<Fault>], codec: Codec) -> (Fake, Vec<String>) {
    let fake = Fake::start(1).await;
    fake.fault(faults);
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(codec))
        .await
        .unwrap();
    let mut deliveries = Vec::new();
    for value in values(500) {
        deliveries.push(producer.send(&record(&value)).await.unwrap());
    }
    let counts = producer.flush().await;
    assert_eq!(
        (counts.accepted, counts.acknowledged),
        (500, 500),
        "{:?}",
        producer.first_error()
    );
    for (n, delivery) in (0..).zip(&deliveries) {
        assert_eq!(delivery.wait().await.unwrap().offset, Offset(n));
    }
    assert_eq!(producer.close().await.unwrap(), counts);
    let stored = fake.values(0);
    (fake, stored)
}

#[tokio::test]
async fn records_are_stored_in_order_with_each_codec() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let (fake, stored) = produce_through(&[], codec).await;
        assert_eq!(stored, values(500), "{codec:?}");
        let batches = fake.state.lock().partitions[0].batches.len();
        assert!(batches > 20, "{batches} batches: they were not small");
    }
}

#[tokio::test]
async fn lost_connections_and_refusals_store_each_record_once_and_in_order() {
    let full = Fault::Refuse(ErrorCode::StorageFull);
    for faults in [
        vec![Some(Fault::DropBefore)],
        vec![Some(Fault::DropAfter)],
        vec![Some(full)],
        vec![
            None,
            None,
            Some(Fault::DropAfter),
            None,
            Some(Fault::DropBefore),
        ],
        vec![
            None,
            Some(full),
            None,
            None,
            Some(Fault::DropAfter),
            Some(full),
            Some(Fault::DropAfter),
        ],
        vec![Some(Fault::DropAfter); 7],
        vec![None, Some(Fault::Refuse(ErrorCode::OutcomeUnknown)), None],
    ] {
        let (fake, stored) = produce_through(&faults, Codec::None).await;
        assert_eq!(stored, values(500), "{faults:?}");
        assert!(
            fake.state.lock().faults.is_empty(),
            "{faults:?} did not happen"
        );
    }
}

#[tokio::test]
async fn a_batch_refused_for_good_fails_alone() {
    let fake = Fake::start(1).await;
    fake.fault(&[None, Some(Fault::Refuse(ErrorCode::RecordTooLarge))]);
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::None))
        .await
        .unwrap();
    let values = values(300);
    let mut deliveries = Vec::new();
    for value in &values {
        deliveries.push(producer.send(&record(value)).await.unwrap());
    }
    let counts = producer.flush().await;
    assert_eq!(counts.acknowledged + counts.failed, 300);
    let mut expected = Vec::new();
    let mut failed = 0;
    for (value, delivery) in values.into_iter().zip(&deliveries) {
        match delivery.wait().await {
            Ok(_) => expected.push(value),
            Err(error) => {
                assert_eq!(error.refusal().unwrap().code, ErrorCode::RecordTooLarge);
                failed += 1;
            }
        }
    }
    assert_eq!(failed, counts.failed);
    assert!((1..100).contains(&failed), "{failed} failed");
    assert_eq!(
        fake.values(0),
        expected,
        "what was acknowledged is not what is stored"
    );
    let error = producer.close().await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, ErrorCode::RecordTooLarge);
}

#[tokio::test]
async fn a_producer_without_an_id_never_repeats_what_may_have_been_stored() {
    let fake = Fake::start(1).await;
    fake.fault(&[Some(Fault::DropAfter)]);
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ProducerOptions {
        is_idempotent: false,
        ..small_batches(Codec::None)
    };
    let producer = Producer::open(&client, TOPIC, options).await.unwrap();
    let delivery = producer.send(&record("once")).await.unwrap();
    let error = delivery.wait().await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.values(0), ["once"]);
}

#[tokio::test]
async fn sending_waits_while_too_much_is_not_settled() {
    let fake = Fake::start(1).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ProducerOptions {
        backlog_bytes_max: 600,
        ..small_batches(Codec::None)
    };
    let producer = Producer::open(&client, TOPIC, options).await.unwrap();
    let values = values(1000);
    let mut refused = 0;
    for value in &values {
        while producer.try_send(&record(value)).unwrap().is_none() {
            refused += 1;
            producer.space().await;
        }
    }
    assert!(refused > 0, "there was always room");
    assert_eq!(producer.flush().await.acknowledged, 1000);
    assert_eq!(fake.values(0), values);
}

#[tokio::test]
async fn reserved_headers_are_refused_before_they_reach_a_batch() {
    let fake = Fake::start(1).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, ProducerOptions::default())
        .await
        .unwrap();
    let headers = [HeaderRef {
        name: "redrive.cause",
        value: None,
    }];
    let mut bad = record("bad");
    bad.headers = &headers;
    let Err(ClientError::Record { .. }) = producer.send(&bad).await else {
        panic!("the record was taken");
    };
    producer.send(&record("good")).await.unwrap();
    assert_eq!(producer.close().await.unwrap().acknowledged, 1);
}

#[tokio::test]
async fn keys_choose_the_partition_and_all_partitions_are_read() {
    let fake = Fake::start(4).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::Lz4))
        .await
        .unwrap();
    let values = values(400);
    for (n, value) in values.iter().enumerate() {
        let key = format!("key {}", n % 16);
        let mut record = record(value);
        record.key = Some(key.as_bytes());
        producer.send(&record).await.unwrap();
    }
    producer.close().await.unwrap();

    let options = ConsumerOptions {
        stops_at_end: true,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut by_key = std::collections::HashMap::<_, Vec<_>>::new();
    let mut read = Vec::new();
    while let Some(record) = consumer.next().await.unwrap() {
        assert_eq!(record.append_time, TimestampMs(77));
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        let of_key = by_key.entry((record.partition, record.key.unwrap()));
        of_key.or_default().push(value.clone());
        read.push(value);
    }
    read.sort();
    assert_eq!(read, values);
    assert_eq!(by_key.len(), 16, "a key went to two partitions");
    assert!(by_key.values().all(|values| values.is_sorted()));
}

#[tokio::test]
async fn a_group_goes_on_where_it_committed() {
    let (fake, stored) = produce_through(&[], Codec::None).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        stops_at_end: true,
        prefetch_bytes: 1,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options.clone())
        .await
        .unwrap();
    for _ in 0..123 {
        consumer.next().await.unwrap().unwrap();
    }
    consumer.commit().await.unwrap();
    drop(consumer);
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut rest = Vec::new();
    while let Some(record) = consumer.next().await.unwrap() {
        rest.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    }
    assert_eq!(rest, stored[123..]);
    consumer.commit().await.unwrap();
    assert_eq!(fake.state.lock().committed[0].offset, Offset(500));
}

#[tokio::test]
async fn a_gap_at_the_end_is_passed() {
    let (fake, stored) = produce_through(&[], Codec::None).await;
    // As `repair` leaves it: the offsets are given up, the next append goes behind them.
    fake.state.lock().partitions[0].end += 17;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        stops_at_end: true,
        wait: Duration::from_millis(1),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut read = 0;
    while consumer.next().await.unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, stored.len());
    consumer.commit().await.unwrap();
    assert_eq!(fake.state.lock().committed[0].offset, Offset(517));
}

#[tokio::test]
async fn a_port_of_another_protocol_is_told_by_its_name() {
    for (said, protocol) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP"),
        (&[0x15, 3, 1, 0, 2, 2, 10], "TLS"),
    ] {
        let (stream, mut peer) = tokio::io::duplex(1 << 10);
        tokio::io::AsyncWriteExt::write_all(&mut peer, said)
            .await
            .unwrap();
        let options = ClientOptions::new("a:1");
        let error = super::Connection::over(stream, &options).await.unwrap_err();
        let expected = format!("a:1 speaks {protocol}, not the binary protocol of the broker");
        assert_eq!(error.to_string(), expected);
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn what_is_refused_for_now_is_told_while_it_is() {
    let fake = Fake::start(1).await;
    let refused = Some(Fault::Refuse(ErrorCode::StorageFull));
    fake.fault(&[refused, refused]);
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::None))
        .await
        .unwrap();
    let mut trouble = producer.trouble();
    producer.send(&record("a")).await.unwrap();
    let why = trouble.wait_for(Option::is_some).await.unwrap().clone();
    let code = why.unwrap().refusal().map(|refusal| refusal.code);
    assert_eq!(code, Some(ErrorCode::StorageFull));
    trouble.wait_for(Option::is_none).await.unwrap();
    assert_eq!(producer.close().await.unwrap().acknowledged, 1);
}

#[tokio::test]
async fn a_consumer_at_the_end_waits_for_what_comes() {
    let (fake, _) = produce_through(&[], Codec::None).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let options = ConsumerOptions {
        start: Start::Latest,
        wait: Duration::from_secs(20),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let producer = Producer::open(&client, TOPIC, ProducerOptions::default())
        .await
        .unwrap();
    producer.send(&record("new")).await.unwrap();
    producer.flush().await;
    let record = consumer.next().await.unwrap().unwrap();
    assert_eq!(
        (record.offset, record.value.unwrap()),
        (Offset(500), "new".into())
    );
}

#[tokio::test]
async fn an_offset_out_of_range_is_an_error_with_the_range() {
    let (fake, _) = produce_through(&[], Codec::None).await;
    fake.state.lock().partitions[0].start = 40;
    let client = Client::connect(options(&fake)).await.unwrap();
    for requested in [39, 501] {
        let options = ConsumerOptions {
            start: Start::At(Offset(requested)),
            ..ConsumerOptions::default()
        };
        let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
        let error = consumer.next().await.unwrap_err().to_string();
        assert!(error.contains(&requested.to_string()), "{error}");
        assert!(error.contains("40 to 500"), "{error}");
    }
}

#[tokio::test]
async fn records_for_another_group_are_passed_over() {
    let fake = Fake::start(1).await;
    let mut builder = BatchBuilder::new(Codec::None);
    for group in ["billing", "audit"] {
        let headers = [HeaderRef {
            name: GROUP_HEADER,
            value: Some(group.as_bytes()),
        }];
        let mut record = record(group);
        record.headers = &headers;
        builder.push(&record).unwrap();
    }
    builder.push(&record("everybody")).unwrap();
    let options_of = |group: Option<&str>, all_groups| ConsumerOptions {
        group: group.map(ToOwned::to_owned),
        all_groups,
        stops_at_end: true,
        ..ConsumerOptions::default()
    };
    let broker = BrokerMark::Broker;
    let batch = builder.build(BuildOptions {
        broker,
        ..BuildOptions::default()
    });
    fake.append(0, batch.unwrap());
    let client = Client::connect(options(&fake)).await.unwrap();
    for (group, all_groups, expected) in [
        (Some("billing"), false, vec!["billing", "everybody"]),
        (Some("other"), false, vec!["everybody"]),
        (None, false, vec!["everybody"]),
        (None, true, vec!["billing", "audit", "everybody"]),
    ] {
        let options = options_of(group, all_groups);
        let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
        let mut read = Vec::new();
        while let Some(record) = consumer.next().await.unwrap() {
            read.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
        assert_eq!(read, expected, "{group:?}, {all_groups}");
    }
}

#[tokio::test]
async fn a_wrong_token_and_an_unknown_topic_are_refused_at_once() {
    let fake = Fake::start(1).await;
    let wrong = ClientOptions {
        token: None,
        ..options(&fake)
    };
    let error = Client::connect(wrong).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, ErrorCode::WrongToken);
    let client = Client::connect(options(&fake)).await.unwrap();
    let error = client.topic("none").await.unwrap_err();
    assert!(super::api::is_unknown_topic(&error), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_an_error_with_the_address() {
    let options = ClientOptions {
        retry_for: Duration::ZERO,
        ..ClientOptions::new("127.0.0.1:1")
    };
    let error = Client::connect(options).await.unwrap_err();
    let ClientError::GaveUp {
        attempts: 1,
        source,
    } = error
    else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("127.0.0.1:1"), "{source}");
}

#[tokio::test]
async fn a_silent_broker_ends_the_wait_of_all_who_asked() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let options = ClientOptions {
        connect_wait: Duration::from_millis(5),
        ..ClientOptions::new("duplex")
    };
    let error = super::Connection::over(ours, &options).await.unwrap_err();
    let ClientError::TimedOut {
        doing: "opening a connection",
        ..
    } = error
    else {
        panic!("{error}");
    };
    drop(theirs);
}
