//! Tests of a log on a simulated disk.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod damage;
mod failures;
mod reads;
mod segments;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::batch::header::{Attributes, BatchHeader, HEADER_BYTES_U32};
use crate::checkpoint::LogCheckpoint;
use crate::checksum::crc32;
use crate::disk::Disk;
use crate::disk::fault::{FaultDisk, OpClass};
use crate::disk::sim::SimDisk;
use crate::error::{LogError, PoisonCause};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

const ID: LogId = LogId::new(PartitionNumber(1), LogKind::Main);
pub(super) const NOW: TimestampMs = TimestampMs(1_000_000);

pub(super) fn place(disk: &SimDisk) -> LogPlace {
    let root = PathBuf::from("/data");
    disk.create_dir(&root).unwrap();
    LogPlace {
        disk: Arc::new(disk.clone()),
        dir: root.join("0000000001/main"),
        root,
        id: ID,
    }
}

/// The same place on a disk whose operations can be made to fail.
fn place_on(fault: &FaultDisk, sim: &SimDisk) -> LogPlace {
    LogPlace {
        disk: Arc::new(fault.clone()),
        ..place(sim)
    }
}

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        ..LogConfig::default()
    }
}

pub(super) fn batch(records: u32, fill: u8, body_bytes: u32) -> Vec<u8> {
    let body = vec![fill; body_bytes as usize];
    let header = BatchHeader {
        log: None,
        attributes: Attributes::default(),
        length: HEADER_BYTES_U32 + body_bytes,
        base_offset: Offset::ZERO,
        record_count: records,
        unpacked_bytes: body_bytes,
        producer: None,
        body_crc: crc32(&body),
        first_timestamp: NOW,
        max_timestamp: NOW,
        append_time: TimestampMs(0),
        prev_header_crc: 0,
        durable_up_to: Offset::ZERO,
        header_crc: 0,
    };
    [header.encode().as_slice(), &body].concat()
}

fn open(disk: &SimDisk) -> (Log, RecoveryReport) {
    open_with(disk, small(), None)
}

fn open_with(
    disk: &SimDisk,
    config: LogConfig,
    hint: Option<&LogCheckpoint>,
) -> (Log, RecoveryReport) {
    Log::open(place(disk), config, hint, NOW).unwrap()
}

fn append(log: &mut Log, records: u32, fill: u8) -> Appended {
    log.append_synced(&mut batch(records, fill, 500), NOW)
        .unwrap()
}

/// The fill byte and the base offset of every batch.
fn contents(log: &Log) -> Vec<(u64, u8)> {
    let mut all = Vec::new();
    let reader = log.reader();
    reader
        .scan(
            reader.log_start(),
            ReadBound::LogEnd,
            &mut |header, body| {
                all.push((header.base_offset.0, body[0]));
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    all
}
