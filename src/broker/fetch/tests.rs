//! What is read ahead is what a read would give.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::log_id::LogKind;
use storage::offset::Offset;

use super::ReadAhead;
use crate::broker::Broker;
use crate::broker::tests::{append_value, create, open, partition};
use crate::broker::upkeep::sync_all;
use crate::limits::FETCH_ROOM_WAIT_MAX;
use crate::protocol::delete_topic::DeleteTopicRequest;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::fetch::{FetchPartition, FetchRequest, FetchedPartition};

const RECORD_BYTES: usize = 400 << 10;

fn fill(broker: &Broker, count: u8) {
    let partition = broker.topic("t").unwrap().partition(0).unwrap();
    for value in 0..count {
        append_value(&partition, &vec![value; RECORD_BYTES]).unwrap();
    }
    sync_all(&partition, LogKind::Main).unwrap();
}

fn filled() -> (Arc<Broker>, FaultDisk) {
    let (broker, disk) = open();
    partition(&broker);
    fill(&broker, 4);
    (broker, disk)
}

fn request(offset: u64, (partition_bytes_max, bytes_max): (u32, u32)) -> FetchRequest {
    FetchRequest {
        partitions: vec![FetchPartition {
            topic: "t".to_owned(),
            partition: 0,
            offset: Offset(offset),
            bytes_max: partition_bytes_max,
        }],
        bytes_min: 1,
        bytes_max,
        wait_ms_max: 0,
    }
}

/// Fetches one record.
async fn fetch(broker: &Broker, offset: u64, ahead: &ReadAhead) -> FetchedPartition {
    let request = request(offset, (1000, 1 << 20));
    let mut answer = broker.fetch(&request, ahead).await.unwrap();
    answer.partitions.remove(0)
}

/// Fetches all that is there.
async fn fetch_all(broker: &Broker, offset: u64, ahead: &ReadAhead) -> Bytes {
    let request = request(offset, (8 << 20, 8 << 20));
    let mut answer = broker.fetch(&request, ahead).await.unwrap();
    answer.partitions.remove(0).batches
}

/// Lets what was begun come to its end.
async fn rest() {
    tokio::task::yield_now().await;
}

/// Four records, of which the first one was fetched and the second one read ahead.
async fn read_ahead() -> (Arc<Broker>, FaultDisk, ReadAhead) {
    let (broker, disk) = filled();
    let ahead = ReadAhead::default();
    fetch(&broker, 0, &ahead).await;
    rest().await;
    (broker, disk, ahead)
}

#[tokio::test]
async fn what_follows_an_answer_is_read_before_it_is_asked_for() {
    let (broker, disk) = filled();
    let ahead = ReadAhead::default();
    let mut given: Vec<Bytes> = Vec::new();
    given.push(fetch(&broker, 0, &ahead).await.batches);
    for offset in 1..4 {
        rest().await;
        let reads = disk.count(OpClass::Read);
        given.push(fetch(&broker, offset, &ahead).await.batches);
        assert_eq!(disk.count(OpClass::Read), reads, "at {offset}");
    }
    for (offset, given) in (0..4).zip(&given) {
        let read = fetch(&broker, offset, &ReadAhead::default()).await;
        assert_eq!(&read.batches, given, "at {offset}");
    }
}

#[tokio::test]
async fn who_asks_for_something_else_gets_that() {
    let (broker, _disk, ahead) = read_ahead().await;
    let other = fetch(&broker, 2, &ahead).await;
    let read = fetch(&broker, 2, &ReadAhead::default()).await;
    assert_eq!(other.batches, read.batches);
}

#[tokio::test]
async fn a_topic_of_the_same_name_is_another_one() {
    let (broker, _disk, ahead) = read_ahead().await;
    let request = DeleteTopicRequest {
        name: "t".to_owned(),
        force: false,
    };
    broker.delete_topic(&request).unwrap();
    create(&broker, "t").unwrap();
    let refused = fetch(&broker, 1, &ahead).await;
    assert_eq!(refused.refusal.unwrap().code, ErrorCode::OffsetOutOfRange);
}

#[tokio::test]
async fn what_retention_has_taken_is_not_served() {
    let (broker, _disk, ahead) = read_ahead().await;
    let partition = broker.topic("t").unwrap().partition(0).unwrap();
    let taken = partition
        .owner()
        .lock()
        .log_mut(LogKind::Main)
        .unwrap()
        .apply_log_start(Offset(2));
    taken.run().unwrap();
    let refused = fetch(&broker, 1, &ahead).await;
    assert_eq!(refused.refusal.unwrap().code, ErrorCode::OffsetOutOfRange);
}

/// What a failed sync has left of the file is for the file to say.
#[tokio::test]
async fn a_log_that_stopped_is_read_again() {
    let (broker, disk, ahead) = read_ahead().await;
    let fail = Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other));
    disk.add(fail.on(".log"));
    let partition = broker.topic("t").unwrap().partition(0).unwrap();
    append_value(&partition, b"lost").unwrap();
    sync_all(&partition, LogKind::Main).unwrap_err();
    let reads = disk.count(OpClass::Read);
    fetch(&broker, 1, &ahead).await;
    assert!(disk.count(OpClass::Read) > reads);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_gives_its_room_back() {
    let (broker, _disk) = filled();
    let all = broker.fetch_room.free_kib();
    let ahead = ReadAhead::default();
    drop(fetch(&broker, 0, &ahead).await);
    rest().await;
    assert!(broker.fetch_room.free_kib() < all);
    tokio::time::sleep(super::ahead::KEPT_MAX).await;
    rest().await;
    assert_eq!(broker.fetch_room.free_kib(), all);
}

/// A batch is more than this asks for, and comes all the same.
#[tokio::test(start_paused = true)]
async fn what_is_more_than_was_asked_for_has_room_or_does_not_come() {
    let (broker, _disk) = filled();
    let all = broker.fetch_room.free_kib();
    let request = request(0, (1, 1));
    let ahead = ReadAhead::default();
    let answer = broker.fetch(&request, &ahead).await.unwrap();
    let kib = answer.partitions[0].batches.len().div_ceil(1024);
    assert!(kib > 400);
    // What follows was to be read ahead, and does not fit either.
    rest().await;
    assert_eq!(broker.fetch_room.free_kib(), all - kib);
    drop(answer);
    // One at a time goes beyond the room, so that a batch which is larger than all of it comes as well.
    let others = broker.fetch_room.wait((all - kib + 1) * 1024).await;
    let beyond = broker.fetch(&request, &ahead).await.unwrap();
    assert_eq!(beyond.partitions[0].batches.len().div_ceil(1024), kib);
    rest().await;
    for others in [None, Some(broker.fetch_room.take(u32::MAX))] {
        let begun = tokio::time::Instant::now();
        let refused = broker.fetch(&request, &ahead).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Overloaded);
        assert_eq!(begun.elapsed(), FETCH_ROOM_WAIT_MAX);
        drop(others);
    }
    let waiting = broker.fetch(&request, &ahead);
    let given_back = async {
        rest().await;
        drop(others);
    };
    let (answer, ()) = tokio::join!(waiting, given_back);
    assert_eq!(
        answer.unwrap().partitions[0].batches.len().div_ceil(1024),
        kib
    );
    let held = broker.fetch_room.take(u32::MAX);
    let waiting = broker.fetch(&request, &ahead);
    let given_back = async {
        rest().await;
        drop(beyond);
    };
    let (answer, ()) = tokio::join!(waiting, given_back);
    assert!(!answer.unwrap().partitions[0].batches.is_empty());
    drop(held);
}

#[tokio::test]
async fn half_of_the_room_stays_for_those_who_ask() {
    let (broker, _disk) = filled();
    let all = broker.fetch_room.free_kib();
    let count = all / 1024 + 1;
    let connections: Vec<_> = (0..count).map(|_| ReadAhead::default()).collect();
    for ahead in &connections {
        drop(fetch(&broker, 0, ahead).await);
    }
    assert!(broker.fetch_room.free_kib() < all);
    assert!(broker.fetch_room.free_kib() >= all / 2);
}

/// What was read for a small fetch has room for a small fetch.
#[tokio::test]
async fn a_larger_fetch_has_room_of_its_own() {
    let (broker, _disk) = filled();
    let all = broker.fetch_room.free_kib();
    let ahead = ReadAhead::default();
    drop(fetch(&broker, 0, &ahead).await);
    rest().await;
    let batches = fetch_all(&broker, 0, &ahead).await;
    assert!(batches.len() > 1 << 20);
    drop(ahead);
    rest().await;
    assert_eq!(
        broker.fetch_room.free_kib(),
        all - batches.len().div_ceil(1024)
    );
}

#[tokio::test]
async fn what_came_since_is_not_kept_from_who_asks() {
    let (broker, _disk) = open();
    partition(&broker);
    fill(&broker, 2);
    let ahead = ReadAhead::default();
    // One record is answered, and the other one read ahead.
    fetch(&broker, 0, &ahead).await;
    rest().await;
    fill(&broker, 2);
    let batches = fetch_all(&broker, 1, &ahead).await;
    assert!(batches.len() > 3 * RECORD_BYTES);
}

/// Bytes that a batch of [`fill`] takes in the log.
async fn batch_bytes(broker: &Broker) -> usize {
    fetch(broker, 0, &ReadAhead::default()).await.batches.len()
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_for_much_reads_when_it_is_there() {
    let (broker, disk) = filled();
    let bytes = batch_bytes(&broker).await;
    let mut wanted = request(0, (8 << 20, 8 << 20));
    wanted.bytes_min = u32::try_from(7 * bytes).unwrap();
    wanted.wait_ms_max = 30_000;
    let (reading, request) = (Arc::clone(&broker), wanted.clone());
    let waiting = tokio::spawn(async move { reading.fetch(&request, &ReadAhead::default()).await });
    rest().await;
    let reads = disk.count(OpClass::Read);
    for _ in 4..6 {
        fill(&broker, 1);
        rest().await;
        assert!(!waiting.is_finished());
        assert_eq!(disk.count(OpClass::Read), reads);
    }
    fill(&broker, 1);
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.partitions[0].batches.len(), 7 * bytes);
    // When the wait is over, what there is is enough.
    wanted.bytes_min = u32::MAX;
    let answer = broker.fetch(&wanted, &ReadAhead::default()).await.unwrap();
    assert_eq!(answer.partitions[0].batches.len(), 7 * bytes);
}

#[tokio::test]
async fn a_fetch_that_waits_ends_when_its_limits_are_reached() {
    let (broker, _disk) = filled();
    let bytes = u32::try_from(batch_bytes(&broker).await).unwrap();
    for limits in [(5 * bytes, u32::MAX), (u32::MAX, 5 * bytes)] {
        let (broker, _disk) = filled();
        let mut wanted = request(0, limits);
        wanted.bytes_min = u32::MAX;
        wanted.wait_ms_max = 30_000;
        let reading = Arc::clone(&broker);
        let waiting =
            tokio::spawn(async move { reading.fetch(&wanted, &ReadAhead::default()).await });
        rest().await;
        fill(&broker, 1);
        rest().await;
        assert!(!waiting.is_finished());
        fill(&broker, 1);
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!(answer.partitions[0].batches.len(), 5 * bytes as usize);
    }
}

/// Whoever waits learns at once that there is nothing to wait for.
#[tokio::test]
async fn a_fetch_that_waits_for_much_is_refused_when_its_topic_goes() {
    let (broker, _disk) = filled();
    let mut wanted = request(0, (8 << 20, 8 << 20));
    wanted.bytes_min = u32::MAX;
    wanted.wait_ms_max = 30_000;
    let reading = Arc::clone(&broker);
    let waiting = tokio::spawn(async move { reading.fetch(&wanted, &ReadAhead::default()).await });
    rest().await;
    let partition = broker.topic("t").unwrap().partition(0).unwrap();
    let request = DeleteTopicRequest {
        name: "t".to_owned(),
        force: true,
    };
    broker.delete_topic(&request).unwrap();
    partition.notify(LogKind::Main);
    let answer = waiting.await.unwrap().unwrap();
    let refusal = answer.partitions[0].refusal.as_ref().unwrap();
    assert_eq!(refusal.code, ErrorCode::UnknownTopic);
}
