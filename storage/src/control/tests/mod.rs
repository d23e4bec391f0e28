//! Tests of control entries and of what they add up to.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod adding_up;
mod encoding;
mod random;

use std::fmt::Write as _;

use super::*;
use crate::limits::SEGMENT_BYTES_MIN;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

fn numbers(numbers: &[u32]) -> Vec<PartitionNumber> {
    numbers.iter().copied().map(PartitionNumber).collect()
}

fn created(name: &str, partitions: &[u32]) -> Entry {
    Entry::TopicCreated {
        name: name.to_owned(),
        settings: TopicSettings::default(),
        partitions: numbers(partitions),
    }
}

fn added(name: &str, partitions: &[u32]) -> Entry {
    Entry::PartitionsAdded {
        name: name.to_owned(),
        partitions: numbers(partitions),
    }
}

fn altered(name: &str, settings: TopicSettings) -> Entry {
    let name = name.to_owned();
    Entry::TopicAltered { name, settings }
}

fn deleted(name: &str) -> Entry {
    Entry::TopicDeleted {
        name: name.to_owned(),
    }
}

fn committed(group: &str, commits: &[(u32, u64)]) -> Entry {
    Entry::OffsetsCommitted {
        group: group.to_owned(),
        time: TimestampMs(1_700_000_000_000),
        commits: commits
            .iter()
            .map(|(partition, offset)| Commit {
                partition: PartitionNumber(*partition),
                offset: Offset(*offset),
                metadata: format!("at {offset}"),
            })
            .collect(),
    }
}

fn gap(partition: u32, from: u64, to: u64) -> Entry {
    Entry::Gap(Gap {
        log: LogId::new(PartitionNumber(partition), LogKind::Main),
        from: Offset(from),
        to: Offset(to),
    })
}

fn short_lived() -> TopicSettings {
    TopicSettings {
        segment_bytes: SEGMENT_BYTES_MIN,
        retention_ms: None,
        retention_bytes: Some(8 << 20),
        dead_letter_retention_ms: None,
        dead_letter_retention_bytes: Some(1),
        ..TopicSettings::default()
    }
}

/// One entry of each kind, in an order that applies.
fn samples() -> Vec<Entry> {
    vec![
        created("flights", &[1, 2]),
        altered("flights", short_lived()),
        added("flights", &[3]),
        created("other", &[4]),
        Entry::ProducerIdBlock {
            first: 0,
            count: 1_000,
        },
        committed("billing", &[(1, 10), (4, u64::MAX)]),
        committed("audit", &[(4, 0)]),
        gap(2, 5, 9),
        Entry::GroupDeleted {
            group: "audit".to_owned(),
        },
        deleted("other"),
        Entry::Snapshot(SnapshotPart {
            index: 0,
            count: 2,
            state_crc: 0xDEAD_BEEF,
            bytes: vec![1, 2, 3],
        }),
    ]
}

/// Compares encodings with those of a file, a line each; with `REDRIVE_WRITE_GOLDEN` set, the file is written anew.
pub(super) fn assert_golden(name: &str, encoded: &[Vec<u8>]) {
    let path: std::path::PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name]
        .iter()
        .collect();
    let mut found = String::new();
    for bytes in encoded {
        for byte in bytes {
            write!(found, "{byte:02x}").unwrap();
        }
        found.push('\n');
    }
    if std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}");
}

pub(super) fn fold(entries: &[Entry]) -> ControlState {
    let mut state = ControlState::default();
    for entry in entries {
        state.apply(entry).unwrap();
    }
    state
}
