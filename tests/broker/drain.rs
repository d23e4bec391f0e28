//! The end in good order: what was accepted is answered and durable, and nobody holds the broker up.

use std::time::Duration;

use redrive::protocol::produce::ProduceRequest;
use redrive::protocol::settings::Durability;

use crate::harness::{Running, batch, bounded, counted, create, read_all, topic_request};
use crate::produce::{fetch_request, produce_request};
use crate::wire::{Raw, frame};

/// What whoever stops a broker waits for.
const DRAIN_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_the_end_is_there_after_it() {
    for durability in [Durability::Synced, Durability::Written] {
        let broker = Running::start().await;
        let client = broker.client().await;
        let mut request = topic_request("t", 1);
        request.durability = durability;
        client.create_topic(&request).await.unwrap();
        let connection = client.connection().await.unwrap();
        let mut pending = Vec::new();
        for index in 0..200_u32 {
            let value = index.to_be_bytes();
            let request = produce_request("t", 0, batch(&[&value]));
            // The connection may have ended by now: what was not taken is not answered.
            let Ok(answer) = connection.submit(&request, Duration::ZERO).await else {
                break;
            };
            pending.push((value, answer));
            if index == 100 {
                broker.shutdown.trigger();
            }
        }
        let mut stored = Vec::new();
        let mut is_over = false;
        for (value, answer) in pending {
            match bounded(answer.answer()).await {
                Ok(answer) => {
                    assert!(!is_over, "an answer behind one that did not come");
                    answer.batches[0].as_ref().unwrap();
                    stored.push(value.to_vec());
                }
                Err(_) => is_over = true,
            }
        }
        let dir = tokio::time::timeout(DRAIN_MAX, broker.stop())
            .await
            .unwrap();
        let broker = Running::within(dir, &[]).await;
        let records = read_all(&broker.client().await, "t").await;
        let counts = counted(&records);
        for value in &stored {
            assert_eq!(counts.get(value), Some(&1));
        }
        // Nothing was taken without an answer: the connection ended behind the last one.
        assert_eq!(records.len(), stored.len());
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_with_what_is_there() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let mut raw = Raw::shaken(broker.addresses.protocol).await;
    let mut request = fetch_request("t", 0, 30_000);
    request.bytes_min = 1 << 20;
    raw.send(&frame(9, &request)).await;
    // A request that has not arrived at the end is not taken: when what was sent behind it is there, it has.
    let produced = produce_request("t", 0, batch(&[b"a"]));
    raw.send(&frame(10, &produced)).await;
    let connection = client.connection().await.unwrap();
    let seen = connection
        .call(&fetch_request("t", 0, 10_000))
        .await
        .unwrap();
    assert!(!seen.partitions[0].batches.is_empty());
    let stopped = tokio::spawn(broker.stop());
    let answer = raw.answer::<redrive::protocol::fetch::FetchRequest>().await;
    let (id, answer) = answer.expect("the poll is answered");
    assert_eq!(id, 9);
    assert!(!answer.unwrap().partitions[0].batches.is_empty());
    let (id, _) = raw.answer::<ProduceRequest>().await.unwrap();
    assert_eq!(id, 10);
    assert_eq!(raw.body().await, None);
    tokio::time::timeout(DRAIN_MAX, stopped)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_the_end_up() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let value = vec![1; 1 << 19];
    for _ in 0..4 {
        let request = produce_request("t", 0, batch(&[&value]));
        client.produce(&request).await.unwrap();
    }
    let address = broker.addresses.protocol;
    let silent = Raw::connect(address).await;
    let mut half_shaken = Raw::connect(address).await;
    half_shaken.send(&[0, 0, 0]).await;
    let mut half_length = Raw::shaken(address).await;
    half_length.send(&[0, 0]).await;
    let mut half_frame = Raw::shaken(address).await;
    half_frame.send(&[0, 0, 4, 0, 0, 7]).await;
    let mut never_reads = Raw::shaken(address).await;
    let fetch = frame(1, &fetch_request("t", 0, 0));
    never_reads.send(&fetch.repeat(100)).await;
    // A request behind all of these has been answered: they have been seen.
    client.metadata(None).await.unwrap();
    tokio::time::timeout(DRAIN_MAX, broker.stop())
        .await
        .expect("the end takes less than ten seconds");
    drop((silent, half_shaken, half_length, half_frame, never_reads));
}
