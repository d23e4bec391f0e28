//! Tests of a partition: what it takes, how its records die, and how their letters come back, also over failures.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod deaths;
mod failures;
mod producers;
mod republish;
mod reserve;
mod retention;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::batch::{
    BatchBuilder, BrokerMark, BuildOptions, Codec, Producer, Record, check_produced,
};
use crate::cause::{CAUSE_HEADER, Cause, CauseKind};
use crate::dead_letter::{DeadLetter, Lineage, PlacedLetter};
use crate::disk::Disk;
use crate::disk::sim::{SimDisk, Survival};
use crate::log::{LogConfig, ReadBound};
use crate::log_id::{LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_000_000);
const NUMBER: PartitionNumber = PartitionNumber(3);
const WHO: Who<'static> = Who {
    name: "tester",
    request_id: Some("r1"),
};

const HOOKS: Hooks<'static> = Hooks {
    now: &|| NOW,
    after: &|_| {},
    wait: &std::thread::yield_now,
};

fn config() -> PartitionConfig {
    let log = LogConfig {
        segment_bytes: 4096,
        ..LogConfig::default()
    };
    PartitionConfig {
        main: log.clone(),
        dead_letters: log,
        ..PartitionConfig::default()
    }
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    disk
}

fn open_on(disk: Arc<dyn Disk>) -> (Mutex<Partition>, PartitionReport) {
    open_with(disk, config())
}

fn open_with(disk: Arc<dyn Disk>, config: PartitionConfig) -> (Mutex<Partition>, PartitionReport) {
    let place = PartitionPlace {
        disk,
        root: PathBuf::from("/data"),
        number: NUMBER,
    };
    let (partition, report) =
        Partition::open(&place, config, &PartitionHints::default(), NOW).unwrap();
    (Mutex::new(partition), report)
}

fn open(disk: &SimDisk) -> Mutex<Partition> {
    open_on(Arc::new(disk.clone())).0
}

fn resolver(owner: &Mutex<Partition>) -> Resolver<'_> {
    Resolver {
        owner,
        who: WHO,
        hooks: HOOKS,
    }
}

fn build(values: &[&str], producer: Option<Producer>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        let record = Record {
            timestamp: NOW,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: vec![("user".to_owned(), Some(Bytes::from_static(b"h")))],
        };
        builder.push(&record.as_new(&record.header_refs())).unwrap();
    }
    let broker = BrokerMark::Client;
    builder.build(BuildOptions { producer, broker }).unwrap()
}

fn append(owner: &Mutex<Partition>, mut batch: Vec<u8>) -> Result<AppendOutcome, Refused> {
    let header = check_produced(&batch, &crate::batch::BatchLimits::default()).unwrap();
    let mut partition = owner.lock();
    if partition.main().needs_roll(u64::from(header.length), NOW) {
        partition.main_mut().roll().unwrap();
    }
    let outcome = partition.append(&header, &mut batch, NOW)?;
    if let Some(task) = partition.main_mut().begin_sync() {
        task.run().unwrap();
    }
    Ok(outcome)
}

fn produce(owner: &Mutex<Partition>, value: &str) -> Offset {
    match append(owner, build(&[value], None)) {
        Ok(AppendOutcome::Appended(appended)) => appended.base_offset,
        other => panic!("{other:?}"),
    }
}

fn letter_of(owner: &Mutex<Partition>, group: &str, offset: Offset) -> DeadLetter {
    let rejection = Rejection {
        topic: "orders",
        partition_index: 0,
        group,
        offset,
        reason: "it does not parse",
        details: None,
    };
    let reader = owner.lock().main().reader();
    prepare_letter(&reader, &mut RecentBatches::default(), &rejection, NOW).unwrap()
}

fn reject(owner: &Mutex<Partition>, group: &str, offset: Offset) -> RejectOutcome {
    let letter = letter_of(owner, group, offset);
    let (outcomes, _) = resolver(owner).reject(&[letter]);
    outcomes.first().copied().unwrap()
}

/// A partition with one record that group `g` has rejected.
fn rejected(disk: &SimDisk) -> (Mutex<Partition>, Offset) {
    let owner = open(disk);
    let offset = produce(&owner, "one");
    let letter = reject(&owner, "g", offset).letter();
    (owner, letter)
}

fn load(owner: &Mutex<Partition>, letter: Offset) -> PlacedLetter {
    let view = owner.lock().dead_letters().unwrap().view();
    (letter, view.get(letter).unwrap().unwrap())
}

fn republish(owner: &Mutex<Partition>, letter: Offset) -> (Outcome, Option<Republished>) {
    let (outcomes, committed) = resolver(owner).republish(&[load(owner, letter)]);
    (outcomes.letters[0].1, committed)
}

fn retry(owner: &Mutex<Partition>, letter: Offset) -> Outcome {
    let (outcome, committed) = republish(owner, letter);
    if let Some(committed) = committed {
        resolver(owner).finish(&[committed]).unwrap();
    }
    outcome
}

fn delete(owner: &Mutex<Partition>, letter: Offset) -> Outcome {
    resolver(owner).delete(&[letter]).letters[0].1
}

fn record_at(owner: &Mutex<Partition>, offset: Offset) -> Record {
    let reader = owner.lock().main().reader();
    let batch = reader.batch_at(offset, ReadBound::LogEnd).unwrap();
    let at = offset.since(batch.header().base_offset).unwrap();
    batch.records(1 << 20).unwrap().swap_remove(at as usize)
}

/// The letters that records of the main log name as their cause, with the records' offsets.
fn causes(owner: &Mutex<Partition>) -> Vec<(Offset, Offset)> {
    let reader = owner.lock().main().reader();
    (reader.log_start().0..reader.log_end().0)
        .filter_map(|offset| {
            let record = record_at(owner, Offset(offset));
            let cause = Cause::decode(record.header(CAUSE_HEADER)?).unwrap();
            assert_eq!(cause.kind, CauseKind::Republish);
            Some((cause.offset, Offset(offset)))
        })
        .collect()
}
