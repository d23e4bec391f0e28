//! The owner and the readers of a pushed partition by example; the crash tests drive them through everything else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod entries;
mod letters;
mod messages;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::dead_letter::{Attempt, AttemptResult, History};
use crate::delivery::{Entry, Envelope, FlowControl, Outcome, Owes, Verdict};
use crate::disk::sim::SimDisk;
use crate::log::LogConfig;
use crate::log_id::{LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};
use crate::partition::{Partition, PartitionConfig, PartitionHints, PartitionPlace};

const NOW: TimestampMs = TimestampMs(1_000);

const NUMBER: PartitionNumber = PartitionNumber(4);

fn open(disk: &SimDisk) -> Partition {
    disk.write_file(std::path::Path::new("/data/.made"), b"")
        .unwrap();
    let place = PartitionPlace {
        disk: Arc::new(disk.clone()),
        root: "/data".into(),
        number: NUMBER,
    };
    let config = PartitionConfig {
        delivery: Some(LogConfig::default()),
        dead_letters: LogConfig {
            batch_bytes_max: 300 << 10,
            ..LogConfig::default()
        },
        ..PartitionConfig::default()
    };
    Partition::open(&place, config, &PartitionHints::default(), NOW)
        .unwrap()
        .0
}

fn new_message(number: u64) -> NewMessage {
    NewMessage {
        timestamp: TimestampMs(7),
        body: Bytes::from(format!("body {number}")),
        envelope: Envelope {
            url: format!("http://host/{number}"),
            method: "POST".to_owned(),
            labels: vec!["label".to_owned()],
            caller_ip: Some("127.0.0.1".to_owned()),
            dedup: Some([9; 16]),
            not_before: Some(TimestampMs(1_001)),
            flow: Some(FlowControl {
                key: "key".to_owned(),
                ..FlowControl::default()
            }),
            ..Envelope::default()
        },
        cause: None,
    }
}

fn sync(partition: &mut Partition, kind: LogKind) {
    let task = partition.log_mut(kind).unwrap().begin_sync();
    task.unwrap().run().unwrap();
    partition.admit_durable();
}

/// A partition with so many messages, all in one batch.
fn with_messages(count: u64) -> Partition {
    let mut partition = open(&SimDisk::new(1));
    let messages: Vec<_> = (0..count).map(new_message).collect();
    partition.append_messages(&messages, NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    partition
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        time: NOW,
        duration_ms: 1,
        result: AttemptResult::Status(503),
        headers: Vec::new(),
        body: Bytes::from(format!("answer {number}")),
        is_body_cut: false,
        are_headers_cut: false,
    }
}

fn outcome(message: u64, number: u32, verdict: Verdict) -> Entry {
    Entry::Outcome(Outcome {
        message: Offset(message),
        verdict,
        owes: Owes::default(),
        // The log knows better.
        previous: Some(Offset(999)),
        attempt: attempt(number),
    })
}
