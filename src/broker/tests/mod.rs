//! Failures of the disk as callers, waiting producers and operators see them, and who waits for whom.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

mod control;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use storage::batch::{
    BatchBuilder, BatchLimits, BrokerMark, BuildOptions, Codec, NewRecord, check_produced,
};
use storage::disk::Site;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::SimDisk;
use storage::error::PoisonCause;
use storage::log_id::{LogId, LogKind};
use storage::offset::{Offset, TimestampMs};
use storage::partition::AppendOutcome;

use super::upkeep::sync_all;
use super::{Broker, RESOLVING_MAX, ReadAhead};
use crate::clock::ManualClock;
use crate::config::{FlagValue, ServeConfig, Settings};
use crate::engine::PartitionHandle;
use crate::metrics::Metrics;
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::cursor::Text;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::fetch::{FetchPartition, FetchRequest};
use crate::protocol::group_offsets::{CommitOffsetsRequest, CommittedOffset};
use crate::protocol::reject::RejectRequest;
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{Order, Page, Selection};
use crate::protocol::settings::{Durability, SettingsChange};
use crate::shutdown::Shutdown;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// No test waits longer: it is what makes a hang a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn open() -> (Arc<Broker>, FaultDisk) {
    open_at(Arc::new(ManualClock::new(NOW)))
}

/// The configuration of a broker at `/data` on a simulated disk, with more settings.
pub(super) fn config_of(more: &[(&str, &str)]) -> ServeConfig {
    let small = [("data_dir", "/data"), ("storage.min_free_bytes", "0")];
    let flags: Vec<_> = small
        .iter()
        .chain(more)
        .map(|(key, value)| FlagValue {
            flag: format!("--{key}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    let settings = Settings::resolve(None, [], &flags).unwrap();
    ServeConfig::from_settings(&settings).unwrap()
}

fn open_at(clock: Arc<ManualClock>) -> (Arc<Broker>, FaultDisk) {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/made"), b"").unwrap();
    let disk = FaultDisk::new(Arc::new(disk));
    let config = config_of(&[("storage.sync_threads", "2")]);
    let broker = Broker::open(
        &config,
        Arc::new(disk.clone()),
        clock,
        Arc::new(Metrics::new()),
        Shutdown::new(),
    )
    .unwrap();
    (broker, disk)
}

pub(super) fn create(broker: &Broker, name: &str) -> Result<(), Refusal> {
    let request = CreateTopicRequest {
        name: name.to_owned(),
        partition_count: 1,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    broker.create_topic(&request).map(drop)
}

pub(super) fn partition(broker: &Broker) -> Arc<PartitionHandle> {
    create(broker, "t").unwrap();
    broker.topic("t").unwrap().partition(0).unwrap()
}

pub(super) fn append(partition: &PartitionHandle) -> Option<Offset> {
    append_value(partition, &[7; 200])
}

pub(super) fn append_value(partition: &PartitionHandle, value: &[u8]) -> Option<Offset> {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = NewRecord {
        timestamp: NOW,
        key: None,
        value: Some(value),
        headers: &[],
    };
    builder.push(&record).unwrap();
    let options = BuildOptions {
        producer: None,
        broker: BrokerMark::Client,
    };
    let mut batch = builder.build(options).unwrap();
    let header = check_produced(&batch, &BatchLimits::default()).unwrap();
    match partition.append(&header, &mut batch, NOW) {
        Ok(AppendOutcome::Appended(appended)) => Some(appended.next_offset),
        _ => None,
    }
}

/// A record of the partition is given up.
pub(super) fn rejection(offset: u64) -> RejectRequest {
    RejectRequest {
        topic: "t".to_owned(),
        partition: 0,
        offset: Offset(offset),
        group: "g".to_owned(),
        reason: Text::from("r".to_owned()),
        details: None,
    }
}

pub(super) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened")
}

/// Polls a future once and expects that it waits.
pub(super) async fn waits<F: Future + Unpin>(future: &mut F)
where
    F::Output: std::fmt::Debug,
{
    tokio::select! {
        biased;
        output = future => panic!("it did not wait: {output:?}"),
        () = tokio::task::yield_now() => {}
    }
}

pub(super) const FAIL: Effect = Effect::Fail(ErrorKind::Other);

#[test]
fn a_failed_sync_of_any_log_is_told_and_counted() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    assert!(broker.health().problems.is_empty());
    append(&partition).unwrap();
    let fail = || disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    fail();
    sync_all(&partition, LogKind::Main).unwrap_err();
    fail();
    create(&broker, "u").unwrap_err();
    broker.measure();
    let text = broker.metrics.encode();
    for line in ["redrive_sync_failures_total 2", "redrive_poisoned_logs 2"] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("redrive_write_seconds_count 0"), "{text}");
    let problems = broker.health().problems;
    let cause = PoisonCause::SyncFailed;
    let expected = [
        format!("partition 0 of topic t takes no appends: {cause} (cannot sync /"),
        format!("the control log takes no changes: {cause} (cannot sync /"),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (said, expected) in problems.iter().zip(&expected) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_dead_letter_log_whose_sync_failed_is_told_and_counted() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    append(&partition).unwrap();
    sync_all(&partition, LogKind::Main).unwrap();
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    bounded(broker.reject(rejection(0))).await.unwrap_err();
    broker.measure();
    assert!(broker.metrics.encode().contains("redrive_poisoned_logs 1"));
    let problems = broker.health().problems;
    let cause = PoisonCause::SyncFailed;
    let expected = format!("partition 0 of topic t takes no dead letters: {cause} (cannot sync /");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with(&expected), "{problems:?}");
}

#[test]
fn the_brokers_own_topic_is_not_altered_by_others() {
    let (broker, _disk) = open();
    let before = broker.topic("_push").unwrap().partitions().len();
    let request = AlterTopicRequest {
        name: "_push".to_owned(),
        partition_count: Some(20),
        change: SettingsChange::default(),
    };
    let refused = broker.alter_topic(&request).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReservedTopic);
    assert_eq!(broker.topic("_push").unwrap().partitions().len(), before);
}

#[tokio::test]
async fn a_sync_that_fails_in_upkeep_is_told_to_waiting_producers() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    let end = append(&partition).unwrap();
    let mut waiting = Box::pin(partition.wait_durable(end));
    waits(&mut waiting).await;
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    sync_all(&partition, LogKind::Main).unwrap_err();
    bounded(waiting).await.unwrap_err();
}

#[tokio::test]
async fn a_failed_write_does_not_disown_the_batch_before_it() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    let end = append(&partition).unwrap();
    disk.add(Rule::new(OpClass::Write, FAIL));
    assert_eq!(append(&partition), None);
    let mut waiting = Box::pin(partition.wait_durable(end));
    waits(&mut waiting).await;
    partition.schedule_sync(LogKind::Main);
    bounded(waiting).await.unwrap();
}

#[tokio::test]
async fn a_roll_that_somebody_else_has_done_is_not_done_again() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    append(&partition).unwrap();
    partition.roll(200, NOW).await.unwrap();
    assert_eq!(partition.reader().segments().len(), 1);
}

#[test]
fn a_control_log_whose_sync_failed_gets_no_checkpoint_of_what_is_not_durable() {
    let (broker, disk) = open();
    disk.add(Rule::new(OpClass::Sync, FAIL).at(Site::Append));
    assert_eq!(
        create(&broker, "t").unwrap_err().code,
        ErrorCode::OutcomeUnknown
    );
    broker.store_checkpoints().unwrap();
    let durable = broker.control.with(|log| log.reader().durable_end());
    let checkpoints = broker.checkpoints.lock();
    let stored = checkpoints.get(LogId::CONTROL);
    assert!(
        stored.is_none_or(|entry| entry.durable_end <= durable),
        "{stored:?} claims more than {durable:?}"
    );
}

#[test]
fn a_topic_whose_partitions_could_not_be_opened_can_be_created_again() {
    let (broker, disk) = open();
    disk.add(Rule::new(OpClass::CreateDir, FAIL));
    create(&broker, "t").unwrap_err();
    create(&broker, "t").unwrap();
    broker.topic("t").unwrap();
}

#[test]
fn partitions_that_could_not_be_opened_keep_their_index() {
    let (broker, disk) = open();
    create(&broker, "t").unwrap();
    let alter = |count| {
        broker.alter_topic(&AlterTopicRequest {
            name: "t".to_owned(),
            partition_count: Some(count),
            change: SettingsChange::default(),
        })
    };
    disk.add(Rule::new(OpClass::CreateDir, FAIL));
    alter(2).unwrap_err();
    alter(3).unwrap();
    let topic = broker.topic("t").unwrap();
    let served: Vec<_> = topic.partitions().iter().map(|one| one.number()).collect();
    let stored = broker
        .control
        .look(|state| state.topic("t").unwrap().partitions.clone());
    assert_eq!(served, stored);
}

#[test]
fn a_caller_who_goes_away_takes_no_permit_back_from_the_work() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (broker, _disk) = open();
    partition(&broker);
    // The work stops here until the test lets go.
    let blocked = broker.topics.write();
    let request = RetryLettersRequest {
        topic: "t".to_owned(),
        selection: Selection::All,
        page: Page::first(Order::OldestFirst, 1),
        request_id: None,
    };
    let mut call = Box::pin(broker.retry_letters(request, "tester".to_owned()));
    runtime.block_on(waits(&mut call));
    drop(call);
    assert_eq!(broker.resolving.available_permits(), RESOLVING_MAX - 1);
    drop(blocked);
}

fn written_partition(broker: &Broker) -> Arc<PartitionHandle> {
    let request = CreateTopicRequest {
        name: "t".to_owned(),
        partition_count: 1,
        durability: Durability::Written,
        change: SettingsChange::default(),
    };
    broker.create_topic(&request).unwrap();
    broker.topic("t").unwrap().partition(0).unwrap()
}

fn commit(group: &str, offset: u64) -> CommitOffsetsRequest {
    CommitOffsetsRequest {
        group: group.to_owned(),
        offsets: vec![CommittedOffset {
            topic: "t".to_owned(),
            partition: 0,
            offset: Offset(offset),
            metadata: String::new(),
        }],
    }
}

/// A power cut must not take what lies below a committed offset: its offsets would be given to records that the group passes over.
#[tokio::test]
async fn a_commit_on_a_written_topic_waits_for_what_lies_below_it() {
    let (broker, disk) = open();
    let partition = written_partition(&broker);
    append(&partition).unwrap();
    append(&partition).unwrap();
    assert_eq!(partition.reader().durable_end(), Offset(0));
    bounded(broker.commit_offsets(&commit("g", 1)))
        .await
        .unwrap();
    assert!(partition.reader().durable_end() >= Offset(1));
    append(&partition).unwrap();
    let fail = Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other));
    disk.add(fail.on(".log"));
    let refused = bounded(broker.commit_offsets(&commit("g", 3))).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::OutcomeUnknown);
    assert_eq!(
        partition.reader().poison(),
        Some(PoisonCause::SyncFailed),
        "it was the main log's sync"
    );
    let stored = broker.control.look(|state| {
        let group = state.group("g").unwrap();
        group.get(&partition.number()).unwrap().offset
    });
    assert_eq!(stored, Offset(1));
}

#[test]
fn a_commit_is_refused_when_its_topic_goes_while_it_waits() {
    refused_when_the_topic_goes(&|broker| drop(broker.topics.write().remove("t")));
}

#[test]
fn a_commit_is_refused_when_another_topic_gets_the_name_while_it_waits() {
    refused_when_the_topic_goes(&|broker| {
        create(broker, "u").unwrap();
        let other = broker.topic("u").unwrap();
        *broker.topics.write().get_mut("t").unwrap() = other;
    });
}

fn refused_when_the_topic_goes(go: &dyn Fn(&Broker)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (broker, _disk) = open();
    let partition = written_partition(&broker);
    append(&partition).unwrap();
    // The sync stops here until the test lets go.
    let owner = partition.owner().lock();
    let request = commit("g", 1);
    let mut call = Box::pin(broker.commit_offsets(&request));
    runtime.block_on(waits(&mut call));
    go(&broker);
    drop(owner);
    let refused = runtime.block_on(bounded(call));
    assert_eq!(refused.unwrap_err().code, ErrorCode::UnknownTopic);
    assert!(broker.control.look(|state| state.group("g").is_none()));
}

#[tokio::test]
async fn commits_hold_one_thread_of_the_pool_however_many_there_are() {
    let (broker, _disk) = open();
    partition(&broker);
    let mut calls: Vec<_> = (0..8)
        .map(|at| {
            let request = commit(&format!("g{at}"), 0);
            let broker = Arc::clone(&broker);
            Box::pin(async move { broker.commit_offsets(&request).await })
        })
        .collect();
    let (sender, done) = mpsc::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let (is_held, locked) = mpsc::channel();
    let holder = {
        let broker = Arc::clone(&broker);
        std::thread::spawn(move || {
            broker.control.with(|_| {
                is_held.send(()).unwrap();
                held.recv().unwrap();
            });
        })
    };
    locked.recv().unwrap();
    for call in &mut calls {
        waits(call).await;
    }
    broker.pool.submit(move || sender.send(()).unwrap());
    let ran = done.recv_timeout(PATIENCE);
    let_go.send(()).unwrap();
    holder.join().unwrap();
    assert_eq!(ran, Ok(()), "a sync waits behind the commits");
    for call in calls {
        bounded(call).await.unwrap();
    }
}

#[tokio::test]
async fn a_fetch_that_its_limits_cut_short_does_not_wait_for_more() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    for _ in 0..10 {
        append(&partition).unwrap();
    }
    sync_all(&partition, LogKind::Main).unwrap();
    let request = FetchRequest {
        partitions: vec![FetchPartition {
            topic: "t".to_owned(),
            partition: 0,
            offset: Offset(0),
            bytes_max: 1000,
        }],
        bytes_min: 1000,
        bytes_max: 1000,
        wait_ms_max: 30_000,
    };
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let answer = broker.fetch(&request, &ReadAhead::default()).await.unwrap();
    assert!(!answer.partitions[0].batches.is_empty());
    assert_eq!(started.elapsed(), Duration::ZERO);
    let room = broker.fetch_room.free_kib();
    drop(answer);
    assert_eq!(broker.fetch_room.free_kib(), room + 1);
}

#[test]
fn metrics_warn_before_retention_takes_a_dead_letter() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let (broker, _) = open_at(clock.clone());
    let partition = partition(&broker);
    let end = append(&partition).unwrap();
    sync_all(&partition, LogKind::Main).unwrap();
    assert_eq!(partition.reader().high_watermark(), end);
    broker.measure();
    let letters = &broker.metrics().dead_letters;
    let told = || {
        (
            letters.oldest_age_seconds.get(),
            letters.first_expiry_seconds.get(),
        )
    };
    assert_eq!(told(), (0, -1));
    runtime
        .block_on(bounded(broker.reject(rejection(0))))
        .unwrap();
    clock.advance(Duration::from_hours(29 * 24));
    broker.measure();
    let day = 24 * 3600;
    assert_eq!(told(), (29 * day, day), "30 days are the default");
}
