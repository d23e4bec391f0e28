//! What a segment header that does not verify must have held. Reads and decides; writes nothing.
//!
//! The log is known from the directory, the base offset from the file's name. The first batch proves both for the bytes behind
//! the header, and carries the one field that is known from nowhere else: the header CRC of the batch before. All of that is under
//! the batch's own header CRC, so its records need not be whole.

use std::io;

use super::{Chain, SEGMENT_HEADER_BYTES_U64, SegmentHeader};
use crate::batch::header::{BatchHeader, HEADER_BYTES};
use crate::disk::{DiskFile, read_exact_at};
use crate::error::Corruption;
use crate::offset::FilePosition;

/// Why it is not certain what a header held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Nothing stands behind the header.
    #[error("no batch follows that says what it held")]
    NoBatch,
    /// The first batch does not verify, or is not the one that the file's name says.
    #[error("the first batch does not say what it held: {0}")]
    FirstBatch(Corruption),
    /// The first batch is damaged and nothing says that it was durable: with a sound header a start would take all of it for a
    /// torn tail, and cut what can be read behind it.
    #[error(
        "its first batch is damaged as well, and a start would then cut what follows; give that batch up instead"
    )]
    WouldBeCut,
    /// The first batch does not follow the segment before.
    #[error("the first batch does not follow the segment before: {0}")]
    Neighbour(Corruption),
}

/// Returns the header of the segment in `file`, of which `limit` bytes are readable and which `expected` says where it belongs:
/// its log, its base offset and, where the segment before is whole, the header CRC that it follows.
///
/// # Errors
/// Any error of the disk; the inner one when it is not certain what the header held.
pub fn rebuild(
    file: &dyn DiskFile,
    limit: FilePosition,
    expected: &Chain,
) -> io::Result<Result<SegmentHeader, Unproven>> {
    let mut bytes = [0; HEADER_BYTES];
    let count = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    if limit.0 < SEGMENT_HEADER_BYTES_U64.saturating_add(count) {
        return Ok(Err(Unproven::NoBatch));
    }
    read_exact_at(file, &mut bytes, SEGMENT_HEADER_BYTES_U64)?;
    let here = Chain::unanchored(expected.log, expected.next_offset);
    let first = match BatchHeader::decode(&bytes) {
        Ok(header) => header,
        Err(reason) => return Ok(Err(Unproven::FirstBatch(reason))),
    };
    if let Err(reason) = here.check(&first) {
        return Ok(Err(Unproven::FirstBatch(reason)));
    }
    let found = first.prev_header_crc;
    if let Some(expected) = expected.prev_header_crc.filter(|crc| *crc != found) {
        let reason = Corruption::BrokenChain { found, expected };
        return Ok(Err(Unproven::Neighbour(reason)));
    }
    Ok(Ok(SegmentHeader {
        log: expected.log,
        base_offset: expected.next_offset,
        prev_header_crc: found,
    }))
}
