//! The upkeep of pushed partitions: snapshots, carried records, heads, checkpoints, and what is said of damage.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::dead_letter::{Attempt, AttemptResult};
use storage::delivery::{Entry, Envelope, Intent, Outcome, Owes, Verdict};
use storage::disk::sim::{SimDisk, Survival};
use storage::error::LogError;
use storage::log_id::{LogId, LogKind};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{NewMessage, Partition};

use super::Broker;
use super::tests::config_of;
use super::upkeep::{Upkeep, sync_all};
use crate::clock::ManualClock;
use crate::engine::PartitionHandle;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::topic::PUSH_TOPIC;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const DAY: Duration = Duration::from_hours(24);
const MESSAGES: u64 = 20;

fn open(disk: &SimDisk, clock: &Arc<ManualClock>) -> Arc<Broker> {
    let config = config_of(&[("storage.sync_threads", "2"), ("delivery.partitions", "1")]);
    let clock: Arc<ManualClock> = Arc::clone(clock);
    let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
    Broker::open(&config, Arc::new(disk.clone()), clock, metrics, shutdown).unwrap()
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    disk
}

fn pushed(broker: &Broker) -> Arc<PartitionHandle> {
    let topic = broker.topic(PUSH_TOPIC).unwrap();
    topic.partition(0).unwrap()
}

fn message(not_before: Option<TimestampMs>) -> NewMessage {
    NewMessage {
        timestamp: NOW,
        body: Bytes::from_static(b"body"),
        envelope: Envelope {
            url: "http://host/".to_owned(),
            method: "POST".to_owned(),
            not_before,
            ..Envelope::default()
        },
        cause: None,
    }
}

/// Appends to a log of the partition, rolling it where it asks for that, and syncs it.
fn append<T>(
    partition: &PartitionHandle,
    kind: LogKind,
    act: impl Fn(&mut Partition) -> Result<T, LogError>,
) -> T {
    let appended = {
        let mut owner = partition.owner().lock();
        match act(&mut owner) {
            Err(LogError::Rolling { .. }) => {
                owner.log_mut(kind).unwrap().roll().unwrap();
                act(&mut owner).unwrap()
            }
            appended => appended.unwrap(),
        }
    };
    sync_all(partition, kind).unwrap();
    appended
}

fn publish(partition: &PartitionHandle, messages: &[NewMessage], now: TimestampMs) -> Offset {
    let appended = append(partition, LogKind::Main, |owner| {
        owner.append_messages(messages, now)
    });
    appended.base_offset
}

fn deliver(partition: &PartitionHandle, message: Offset, now: TimestampMs) {
    let intent = Entry::Intent(Intent {
        message,
        attempt: 1,
        time: now,
        period: None,
    });
    let outcome = Entry::Outcome(Outcome {
        message,
        verdict: Verdict::Delivered,
        owes: Owes::default(),
        previous: None,
        attempt: Attempt {
            number: 1,
            time: now,
            duration_ms: 1,
            result: AttemptResult::Status(200),
            headers: Vec::new(),
            body: Bytes::new(),
            is_body_cut: false,
            are_headers_cut: false,
        },
    });
    for entry in [intent, outcome] {
        append(partition, LogKind::Delivery, |owner| {
            owner.append_entries(std::slice::from_ref(&entry), now)
        });
    }
}

fn encoded(partition: &PartitionHandle) -> Vec<u8> {
    partition.owner().lock().delivery().unwrap().encode()
}

#[test]
fn old_messages_go_those_that_wait_are_carried_and_all_is_found_again() {
    let disk = new_disk();
    let clock = Arc::new(ManualClock::new(NOW));
    let broker = open(&disk, &clock);
    let partition = pushed(&broker);
    let far = NOW.saturating_add(1_000_000_000_000);
    let mut messages = vec![message(Some(far))];
    messages.resize(usize::try_from(MESSAGES).unwrap(), message(None));
    publish(&partition, &messages, NOW);
    for offset in 1..MESSAGES {
        deliver(&partition, Offset(offset), NOW);
    }
    // The next ones begin segments of their own.
    clock.advance(2 * DAY);
    let now = NOW.saturating_add(2 * 24 * 3_600_000);
    let last = publish(&partition, &[message(None)], now);
    deliver(&partition, last, now);
    clock.advance(2 * DAY);
    let run = broker.run_retention(PUSH_TOPIC).unwrap();
    assert_eq!(
        run.partition_count, 2,
        "the main and the delivery log: {run:?}"
    );
    assert_eq!(partition.reader().log_start(), Offset(MESSAGES));
    let (delivery_start, carried_at) = {
        let owner = partition.owner().lock();
        let log = owner.delivery_log().unwrap().log().unwrap().reader();
        let carried_at = owner.delivery().unwrap().carried_at(Offset(0));
        (log.log_start(), carried_at)
    };
    assert!(delivery_start > Offset::ZERO && carried_at.is_some());
    let text = broker.metrics().encode();
    for line in [
        "redrive_carried_records_total 1",
        "redrive_delivery_snapshots_total 1",
        "redrive_held_segments{partition_number=\"1\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert_eq!(broker.health().problems, Vec::<String>::new());
    let state = encoded(&partition);
    broker.close();
    let stored = LogId::new(partition.number(), LogKind::Delivery);
    assert!(broker.checkpoints.lock().get(stored).is_some());
    drop((broker, partition));
    let broker = open(&disk.reboot(Survival::Nothing), &clock);
    let partition = pushed(&broker);
    assert_eq!(encoded(&partition), state);
    let reader = partition.push_reader();
    let message = reader.message(Offset(0), carried_at).unwrap();
    assert_eq!(message.body, "body");
    assert!(reader.message(Offset(1), None).is_err(), "it has gone");
}

#[test]
fn what_is_old_by_a_clock_that_was_set_goes_when_the_clock_is_confirmed() {
    let clock = Arc::new(ManualClock::new(NOW));
    let broker = open(&new_disk(), &clock);
    let partition = pushed(&broker);
    let departed = |seconds: i64| {
        let line = format!("redrive_clock_departure_seconds {seconds}");
        let text = broker.metrics().encode();
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    };
    publish(&partition, &[message(None)], NOW);
    deliver(&partition, Offset(0), NOW);
    let later = NOW.saturating_add(9 * 24 * 3_600_000);
    clock.jump_to(later);
    // It begins a segment of its own, so that the one before is sealed.
    let last = publish(&partition, &[message(None)], later);
    deliver(&partition, last, later);
    assert_eq!(broker.run_retention(PUSH_TOPIC).unwrap().segment_count, 0);
    departed(9 * 24 * 3600);
    assert_eq!(broker.confirm_clock(), 9 * 24 * 3_600_000);
    departed(0);
    let run = broker.run_retention(PUSH_TOPIC).unwrap();
    assert!(run.segment_count > 0, "{run:?}");
    assert_eq!(partition.reader().log_start(), last);
    assert_eq!(broker.confirm_clock(), 0, "nothing is left to confirm");
}

#[test]
fn a_round_heals_syncs_and_stores_the_delivery_log() {
    let disk = new_disk();
    let clock = Arc::new(ManualClock::new(NOW));
    let broker = open(&disk, &clock);
    let partition = pushed(&broker);
    publish(&partition, &[message(None)], NOW);
    let cancelled = Entry::Cancelled {
        message: Offset(0),
        time: NOW,
    };
    partition
        .owner()
        .lock()
        .append_entries(&[cancelled], NOW)
        .unwrap();
    let mut upkeep = Upkeep::new(Arc::clone(&broker));
    upkeep.round();
    let id = LogId::new(partition.number(), LogKind::Delivery);
    let stored = broker.checkpoints.lock().get(id).cloned().unwrap();
    assert_eq!(stored.durable_end, Offset(1));
    let rebooted = open(&disk.reboot(Survival::Nothing), &clock);
    let counts = pushed(&rebooted)
        .owner()
        .lock()
        .delivery()
        .unwrap()
        .counts();
    assert_eq!((counts.accepted, counts.cancelled), (1, 1));
}

#[test]
fn a_damaged_delivery_log_is_told_and_the_rest_goes_on() {
    let disk = new_disk();
    let clock = Arc::new(ManualClock::new(NOW));
    let broker = open(&disk, &clock);
    let partition = pushed(&broker);
    publish(&partition, &[message(None), message(None)], NOW);
    deliver(&partition, Offset(0), NOW);
    broker.close();
    drop((broker, partition));
    let path = disk
        .paths()
        .into_iter()
        .find(|path| {
            let text = path.to_string_lossy();
            text.contains("/delivery/") && path.extension().is_some_and(|found| found == "log")
        })
        .unwrap();
    disk.flip_bit(&path, 8 * 200).unwrap();
    let broker = open(&disk.restart_process(), &clock);
    let partition = pushed(&broker);
    let problems = broker.health().problems;
    let said = problems
        .iter()
        .any(|line| line.contains("nothing is delivered"));
    assert!(said, "{problems:?}");
    assert!(partition.owner().lock().delivery().is_none());
    assert_eq!(partition.reader().high_watermark(), Offset(2));
    clock.advance(30 * DAY);
    Upkeep::new(Arc::clone(&broker)).round();
    broker.run_retention(PUSH_TOPIC).unwrap();
    assert_eq!(partition.reader().log_start(), Offset::ZERO, "nothing goes");
}
