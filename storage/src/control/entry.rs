//! One change of the broker's state, as it stands in the control log: the value of a record.
//!
//! Numbers are big-endian. A text is a u32 length and UTF-8 bytes; a list is a u32 count and its items; an optional value is
//! a byte 0, or a byte 1 and the value; a truth is a byte 0 or 1; times are milliseconds since 1970.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | kind | 1 | u8 | what changed, see below |
//! | 1 | version | 1 | u8 | version of that kind's fields |
//! | 2 | fields | | | of the kind; nothing follows them |
//!
//! | kind | name | version | fields |
//! |---|---|---|---|
//! | 1 | topic created | 1 | name text, settings ([`super::settings`]), partition numbers list of u32 |
//! | 2 | topic altered | 1 | name text, settings |
//! | 3 | partitions added | 1 | topic text, partition numbers list of u32 |
//! | 4 | topic deleted | 1 | name text |
//! | 5 | producer id block | 1 | first u64, count u32 |
//! | 6 | offsets committed | 1 | group text, commit time i64, list of (partition u32, offset u64, metadata text) |
//! | 7 | group deleted | 1 | group text |
//! | 8 | gap | 1 | partition u32, log kind u8, from u64 (inclusive), to u64 (exclusive) |
//! | 9 | snapshot part | 1 | index u32, part count u32, CRC-32 u32 of the whole state, bytes (u32 length and bytes) |
//! | 10 | queue set | 1 | name text, parallelism u32, paused u8, created i64, updated i64 |
//! | 11 | queue deleted | 1 | name text |
//! | 12 | URL group set | 1 | name text, created i64, updated i64, endpoints list of (name optional text, URL text) |
//! | 13 | URL group deleted | 1 | name text |
//! | 14 | schedule set | 1 | id text, then the schedule ([`super::push::Schedule`]) |
//! | 15 | schedule deleted | 1 | id text |
//! | 16 | schedule paused | 1 | id text, paused u8, time i64 |
//! | 17 | flow key set | 1 | key text, paused u8, parallelism optional u32, rate optional u32, period optional u64 ms |
//! | 18 | flow key cleared | 1 | key text |
//! | 19 | signing keys set | 1 | current text, next text |
//!
//! A new kind takes the next number; fields of a kind never change without a new version. A program that meets a kind or
//! a version that it does not know refuses the log with both numbers: it cannot know what it would skip.

use super::fields::{Fields, Output};
use super::push::PushEntry;
use super::settings::TopicSettings;
use super::snapshot_part::SnapshotPart;
use crate::error::Corruption;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

/// The highest kind that this program knows.
pub const ENTRY_KIND_MAX: u8 = 19;
/// The version of every kind's fields that this program writes and knows.
pub const ENTRY_VERSION: u8 = 1;

const PART: &str = "control entry";

/// One change of the broker's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A topic is there from now on.
    TopicCreated {
        /// Its name.
        name: String,
        /// Its settings.
        settings: TopicSettings,
        /// The numbers of its partitions, by index.
        partitions: Vec<PartitionNumber>,
    },
    /// A topic has other settings from now on.
    TopicAltered {
        /// Its name.
        name: String,
        /// All its settings.
        settings: TopicSettings,
    },
    /// A topic has more partitions from now on.
    PartitionsAdded {
        /// The topic's name.
        name: String,
        /// The numbers of the new partitions, behind the ones there are.
        partitions: Vec<PartitionNumber>,
    },
    /// A topic is gone, with its partitions and what groups committed in them.
    TopicDeleted {
        /// Its name.
        name: String,
    },
    /// Producer ids that may be given out from now on, and never again.
    ProducerIdBlock {
        /// The first id.
        first: u64,
        /// How many.
        count: u32,
    },
    /// A group committed offsets.
    OffsetsCommitted {
        /// The group's name.
        group: String,
        /// When.
        time: TimestampMs,
        /// The offsets, one for each partition at most.
        commits: Vec<Commit>,
    },
    /// A group's committed offsets are gone.
    GroupDeleted {
        /// The group's name.
        group: String,
    },
    /// An operator dropped a damaged range.
    Gap(Gap),
    /// A part of a snapshot of the whole state.
    Snapshot(SnapshotPart),
    /// What deliveries over HTTP go by changed.
    Push(PushEntry),
}

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: PartitionNumber,
    /// The next offset to consume.
    pub offset: Offset,
    /// What the consumer left with it.
    pub metadata: String,
}

/// A range of a log that an operator dropped because it was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The log.
    pub log: LogId,
    /// First offset dropped.
    pub from: Offset,
    /// First offset behind the range (exclusive end).
    pub to: Offset,
}

/// Why a control entry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The kind is not known.
    #[error("the control entry has kind {found}, this program knows 1 to {known}")]
    UnknownKind {
        /// The kind that stands there.
        found: u8,
        /// The highest kind known.
        known: u8,
    },
    /// The version is not known.
    #[error("the control entry of kind {kind} has version {found}, this program knows {known}")]
    UnknownVersion {
        /// The kind.
        kind: u8,
        /// The version that stands there.
        found: u8,
        /// The version known.
        known: u8,
    },
    /// The fields do not decode.
    #[error("the control entry does not decode")]
    Corrupt(#[from] Corruption),
}

impl Entry {
    /// Returns the kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::TopicCreated { .. } => 1,
            Self::TopicAltered { .. } => 2,
            Self::PartitionsAdded { .. } => 3,
            Self::TopicDeleted { .. } => 4,
            Self::ProducerIdBlock { .. } => 5,
            Self::OffsetsCommitted { .. } => 6,
            Self::GroupDeleted { .. } => 7,
            Self::Gap(_) => 8,
            Self::Snapshot(_) => 9,
            Self::Push(entry) => entry.kind(),
        }
    }

    /// Encodes the entry as a record's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Output::default();
        out.u8(self.kind());
        out.u8(ENTRY_VERSION);
        match self {
            Self::TopicCreated {
                name,
                settings,
                partitions,
            } => {
                out.text(name);
                settings.encode(&mut out);
                encode_partitions(&mut out, partitions);
            }
            Self::TopicAltered { name, settings } => {
                out.text(name);
                settings.encode(&mut out);
            }
            Self::PartitionsAdded { name, partitions } => {
                out.text(name);
                encode_partitions(&mut out, partitions);
            }
            Self::TopicDeleted { name } => out.text(name),
            Self::ProducerIdBlock { first, count } => {
                out.u64(*first);
                out.u32(*count);
            }
            Self::OffsetsCommitted {
                group,
                time,
                commits,
            } => {
                out.text(group);
                out.i64(time.0);
                encode_commits(&mut out, commits);
            }
            Self::GroupDeleted { group } => out.text(group),
            Self::Gap(gap) => gap.encode(&mut out),
            Self::Snapshot(part) => part.encode(&mut out),
            Self::Push(entry) => entry.encode(&mut out),
        }
        out.0
    }

    /// Decodes a record's value.
    ///
    /// # Errors
    /// [`EntryError::UnknownKind`] and [`EntryError::UnknownVersion`] for what a newer program wrote,
    /// [`EntryError::Corrupt`] for bytes that nothing writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut fields = Fields::new(PART, bytes);
        let kind = fields.u8()?;
        if kind == 0 || kind > ENTRY_KIND_MAX {
            return Err(EntryError::UnknownKind {
                found: kind,
                known: ENTRY_KIND_MAX,
            });
        }
        let version = fields.u8()?;
        if version != ENTRY_VERSION {
            return Err(EntryError::UnknownVersion {
                kind,
                found: version,
                known: ENTRY_VERSION,
            });
        }
        let entry = decode_fields(kind, &mut fields)?;
        fields.finish()?;
        Ok(entry)
    }
}

fn decode_fields(kind: u8, fields: &mut Fields<'_>) -> Result<Entry, EntryError> {
    Ok(match kind {
        1 => Entry::TopicCreated {
            name: fields.text("topic")?,
            settings: TopicSettings::decode(fields)?,
            partitions: decode_partitions(fields)?,
        },
        2 => Entry::TopicAltered {
            name: fields.text("topic")?,
            settings: TopicSettings::decode(fields)?,
        },
        3 => Entry::PartitionsAdded {
            name: fields.text("topic")?,
            partitions: decode_partitions(fields)?,
        },
        4 => Entry::TopicDeleted {
            name: fields.text("topic")?,
        },
        5 => Entry::ProducerIdBlock {
            first: fields.u64()?,
            count: fields.u32()?,
        },
        6 => Entry::OffsetsCommitted {
            group: fields.text("group")?,
            time: TimestampMs(fields.i64()?),
            commits: decode_commits(fields)?,
        },
        7 => Entry::GroupDeleted {
            group: fields.text("group")?,
        },
        8 => Entry::Gap(Gap::decode(fields)?),
        9 => Entry::Snapshot(SnapshotPart::decode(fields)?),
        other => match PushEntry::decode(other, fields)? {
            Some(entry) => Entry::Push(entry),
            None => {
                return Err(EntryError::UnknownKind {
                    found: other,
                    known: ENTRY_KIND_MAX,
                });
            }
        },
    })
}

pub(super) fn encode_partitions(out: &mut Output, partitions: &[PartitionNumber]) {
    out.count(partitions.len());
    for partition in partitions {
        out.u32(partition.0);
    }
}

pub(super) fn decode_partitions(
    fields: &mut Fields<'_>,
) -> Result<Vec<PartitionNumber>, Corruption> {
    (0..fields.count(4)?)
        .map(|_| fields.u32().map(PartitionNumber))
        .collect()
}

fn encode_commits(out: &mut Output, commits: &[Commit]) {
    out.count(commits.len());
    for commit in commits {
        out.u32(commit.partition.0);
        out.u64(commit.offset.0);
        out.text(&commit.metadata);
    }
}

fn decode_commits(fields: &mut Fields<'_>) -> Result<Vec<Commit>, Corruption> {
    (0..fields.count(4 + 8 + 4)?)
        .map(|_| {
            Ok(Commit {
                partition: PartitionNumber(fields.u32()?),
                offset: Offset(fields.u64()?),
                metadata: fields.text("metadata")?,
            })
        })
        .collect()
}

impl Gap {
    pub(super) fn encode(&self, out: &mut Output) {
        out.u32(self.log.partition.0);
        out.u8(self.log.kind.byte());
        out.u64(self.from.0);
        out.u64(self.to.0);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        let partition = fields.u32()?;
        let kind = fields.u8()?;
        let kind = LogKind::from_byte(kind).ok_or(Corruption::Field {
            field: "log kind",
            value: u64::from(kind),
        })?;
        Ok(Self {
            log: LogId::new(PartitionNumber(partition), kind),
            from: Offset(fields.u64()?),
            to: Offset(fields.u64()?),
        })
    }
}
