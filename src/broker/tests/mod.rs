//! Failures of the disk as callers, waiting producers and operators see them, and who waits for whom.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

mod commits;
mod control;
mod faults;
mod topics;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use storage::batch::{
    BatchBuilder, BatchLimits, BrokerMark, BuildOptions, Codec, NewRecord, check_produced,
};
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::SimDisk;
use storage::disk::{Disk, Site};
use storage::error::PoisonCause;
use storage::log_id::{LogId, LogKind};
use storage::offset::{Offset, TimestampMs};
use storage::partition::AppendOutcome;

use super::resolve::RESOLVING_MAX;
use super::upkeep::{Upkeep, sync_all};
use super::{Broker, ReadAhead};
use crate::clock::ManualClock;
use crate::config::{FlagValue, ServeConfig, Settings};
use crate::engine::PartitionHandle;
use crate::metrics::Metrics;
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::cursor::Text;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::fetch::{FetchPartition, FetchRequest};
use crate::protocol::group_offsets::{CommitOffsetsRequest, CommittedOffset, FetchOffsetsRequest};
use crate::protocol::reject::RejectRequest;
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{Order, Page, Selection};
use crate::protocol::settings::{Durability, SettingsChange};
use crate::shutdown::Shutdown;

pub(super) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
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
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
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
    let mut batch = batch_of(value);
    let header = check_produced(&batch, &BatchLimits::default()).unwrap();
    match partition.append(&header, &mut batch, NOW) {
        Ok(AppendOutcome::Appended(appended)) => Some(appended.next_offset),
        _ => None,
    }
}

/// A batch of one record, as a producer sends it.
fn batch_of(value: &[u8]) -> Vec<u8> {
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
    builder.build(options).unwrap()
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

#[tokio::test]
async fn a_roll_that_somebody_else_has_done_is_not_done_again() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    append(&partition).unwrap();
    partition.roll(200, NOW).await.unwrap();
    assert_eq!(partition.reader().segments().len(), 1);
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
    assert_eq!(
        broker.resolving.permits.available_permits(),
        RESOLVING_MAX - 1
    );
    drop(blocked);
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
