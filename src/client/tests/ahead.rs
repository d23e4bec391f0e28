//! A consumer that asks for the next batches before it has handed out the last ones.

use super::fake::{Fake, TOPIC};
use super::*;

async fn filled(partition_count: u32) -> (Fake, Client) {
    let fake = Fake::start(partition_count as usize).await;
    let client = Client::connect(options(&fake)).await.unwrap();
    let producer = Producer::open(&client, TOPIC, small_batches(Codec::None))
        .await
        .unwrap();
    for (n, value) in (0..).zip(&values(300)) {
        let partition = n % partition_count;
        producer.send_to(partition, &record(value)).await.unwrap();
    }
    producer.close().await.unwrap();
    (fake, client)
}

/// A batch of each partition at a time.
fn batch_by_batch() -> ConsumerOptions {
    ConsumerOptions {
        stops_at_end: true,
        partition_bytes_max: 1,
        ..ConsumerOptions::default()
    }
}

async fn read_all(mut consumer: Consumer, partition_count: u32) -> Vec<Vec<String>> {
    let mut read = vec![Vec::new(); partition_count as usize];
    while let Some(record) = consumer.next().await.unwrap() {
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        read[record.partition as usize].push(value);
    }
    read
}

#[tokio::test]
async fn what_is_asked_for_ahead_leaves_nothing_out_and_repeats_nothing() {
    let (fake, client) = filled(3).await;
    // With no room for two answers nothing is asked for ahead.
    for prefetch_bytes in [1, 2000, 16 << 20] {
        let options = ConsumerOptions {
            prefetch_bytes,
            ..batch_by_batch()
        };
        let consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
        let expected: Vec<_> = (0..3).map(|partition| fake.values(partition)).collect();
        assert_eq!(read_all(consumer, 3).await, expected, "{prefetch_bytes}");
    }
}

#[tokio::test]
async fn an_answer_that_was_asked_for_ahead_and_never_came_is_asked_for_again() {
    let (fake, client) = filled(2).await;
    let fetch_count = {
        let state = fake.state.lock();
        let counts = state.partitions.iter().map(|log| log.batches.len());
        u32::try_from(counts.max().unwrap()).unwrap()
    };
    for answered in 0..fetch_count {
        let connections = fake.state.lock().connections;
        fake.state.lock().fetches_before_drop = Some(answered);
        let consumer = Consumer::open(&client, TOPIC, batch_by_batch())
            .await
            .unwrap();
        let expected = [fake.values(0), fake.values(1)];
        assert_eq!(read_all(consumer, 2).await, expected, "{answered} answers");
        assert_eq!(fake.state.lock().fetches_before_drop, None);
        let opened = fake.state.lock().connections - connections;
        assert_eq!(opened, 2, "one ended, one came in its place");
    }
}

#[tokio::test]
async fn a_partition_that_refuses_between_loses_nothing_and_repeats_nothing() {
    let (fake, client) = filled(3).await;
    let fetch_count = {
        let state = fake.state.lock();
        let counts = state.partitions.iter().map(|log| log.batches.len());
        u32::try_from(counts.max().unwrap()).unwrap()
    };
    let expected: Vec<_> = (0..3).map(|partition| fake.values(partition)).collect();
    for answered in 0..fetch_count {
        for refusing in 0..3 {
            fake.state.lock().fetches_before_refusal = Some((answered, refusing));
            let consumer = Consumer::open(&client, TOPIC, batch_by_batch())
                .await
                .unwrap();
            let read = read_all(consumer, 3).await;
            assert_eq!(read, expected, "{refusing} refuses behind {answered}");
            assert_eq!(fake.state.lock().fetches_before_refusal, None);
        }
    }
}

#[tokio::test]
async fn a_consumer_that_begins_anywhere_reads_all_from_there_in_order() {
    let (fake, client) = filled(1).await;
    let all = fake.values(0);
    for first in 0..=all.len() {
        let options = ConsumerOptions {
            start: Start::At(Offset(first as u64)),
            ..batch_by_batch()
        };
        let consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
        let read = read_all(consumer, 1).await.remove(0);
        assert_eq!(read, all[first..], "from {first}");
    }
}

#[tokio::test]
async fn a_consumer_that_is_dropped_with_a_fetch_under_way_ends_its_connection() {
    let (fake, client) = filled(1).await;
    let options = ConsumerOptions {
        wait: Duration::from_millis(1),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    consumer.next().await.unwrap().unwrap();
    let closed = fake.closed.notified();
    drop(consumer);
    closed.await;
}

#[tokio::test]
async fn a_partition_that_is_named_twice_is_read_once() {
    let (fake, client) = filled(2).await;
    let options = ConsumerOptions {
        partitions: Some(vec![1, 0, 1, 1]),
        ..batch_by_batch()
    };
    let mut consumer = Consumer::open(&client, TOPIC, options).await.unwrap();
    let mut read = Vec::new();
    let mut before = consumer.positions().clone();
    while let Some(record) = consumer.next().await.unwrap() {
        let after = consumer.positions().clone();
        assert!(
            before
                .iter()
                .all(|(partition, next)| after[partition] >= *next)
        );
        before = after;
        read.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    }
    let mut stored = [fake.values(0), fake.values(1)].concat();
    stored.sort();
    read.sort();
    assert_eq!(read, stored);
}
