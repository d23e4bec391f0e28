//! The sparse index of a segment: where the batches stand, by offset and by append time.
//!
//! One entry stands for at least [`INDEX_INTERVAL_BYTES`] of log, so a look-up is a binary search in at most a few dozen
//! KiB, one read of at most an interval, and one batch. Offsets and append times never fall within a log, so one table
//! serves both. An index is a hint: it is checked when it is opened and rebuilt by a scan when it does not verify.
//!
//! # The file, beside a sealed segment
//! All numbers are big-endian.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | magic | 4 | u32 | [`INDEX_MAGIC`] |
//! | 4 | format version | 2 | u16 | [`INDEX_VERSION`] |
//! | 6 | log kind | 1 | u8 | |
//! | 7 | reserved | 1 | u8 | 0 |
//! | 8 | partition number | 4 | u32 | |
//! | 12 | entry count | 4 | u32 | |
//! | 16 | base offset | 8 | u64 | of the segment |
//! | 24 | end offset | 8 | u64 | exclusive |
//! | 32 | segment bytes | 8 | u64 | exact length of the segment file |
//! | 40 | first append time | 8 | i64 | ms |
//! | 48 | last append time | 8 | i64 | ms |
//! | 56 | last header CRC | 4 | u32 | of the segment's last batch |
//! | 60 | CRC | 4 | u32 | CRC-32 of bytes 0 to 60 and of all entries |
//! | 64 | entries | 16 each | | offset delta u32, position u32, append time i64 of a batch |

use crate::checksum::crc32_of;
use crate::disk::MappedBytes;
use crate::error::Corruption;
use crate::limits::INDEX_INTERVAL_BYTES;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{FilePosition, Offset, TimestampMs};

/// Opens every index file: `RDIX`.
pub const INDEX_MAGIC: u32 = 0x5244_4958;
/// The version of the index format.
pub const INDEX_VERSION: u16 = 1;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 16;

/// What a segment holds, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// First offset behind the segment (exclusive end).
    pub end_offset: Offset,
    /// First byte behind the last batch.
    pub end: FilePosition,
    /// Append time of the first batch; that of the log's last batch before when there is none.
    pub first_append_time: TimestampMs,
    /// Append time of the last batch; likewise.
    pub last_append_time: TimestampMs,
    /// Header CRC of the last batch; of the one before the segment when there is none.
    pub last_header_crc: u32,
}

/// One batch that the index points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Base offset of the batch, minus that of the segment.
    pub offset_delta: u32,
    /// Where the batch stands.
    pub position: u32,
    /// Append time of the batch.
    pub append_time: TimestampMs,
}

/// The entries of a segment, in memory or in a file.
#[derive(Debug)]
pub enum Index {
    /// Entries of a segment that grows, or whose file was missing.
    Memory(Vec<IndexEntry>),
    /// The file of a sealed segment, already verified.
    File(MappedBytes),
}

impl Default for Index {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Index {
    /// Notes a batch, if it stands an interval behind the last noted one. A file takes no more entries.
    pub fn note(&mut self, base: Offset, batch: Offset, position: FilePosition, time: TimestampMs) {
        let Self::Memory(entries) = self else { return };
        let due = entries.last().is_none_or(|last| {
            position.0.saturating_sub(u64::from(last.position)) >= INDEX_INTERVAL_BYTES
        });
        let delta = batch
            .since(base)
            .and_then(|delta| u32::try_from(delta).ok());
        // A batch that the entry cannot express is simply not noted: the entry before leads to it.
        if let (true, Some(offset_delta), Ok(position)) = (due, delta, u32::try_from(position.0)) {
            entries.push(IndexEntry {
                offset_delta,
                position,
                append_time: time,
            });
        }
    }

    /// Returns the last entry at or before `offset_delta`, or `None` when there is none.
    #[must_use]
    pub fn at_or_before(&self, offset_delta: u64) -> Option<IndexEntry> {
        self.last_where(|entry| u64::from(entry.offset_delta) <= offset_delta)
    }

    /// Returns the last entry that was appended before `time`, or `None` when there is none.
    #[must_use]
    pub fn before_time(&self, time: TimestampMs) -> Option<IndexEntry> {
        self.last_where(|entry| entry.append_time < time)
    }

    /// Encodes the file of a sealed segment.
    #[must_use]
    pub fn encode(&self, log: LogId, extent: &Extent) -> Vec<u8> {
        let count = self.entry_count();
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&INDEX_MAGIC.to_be_bytes());
        header.extend_from_slice(&INDEX_VERSION.to_be_bytes());
        header.extend_from_slice(&[log.kind.byte(), 0]);
        header.extend_from_slice(&log.partition.0.to_be_bytes());
        header.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        header.extend_from_slice(&extent.base_offset.0.to_be_bytes());
        header.extend_from_slice(&extent.end_offset.0.to_be_bytes());
        header.extend_from_slice(&extent.end.0.to_be_bytes());
        header.extend_from_slice(&extent.first_append_time.0.to_be_bytes());
        header.extend_from_slice(&extent.last_append_time.0.to_be_bytes());
        header.extend_from_slice(&extent.last_header_crc.to_be_bytes());
        let entries: Vec<u8> = (0..count)
            .filter_map(|at| self.entry(at))
            .flat_map(encode_entry)
            .collect();
        let crc = crc32_of(&[&header, &entries]);
        header.extend_from_slice(&crc.to_be_bytes());
        header.extend_from_slice(&entries);
        header
    }

    /// Opens the file of a sealed segment.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first. The caller rebuilds the index from the segment.
    pub fn open(log: LogId, bytes: MappedBytes) -> Result<(Self, Extent), Corruption> {
        let extent = decode_header(log, bytes.as_ref())?;
        Ok((Self::File(bytes), extent))
    }

    fn entry_count(&self) -> usize {
        match self {
            Self::Memory(entries) => entries.len(),
            Self::File(bytes) => bytes.as_ref().len().saturating_sub(HEADER_BYTES) / ENTRY_BYTES,
        }
    }

    fn entry(&self, at: usize) -> Option<IndexEntry> {
        match self {
            Self::Memory(entries) => entries.get(at).copied(),
            Self::File(bytes) => {
                let from = at.checked_mul(ENTRY_BYTES)?.checked_add(HEADER_BYTES)?;
                bytes.as_ref().get(from..)?.first_chunk().map(decode_entry)
            }
        }
    }

    fn last_where(&self, holds: impl Fn(IndexEntry) -> bool) -> Option<IndexEntry> {
        let (mut low, mut high) = (0, self.entry_count());
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle).is_some_and(&holds) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).and_then(|at| self.entry(at))
    }
}

fn encode_entry(entry: IndexEntry) -> [u8; ENTRY_BYTES] {
    let number = (u128::from(entry.offset_delta) << 96)
        | (u128::from(entry.position) << 64)
        | u128::from(entry.append_time.0.cast_unsigned());
    number.to_be_bytes()
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> IndexEntry {
    let [o0, o1, o2, o3, p0, p1, p2, p3, time @ ..] = *bytes;
    IndexEntry {
        offset_delta: u32::from_be_bytes([o0, o1, o2, o3]),
        position: u32::from_be_bytes([p0, p1, p2, p3]),
        append_time: TimestampMs(i64::from_be_bytes(time)),
    }
}

fn decode_header(log: LogId, bytes: &[u8]) -> Result<Extent, Corruption> {
    let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let Some((header, entries)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Corruption::Truncated {
            part: "index",
            needed: 64,
            available,
        });
    };
    let u32_at = |at: usize| {
        header
            .get(at..)
            .and_then(|b| b.first_chunk())
            .map_or(0, |b| u32::from_be_bytes(*b))
    };
    let u64_at = |at: usize| {
        header
            .get(at..)
            .and_then(|b| b.first_chunk())
            .map_or(0, |b| u64::from_be_bytes(*b))
    };
    if u32_at(0) != INDEX_MAGIC {
        return Err(Corruption::Magic {
            found: u32_at(0),
            expected: INDEX_MAGIC,
        });
    }
    let computed = crc32_of(&[header.get(..60).unwrap_or_default(), entries]);
    if u32_at(60) != computed {
        return Err(Corruption::Checksum {
            part: "index",
            found: u32_at(60),
            computed,
        });
    }
    let [_, _, _, _, v1, v0, kind, ..] = *header;
    let version = u16::from_be_bytes([v1, v0]);
    if version != INDEX_VERSION {
        return Err(Corruption::Field {
            field: "index version",
            value: u64::from(version),
        });
    }
    let found = LogKind::from_byte(kind).map(|kind| LogId::new(PartitionNumber(u32_at(8)), kind));
    if found != Some(log) {
        return Err(Corruption::WrongLog {
            found_partition: u32_at(8),
            found_kind: kind,
        });
    }
    let count = usize::try_from(u32_at(12)).unwrap_or(usize::MAX);
    if count.checked_mul(ENTRY_BYTES) != Some(entries.len()) {
        return Err(Corruption::Field {
            field: "entry count",
            value: u64::from(u32_at(12)),
        });
    }
    Ok(Extent {
        base_offset: Offset(u64_at(16)),
        end_offset: Offset(u64_at(24)),
        end: FilePosition(u64_at(32)),
        first_append_time: TimestampMs(u64_at(40).cast_signed()),
        last_append_time: TimestampMs(u64_at(48).cast_signed()),
        last_header_crc: u32_at(56),
    })
}

#[cfg(test)]
mod tests;
