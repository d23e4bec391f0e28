//! One entry of a delivery log: what became of a pushed record. The value of a record of that log.
//!
//! Numbers are big-endian. Blocks and options are those of `fields.rs`.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | kind | 1 | u8 | see below |
//! | 1 | version | 1 | u8 | [`ENTRY_VERSION`] |
//! | 2 | message | 8 | u64 | the record's offset in the main log of the same partition; not of kind 7 |
//! | 10 | fields | | | of the kind; nothing follows them |
//!
//! | kind | name | fields |
//! |---|---|---|
//! | 1 | intent | attempt number u32, time i64, start of the flow-control period that it counts in (option: i64) |
//! | 2 | outcome | verdict, owes u8 (bit 0 callback, bit 1 failure callback), previous (option: u64), attempt (see [`crate::dead_letter::history`]) to the end |
//! | 3 | cancelled | time i64 |
//! | 4 | dead | letter u64: its offset in the dead-letter log of the same partition, time i64 |
//! | 5 | carried | append time i64, record to the end: timestamp i64, key (option), value (option), headers as (name block, value option) |
//! | 6 | history | history (see [`crate::dead_letter::history`]) to the end |
//! | 7 | snapshot part | index u32, part count u32, CRC-32 u32 of the whole state, bytes to the end |
//! | 8 | given up | time i64 |
//!
//! A verdict is one byte and its field: 1 delivered; 2 retry, at i64; 3 dead, disposition u8.
//!
//! An outcome's previous is the delivery-log offset of the message's outcome or history before it: the attempts of a message
//! are read backwards from its newest one. A history stands for all attempts before it.
//!
//! Invariants:
//! 1. An intent is synced before its attempt begins, an outcome before anything follows from it.
//! 2. The message of every entry was durable in the main log before the entry was appended.

use crate::batch::Record;
use crate::dead_letter::letter::codec::{decode_record, encode_record};
use crate::dead_letter::{Attempt, Disposition, History};
use crate::error::Corruption;
use crate::fields::{Reader, put_option, wrong};
use crate::offset::{Offset, TimestampMs};

/// The highest kind that this program knows.
pub const ENTRY_KIND_MAX: u8 = 8;
/// The version of every kind's fields.
pub const ENTRY_VERSION: u8 = 1;

const PART: &str = "delivery entry";
/// Room for most entries: an outcome with a few headers.
const ENTRY_BYTES: usize = 256;
const OWES_CALLBACK: u8 = 1;
const OWES_FAILURE_CALLBACK: u8 = 2;

/// One entry of a delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An attempt is about to be made.
    Intent(Intent),
    /// An attempt has ended.
    Outcome(Outcome),
    /// Somebody has called the message off.
    Cancelled {
        /// The message.
        message: Offset,
        /// When.
        time: TimestampMs,
    },
    /// The message stands in the dead-letter log.
    Dead {
        /// The message.
        message: Offset,
        /// Where in the dead-letter log.
        letter: Offset,
        /// When.
        time: TimestampMs,
    },
    /// A copy of the record, so that the main log's segment may go.
    Carried {
        /// The message.
        message: Offset,
        /// When the main log took the record.
        append_time: TimestampMs,
        /// The record.
        record: Record,
    },
    /// The attempts of a message so far, so that the entries before may go.
    History {
        /// The message.
        message: Offset,
        /// Its attempts.
        history: History,
    },
    /// A part of a snapshot of the whole state.
    Snapshot(SnapshotPart),
    /// An operator has given up the message's record. It owes nothing any more, and counts as cancelled unless it had come to its end.
    GivenUp {
        /// The message.
        message: Offset,
        /// When.
        time: TimestampMs,
    },
}

/// An attempt that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The message.
    pub message: Offset,
    /// Number of the attempt, from 1. After a crash the same one is made again.
    pub attempt: u32,
    /// When.
    pub time: TimestampMs,
    /// Start of the flow-control period that it counts in, when its key has a rate.
    pub period: Option<TimestampMs>,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The message.
    pub message: Offset,
    /// What follows.
    pub verdict: Verdict,
    /// Whom to tell.
    pub owes: Owes,
    /// The message's outcome or history before this one, in the delivery log.
    pub previous: Option<Offset>,
    /// The attempt.
    pub attempt: Attempt,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken: nothing more.
    Delivered,
    /// Another attempt.
    Retry {
        /// When.
        at: TimestampMs,
    },
    /// It dies.
    Dead {
        /// Why.
        disposition: Disposition,
    },
}

/// Callbacks that an outcome asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owes {
    /// The callback of each attempt's end.
    pub callback: bool,
    /// The callback of a message that has failed for good.
    pub failure_callback: bool,
}

impl Owes {
    /// Returns whether nothing is owed.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// A part of an encoded state. A snapshot whose last part is missing counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Which part, from 0.
    pub index: u32,
    /// How many parts the snapshot has.
    pub count: u32,
    /// CRC-32 of all parts' bytes together.
    pub state_crc: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// Returns the kind byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Intent(_) => 1,
            Self::Outcome(_) => 2,
            Self::Cancelled { .. } => 3,
            Self::Dead { .. } => 4,
            Self::Carried { .. } => 5,
            Self::History { .. } => 6,
            Self::Snapshot(_) => 7,
            Self::GivenUp { .. } => 8,
        }
    }

    /// Returns the message that the entry is about; none for a snapshot part.
    #[must_use]
    pub fn message(&self) -> Option<Offset> {
        match self {
            Self::Intent(intent) => Some(intent.message),
            Self::Outcome(outcome) => Some(outcome.message),
            Self::Cancelled { message, .. }
            | Self::Dead { message, .. }
            | Self::Carried { message, .. }
            | Self::History { message, .. }
            | Self::GivenUp { message, .. } => Some(*message),
            Self::Snapshot(_) => None,
        }
    }

    /// Encodes the entry as a record's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRY_BYTES);
        out.extend_from_slice(&[self.kind(), ENTRY_VERSION]);
        if let Some(message) = self.message() {
            out.extend_from_slice(&message.0.to_be_bytes());
        }
        match self {
            Self::Intent(intent) => {
                out.extend_from_slice(&intent.attempt.to_be_bytes());
                out.extend_from_slice(&intent.time.0.to_be_bytes());
                let period = intent.period.map(|period| period.0.to_be_bytes());
                put_option(&mut out, period.as_ref().map(<[u8; 8]>::as_slice));
            }
            Self::Outcome(outcome) => outcome.encode(&mut out),
            Self::Cancelled { time, .. } | Self::GivenUp { time, .. } => {
                out.extend_from_slice(&time.0.to_be_bytes());
            }
            Self::Dead { letter, time, .. } => {
                out.extend_from_slice(&letter.0.to_be_bytes());
                out.extend_from_slice(&time.0.to_be_bytes());
            }
            Self::Carried {
                append_time,
                record,
                ..
            } => {
                out.extend_from_slice(&append_time.0.to_be_bytes());
                out.extend_from_slice(&encode_record(record));
            }
            Self::History { history, .. } => out.extend_from_slice(&history.encode()),
            Self::Snapshot(part) => {
                out.extend_from_slice(&part.index.to_be_bytes());
                out.extend_from_slice(&part.count.to_be_bytes());
                out.extend_from_slice(&part.state_crc.to_be_bytes());
                out.extend_from_slice(&part.bytes);
            }
        }
        out
    }

    /// Decodes a record's value.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first; an unknown kind or version names both numbers.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new(PART, bytes);
        let kind = reader.u8()?;
        let version = reader.u8()?;
        if version != ENTRY_VERSION {
            return Err(wrong("delivery entry version", u64::from(version)));
        }
        if kind == 7 {
            return decode_part(reader).map(Self::Snapshot);
        }
        let message = Offset(reader.u64()?);
        let entry = match kind {
            1 => Self::Intent(Intent {
                message,
                attempt: reader.u32()?,
                time: TimestampMs(reader.i64()?),
                period: option_i64(&mut reader)?.map(TimestampMs),
            }),
            2 => return Outcome::decode(message, reader).map(Self::Outcome),
            3 => Self::Cancelled {
                message,
                time: TimestampMs(reader.i64()?),
            },
            4 => Self::Dead {
                message,
                letter: Offset(reader.u64()?),
                time: TimestampMs(reader.i64()?),
            },
            5 => {
                return Ok(Self::Carried {
                    message,
                    append_time: TimestampMs(reader.i64()?),
                    record: decode_record(reader.rest())?,
                });
            }
            6 => {
                let history = History::decode(reader.rest())?;
                return Ok(Self::History { message, history });
            }
            8 => Self::GivenUp {
                message,
                time: TimestampMs(reader.i64()?),
            },
            other => return Err(wrong("delivery entry kind", u64::from(other))),
        };
        reader.finish()?;
        Ok(entry)
    }
}

impl Outcome {
    fn encode(&self, out: &mut Vec<u8>) {
        match self.verdict {
            Verdict::Delivered => out.push(1),
            Verdict::Retry { at } => {
                out.push(2);
                out.extend_from_slice(&at.0.to_be_bytes());
            }
            Verdict::Dead { disposition } => out.extend_from_slice(&[3, disposition.0]),
        }
        let callback = if self.owes.callback { OWES_CALLBACK } else { 0 };
        let failure = if self.owes.failure_callback {
            OWES_FAILURE_CALLBACK
        } else {
            0
        };
        out.push(callback | failure);
        let previous = self.previous.map(|previous| previous.0.to_be_bytes());
        put_option(out, previous.as_ref().map(<[u8; 8]>::as_slice));
        self.attempt.encode(out);
    }

    fn decode(message: Offset, mut reader: Reader<'_>) -> Result<Self, Corruption> {
        let verdict = match reader.u8()? {
            1 => Verdict::Delivered,
            2 => Verdict::Retry {
                at: TimestampMs(reader.i64()?),
            },
            3 => Verdict::Dead {
                disposition: Disposition(reader.u8()?),
            },
            other => return Err(wrong("verdict", u64::from(other))),
        };
        let owes = reader.u8()?;
        if owes & !(OWES_CALLBACK | OWES_FAILURE_CALLBACK) != 0 {
            return Err(wrong("owes", u64::from(owes)));
        }
        Ok(Self {
            message,
            verdict,
            owes: Owes {
                callback: owes & OWES_CALLBACK != 0,
                failure_callback: owes & OWES_FAILURE_CALLBACK != 0,
            },
            previous: option_u64(&mut reader)?.map(Offset),
            attempt: Attempt::decode(reader.rest())?,
        })
    }
}

fn decode_part(mut reader: Reader<'_>) -> Result<SnapshotPart, Corruption> {
    Ok(SnapshotPart {
        index: reader.u32()?,
        count: reader.u32()?,
        state_crc: reader.u32()?,
        bytes: reader.rest().to_vec(),
    })
}

fn option_u64(reader: &mut Reader<'_>) -> Result<Option<u64>, Corruption> {
    let Some(bytes) = reader.option()? else {
        return Ok(None);
    };
    let mut inner = Reader::new(PART, bytes);
    let value = inner.u64()?;
    inner.finish()?;
    Ok(Some(value))
}

fn option_i64(reader: &mut Reader<'_>) -> Result<Option<i64>, Corruption> {
    let Some(bytes) = reader.option()? else {
        return Ok(None);
    };
    let mut inner = Reader::new(PART, bytes);
    let value = inner.i64()?;
    inner.finish()?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use bytes::Bytes;

    use super::*;
    use crate::dead_letter::AttemptResult;

    fn attempt() -> Attempt {
        Attempt {
            number: 2,
            time: TimestampMs(5),
            duration_ms: 3,
            result: AttemptResult::Status(500),
            headers: vec![("a".to_owned(), "b".to_owned())],
            body: Bytes::from_static(b"no"),
            is_body_cut: true,
            are_headers_cut: false,
        }
    }

    fn samples() -> Vec<Entry> {
        let message = Offset(7);
        let attempt = attempt();
        let outcome = |verdict, previous: Option<Offset>| {
            Entry::Outcome(Outcome {
                message,
                verdict,
                owes: Owes {
                    callback: true,
                    failure_callback: previous.is_none(),
                },
                previous,
                attempt: attempt.clone(),
            })
        };
        let mut history = History::default();
        history.push(attempt.clone());
        let intent = Intent {
            message,
            attempt: 1,
            time: TimestampMs(-4),
            period: Some(TimestampMs(1)),
        };
        vec![
            Entry::Intent(intent),
            Entry::Intent(Intent {
                period: None,
                ..intent
            }),
            outcome(Verdict::Delivered, None),
            outcome(Verdict::Retry { at: TimestampMs(9) }, Some(Offset(1))),
            outcome(
                Verdict::Dead {
                    disposition: Disposition::NOT_RETRYABLE,
                },
                Some(Offset(2)),
            ),
            Entry::Cancelled {
                message,
                time: TimestampMs(8),
            },
            Entry::Dead {
                message,
                letter: Offset(3),
                time: TimestampMs(8),
            },
            Entry::GivenUp {
                message,
                time: TimestampMs(8),
            },
            Entry::Carried {
                message,
                append_time: TimestampMs(1),
                record: Record {
                    value: Some(Bytes::from_static(b"body")),
                    headers: vec![("h".to_owned(), None)],
                    ..Record::default()
                },
            },
            Entry::History { message, history },
            Entry::Snapshot(SnapshotPart {
                index: 0,
                count: 2,
                state_crc: 4,
                bytes: vec![1, 2, 3],
            }),
        ]
    }

    #[test]
    fn entries_come_back_and_none_passes_for_another_when_cut() {
        for entry in samples() {
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes), Ok(entry.clone()));
            for end in 0..bytes.len() {
                assert_ne!(
                    Entry::decode(bytes.get(..end).unwrap()),
                    Ok(entry.clone()),
                    "cut at {end}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_kind_or_version_is_refused_with_its_number() {
        let bytes = samples().first().unwrap().encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            *bytes.get_mut(at).unwrap() = byte;
            Entry::decode(&bytes)
        };
        let unknown = ENTRY_KIND_MAX + 1;
        let refusal = wrong("delivery entry kind", u64::from(unknown));
        assert_eq!(with(0, unknown), Err(refusal));
        assert_eq!(with(1, 2), Err(wrong("delivery entry version", 2)));
    }
}
