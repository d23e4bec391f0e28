//! Walking over the batches of a segment file, one after the other.
//!
//! The walker reads and verifies; it never repairs, cuts or decides. An error of the disk, a batch that does not verify and
//! the end of the bytes are three different results. No length that stands in the bytes is trusted before the header's
//! checksum holds, and none may lead past the end of what is readable.

use std::io;

use crate::batch::header::{BatchHeader, HEADER_BYTES, HEADER_BYTES_U32};
use crate::disk::{DiskFile, read_exact_at};
use crate::error::Corruption;
use crate::log_id::LogId;
use crate::offset::{FilePosition, Offset, TimestampMs};

/// Bytes that the walker reads at once where it checks the records sections.
const READ_AHEAD_BYTES: u64 = 256 << 10;
/// Bytes that it reads at once where it goes over headers alone, most of which it then skips.
const READ_AHEAD_HEADERS_BYTES: u64 = 8 << 10;

/// What the next batch of a log must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The log.
    pub log: LogId,
    /// Base offset of the next batch.
    pub next_offset: Offset,
    /// Header CRC of the batch before; `None` when it is not known (behind damage).
    pub prev_header_crc: Option<u32>,
    /// Append time of the batch before: the next one's is not smaller.
    pub append_time: TimestampMs,
}

impl Chain {
    /// Returns what a batch that may be the first to be looked at must be: of this log and with this base offset, behind anything.
    #[must_use]
    pub fn unanchored(log: LogId, next_offset: Offset) -> Self {
        Self {
            log,
            next_offset,
            prev_header_crc: None,
            append_time: TimestampMs(i64::MIN),
        }
    }

    /// Checks that a batch follows.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn check(&self, header: &BatchHeader) -> Result<(), Corruption> {
        if header.log != Some(self.log) {
            let (found_partition, found_kind) = header
                .log
                .map_or((0, 0), |log| (log.partition.0, log.kind.byte()));
            return Err(Corruption::WrongLog {
                found_partition,
                found_kind,
            });
        }
        if header.base_offset != self.next_offset {
            return Err(Corruption::OffsetGap {
                found: header.base_offset,
                expected: self.next_offset,
            });
        }
        match self.prev_header_crc {
            Some(expected) if expected != header.prev_header_crc => Err(Corruption::BrokenChain {
                found: header.prev_header_crc,
                expected,
            }),
            _ if header.append_time < self.append_time => Err(Corruption::Field {
                field: "append time",
                value: header.append_time.0.cast_unsigned(),
            }),
            _ => Ok(()),
        }
    }

    /// Moves on behind a batch.
    pub fn advance(&mut self, header: &BatchHeader) {
        self.next_offset = header.next_offset();
        self.prev_header_crc = Some(header.header_crc);
        self.append_time = header.append_time;
    }
}

/// What stands at the walker's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A batch that verifies and follows the one before. The walker has moved behind it.
    Batch {
        /// Its header.
        header: BatchHeader,
        /// Where it stands.
        position: FilePosition,
    },
    /// The end of what is readable, exactly behind a batch.
    End,
    /// Bytes that are no batch, or not the one that was to come. The walker has not moved.
    Bad(Corruption),
}

/// Goes over the batches of one file.
#[derive(Debug)]
pub struct Walker<'a> {
    file: &'a dyn DiskFile,
    /// First byte that is not readable.
    limit: u64,
    position: u64,
    chain: Chain,
    /// Records sections at and behind this position are read and checked.
    bodies_from: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Walker<'a> {
    /// Starts at `position`, which must be the start of a batch, and reads no byte at or behind `limit`.
    /// Of batches before `bodies_from` only the headers are checked.
    #[must_use]
    pub fn new(
        file: &'a dyn DiskFile,
        position: FilePosition,
        limit: FilePosition,
        chain: Chain,
        bodies_from: FilePosition,
    ) -> Self {
        Self {
            file,
            limit: limit.0,
            position: position.0,
            chain,
            bodies_from: bodies_from.0,
            buffer: Vec::new(),
            buffer_at: 0,
        }
    }

    /// Returns the position of the next batch.
    #[must_use]
    pub fn position(&self) -> FilePosition {
        FilePosition(self.position)
    }

    /// Returns what the next batch must follow.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Returns the file that the walker reads.
    #[must_use]
    pub fn file(&self) -> &'a dyn DiskFile {
        self.file
    }

    /// Goes on at `position` with the batch of base offset `next_offset`, whatever stood before it.
    pub fn jump(&mut self, position: FilePosition, next_offset: Offset) {
        self.position = position.0;
        self.chain.next_offset = next_offset;
        self.chain.prev_header_crc = None;
    }

    /// Looks at the next batch and moves behind it when it is sound.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn step(&mut self) -> io::Result<Step> {
        let position = self.position;
        let available = self.limit.saturating_sub(position);
        if available == 0 {
            return Ok(Step::End);
        }
        let header = match BatchHeader::decode(self.bytes_at(position, HEADER_BYTES)?) {
            Ok(header) => header,
            Err(reason) => return Ok(Step::Bad(reason)),
        };
        if let Err(reason) = self.chain.check(&header) {
            return Ok(Step::Bad(reason));
        }
        let length = u64::from(header.length);
        if length > available {
            let reason = Corruption::Truncated {
                part: "batch",
                needed: length,
                available,
            };
            return Ok(Step::Bad(reason));
        }
        if position >= self.bodies_from
            && let Err(reason) = header.check_body(self.body(&header, FilePosition(position))?)
        {
            return Ok(Step::Bad(reason));
        }
        self.chain.advance(&header);
        self.position = position.saturating_add(length);
        Ok(Step::Batch {
            header,
            position: FilePosition(position),
        })
    }

    /// Returns the records section of a batch that the walker has just given.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn body(&mut self, header: &BatchHeader, position: FilePosition) -> io::Result<&[u8]> {
        let start = position.0.saturating_add(u64::from(HEADER_BYTES_U32));
        let length = usize::try_from(header.body_bytes()).unwrap_or(usize::MAX);
        self.bytes_at(start, length)
    }

    /// Returns up to `count` bytes at `position`; fewer only at the limit.
    fn bytes_at(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let wanted = u64::try_from(count)
            .unwrap_or(u64::MAX)
            .min(self.limit.saturating_sub(position));
        let held = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        let is_held = position >= self.buffer_at
            && position.saturating_add(wanted) <= self.buffer_at.saturating_add(held);
        if !is_held {
            let ahead = if position >= self.bodies_from {
                READ_AHEAD_BYTES
            } else {
                READ_AHEAD_HEADERS_BYTES
            };
            let read = wanted.max(ahead).min(self.limit.saturating_sub(position));
            self.buffer
                .resize(usize::try_from(read).unwrap_or(usize::MAX), 0);
            // Should the read fail, the buffer holds nothing that could be taken for the file.
            self.buffer_at = u64::MAX;
            read_exact_at(self.file, &mut self.buffer, position)?;
            self.buffer_at = position;
        }
        let from = usize::try_from(position.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }
}
