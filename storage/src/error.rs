//! What can go wrong in a log. An error of the disk, damage in the bytes and a request for what is not there are three
//! different things here, and none of them is ever repaired by the code that finds it.

use std::io;
use std::path::{Path, PathBuf};

use crate::log_id::LogId;
use crate::offset::{FilePosition, Offset};

/// An operation on a log that failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused an operation.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// The operation, as a verb.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Bytes that were durable do not verify. They are kept as they are.
    #[error("{}: offsets {from} to {to} are damaged at byte {position}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file the damage was met.
        position: FilePosition,
        /// First offset that cannot be read.
        from: Offset,
        /// First offset behind the damage (exclusive end).
        to: Offset,
        /// What does not verify.
        reason: Corruption,
    },
    /// The offset is outside of what the log holds.
    #[error(
        "offset {requested} is out of range: the log holds {log_start} to {log_end} (exclusive)"
    )]
    OffsetOutOfRange {
        /// The offset asked for.
        requested: Offset,
        /// First offset that can be read.
        log_start: Offset,
        /// First offset that cannot be read yet (exclusive end).
        log_end: Offset,
    },
    /// The batch is larger than the log takes.
    #[error("the batch has {bytes} bytes, the log takes at most {bytes_max}")]
    BatchTooLarge {
        /// Size of the batch, in bytes.
        bytes: u64,
        /// Largest batch of this log, in bytes.
        bytes_max: u64,
    },
    /// An earlier write or sync of this log failed; it takes no appends until it has been recovered.
    #[error("the {log} takes no appends: {cause}")]
    Poisoned {
        /// The log.
        log: LogId,
        /// What failed before.
        cause: PoisonCause,
    },
    /// The full segment is being replaced; the append can be tried again when that is done.
    #[error("the {log} is starting a new segment")]
    Rolling {
        /// The log.
        log: LogId,
    },
    /// A file was written by a version of the format that this program does not know.
    #[error("{}: format version {found}, this program knows {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u16,
        /// The newest version this program knows.
        known: u16,
    },
    /// Another process has the data directory.
    #[error("{} is in use by {holder}", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Program name and process id of the holder, as it wrote them.
        holder: String,
    },
}

impl LogError {
    /// Wraps an error of the disk with the operation and the path.
    #[must_use]
    pub fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// Why a log takes no appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoisonCause {
    /// A write failed. The log can be recovered while the broker runs.
    #[error("a write failed")]
    WriteFailed,
    /// A sync failed. What the disk holds is unknown until the log is opened again.
    #[error("a sync failed, only a restart or an operator's order recovers it")]
    SyncFailed,
    /// Damage was found when the log was opened: it is open for reads only.
    #[error("damage was found when it was opened, it is open for reads only")]
    Damaged,
}

/// Why bytes do not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The structure does not open with its magic.
    #[error("the magic is {found:#010x}, not {expected:#010x}")]
    Magic {
        /// What stands there.
        found: u32,
        /// What should.
        expected: u32,
    },
    /// A checksum does not match.
    #[error("the checksum of the {part} is {found:#010x}, the bytes give {computed:#010x}")]
    Checksum {
        /// What the checksum covers.
        part: &'static str,
        /// The checksum that is stored.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The bytes end before the structure does.
    #[error("the {part} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The structure.
        part: &'static str,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// A field has a value that nothing writes.
    #[error("the field {field} has the value {value}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value; negative ones as their two's complement.
        value: u64,
    },
    /// The structure belongs to another log.
    #[error("it belongs to log {found_kind} of partition {found_partition}")]
    WrongLog {
        /// Partition number that stands there.
        found_partition: u32,
        /// Log kind byte that stands there.
        found_kind: u8,
    },
    /// A batch does not follow the one before.
    #[error("the base offset is {found}, {expected} was to come")]
    OffsetGap {
        /// The base offset that stands there.
        found: Offset,
        /// The offset that should.
        expected: Offset,
    },
    /// The checksum of the batch before does not match what this one recorded of it.
    #[error(
        "it follows a batch with header checksum {found:#010x}, the one before has {expected:#010x}"
    )]
    BrokenChain {
        /// The checksum recorded.
        found: u32,
        /// The checksum of the batch before.
        expected: u32,
    },
    /// A segment that must exist is not there.
    #[error("the segment is missing")]
    MissingSegment,
    /// A compressed records section does not unpack.
    #[error("the {codec} section does not unpack: {reason}")]
    Packed {
        /// The codec.
        codec: &'static str,
        /// What its decoder said.
        reason: String,
    },
    /// A record does not decode.
    #[error("record {index} at byte {position} of the records section: {fault}")]
    Record {
        /// Which record of its batch, from 0.
        index: u32,
        /// Where the record begins in the unpacked records section.
        position: u32,
        /// What is wrong with it.
        fault: RecordFault,
    },
}

/// What is wrong with one record: its encoding, or a limit that it does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The bytes end before the record does.
    #[error("the {part} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The part of the record.
        part: &'static str,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// A number has more bytes than it needs or than its type can have.
    #[error("the {part} is not a number in its shortest form")]
    Varint {
        /// The part of the record.
        part: &'static str,
    },
    /// A field has a value that nothing writes.
    #[error("the {part} is {found}, {expected} was to come")]
    Field {
        /// The part of the record.
        part: &'static str,
        /// Its value.
        found: i64,
        /// What would be right.
        expected: i64,
    },
    /// A length is below zero where nothing may be null.
    #[error("the {part} is {found}, it must be {least} or more")]
    Negative {
        /// The part of the record.
        part: &'static str,
        /// Its value.
        found: i64,
        /// The least right value.
        least: i64,
    },
    /// The record's length and its parts do not agree, or bytes follow the last record.
    #[error("{bytes} bytes follow the {part}")]
    Trailing {
        /// The part after which nothing may follow.
        part: &'static str,
        /// How many bytes follow.
        bytes: u64,
    },
    /// A part is larger than its limit.
    #[error("the {part} has {found}, at most {limit} are allowed")]
    TooLarge {
        /// The part of the record, with the unit.
        part: &'static str,
        /// Its size.
        found: u64,
        /// The largest right size.
        limit: u64,
    },
    /// A header name is not UTF-8.
    #[error("the name of header {header} is not UTF-8")]
    HeaderName {
        /// Which header, from 0.
        header: u32,
    },
    /// A header name has the prefix that belongs to the broker.
    #[error("the name of header {header} begins with \"redrive.\", which only the broker may use")]
    ReservedHeader {
        /// Which header, from 0.
        header: u32,
    },
    /// A timestamp is outside of what 64 bits can say.
    #[error("the timestamp delta {delta} does not fit the first timestamp")]
    Timestamp {
        /// The delta.
        delta: i64,
    },
}
