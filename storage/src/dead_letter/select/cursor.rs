//! Where the next page of a selection goes on, as text that a caller hands back.
//!
//! The text is base64url without padding (`A-Za-z0-9-_`) of:
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | version | 1 | u8 | [`CURSOR_VERSION`] |
//! | 1 | order | 1 | u8 | 0 oldest first, 1 newest first |
//! | 2 | filter | 8 | u64 | [`LetterFilter::hash`] |
//! | 10 | partitions | | | to the checksum, by rising number: three varints: number (less the one before), first offset, offsets |
//! | end - 4 | checksum | 4 | u32 | CRC-32 of everything before it |
//!
//! A varint has seven bits a byte, lowest first, the high bit on all but the last, in its shortest form only. A cursor has
//! one text: bits that mean nothing are zero. The checksum catches damage and mistyping. It is no secret, and a forged
//! cursor selects nothing that its caller could not ask for.

use std::fmt;
use std::str::FromStr;

use super::filter::{LetterFilter, Order};
use super::merge::PartitionRange;
use crate::checksum::crc32;
use crate::dead_letter::limits::{CURSOR_PARTITION_COUNT_MAX, CURSOR_TEXT_BYTES_MAX};
use crate::log_id::PartitionNumber;
use crate::offset::Offset;

/// The version of this layout.
pub const CURSOR_VERSION: u8 = 1;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const FIXED_BYTES: usize = 10 + 4;
const RANGE_BYTES_MAX: usize = 5 + 10 + 10;

const _: () = assert!(
    (FIXED_BYTES + CURSOR_PARTITION_COUNT_MAX * RANGE_BYTES_MAX).div_ceil(3) * 4
        <= CURSOR_TEXT_BYTES_MAX
);

/// What is left of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    order: Order,
    filter_hash: u64,
    remaining: Vec<PartitionRange>,
}

/// A cursor that cannot be used, or not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The text has another form than a cursor.
    #[error("this is no cursor")]
    Malformed,
    /// The check in it failed.
    #[error("the cursor is damaged or mistyped")]
    Damaged,
    /// It has another version than this program knows.
    #[error("the cursor has version {found}, this program knows {CURSOR_VERSION}")]
    UnknownVersion {
        /// The version.
        found: u8,
    },
    /// It comes from a page of another filter.
    #[error("the cursor belongs to a selection with another filter")]
    OtherFilter,
    /// It comes from a page of the other order.
    #[error("the cursor belongs to a selection with another order")]
    OtherOrder,
    /// More partitions are left than a cursor carries.
    #[error(
        "the selection goes over {count} partitions, a cursor carries at most {CURSOR_PARTITION_COUNT_MAX}: name a topic"
    )]
    TooManyPartitions {
        /// Partitions with something left.
        count: usize,
    },
}

impl Cursor {
    /// Makes the cursor to what is left of a selection. Empty ranges are dropped.
    ///
    /// # Errors
    /// [`CursorError::TooManyPartitions`]; [`CursorError::Malformed`] when a partition is there twice.
    pub fn new(
        order: Order,
        filter: &LetterFilter,
        remaining: &[PartitionRange],
    ) -> Result<Self, CursorError> {
        let mut remaining: Vec<_> = remaining
            .iter()
            .filter(|r| !r.is_empty())
            .copied()
            .collect();
        remaining.sort_unstable_by_key(|range| range.partition);
        if remaining.len() > CURSOR_PARTITION_COUNT_MAX {
            return Err(CursorError::TooManyPartitions {
                count: remaining.len(),
            });
        }
        if !remaining.is_sorted_by(|one, next| one.partition < next.partition) {
            return Err(CursorError::Malformed);
        }
        Ok(Self {
            order,
            filter_hash: filter.hash(),
            remaining,
        })
    }

    /// Returns what is left, by rising partition number; each range has offsets in it.
    ///
    /// # Errors
    /// [`CursorError::OtherFilter`] and [`CursorError::OtherOrder`] when the cursor belongs to another selection.
    pub fn remaining(
        &self,
        order: Order,
        filter: &LetterFilter,
    ) -> Result<&[PartitionRange], CursorError> {
        if self.filter_hash != filter.hash() {
            return Err(CursorError::OtherFilter);
        }
        if self.order != order {
            return Err(CursorError::OtherOrder);
        }
        Ok(&self.remaining)
    }

    fn bytes(&self) -> Vec<u8> {
        let order = match self.order {
            Order::OldestFirst => 0,
            Order::NewestFirst => 1,
        };
        let mut bytes = vec![CURSOR_VERSION, order];
        bytes.extend_from_slice(&self.filter_hash.to_be_bytes());
        let mut before = 0;
        for range in &self.remaining {
            put_varint(&mut bytes, u64::from(range.partition.0 - before));
            put_varint(&mut bytes, range.from.0);
            put_varint(&mut bytes, range.to.0 - range.from.0);
            before = range.partition.0;
        }
        let checksum = crc32(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CursorError> {
        let (covered, checksum) = bytes
            .split_last_chunk::<4>()
            .ok_or(CursorError::Malformed)?;
        if u32::from_be_bytes(*checksum) != crc32(covered) {
            return Err(CursorError::Damaged);
        }
        Self::from_checked(covered)
    }

    /// Decodes what stands before the checksum.
    pub(super) fn from_checked(bytes: &[u8]) -> Result<Self, CursorError> {
        let ([version, order], rest) = bytes.split_first_chunk().ok_or(CursorError::Malformed)?;
        if *version != CURSOR_VERSION {
            return Err(CursorError::UnknownVersion { found: *version });
        }
        let order = match order {
            0 => Order::OldestFirst,
            1 => Order::NewestFirst,
            _ => return Err(CursorError::Malformed),
        };
        let (filter_hash, ranges) = rest.split_first_chunk().ok_or(CursorError::Malformed)?;
        Ok(Self {
            order,
            filter_hash: u64::from_be_bytes(*filter_hash),
            remaining: decode_ranges(ranges).ok_or(CursorError::Malformed)?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64(&self.bytes()))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > CURSOR_TEXT_BYTES_MAX {
            return Err(CursorError::Malformed);
        }
        Self::from_bytes(&from_base64(text).ok_or(CursorError::Malformed)?)
    }
}

fn decode_ranges(bytes: &[u8]) -> Option<Vec<PartitionRange>> {
    let mut rest = bytes;
    let mut ranges: Vec<PartitionRange> = Vec::new();
    while !rest.is_empty() {
        let step = u32::try_from(varint(&mut rest)?).ok()?;
        let partition = match ranges.last() {
            Some(_) if step == 0 => return None,
            Some(before) => PartitionNumber(before.partition.0.checked_add(step)?),
            None => PartitionNumber(step),
        };
        let from = Offset(varint(&mut rest)?);
        let to = from.checked_add(varint(&mut rest)?)?;
        if from == to || ranges.len() == CURSOR_PARTITION_COUNT_MAX {
            return None;
        }
        ranges.push(PartitionRange {
            partition,
            from,
            to,
        });
    }
    Some(ranges)
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut left = value;
    loop {
        let [.., low] = (left & 0x7f).to_be_bytes();
        left >>= 7;
        if left == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads a varint in its shortest form; `None` for anything else.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let placed = bits << shift;
        if placed >> shift != bits {
            return None;
        }
        value |= placed;
        if byte & 0x80 == 0 {
            return (*byte != 0 || shift == 0).then_some(value);
        }
    }
    None
}

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let mut group = [0; 4];
        for (place, byte) in group.iter_mut().skip(1).zip(three) {
            *place = *byte;
        }
        let group = u32::from_be_bytes(group);
        for shift in [18, 12, 6, 0].into_iter().take(three.len() + 1) {
            let digit = usize::try_from((group >> shift) & 0x3f).unwrap_or_default();
            text.push(char::from(ALPHABET.get(digit).copied().unwrap_or_default()));
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.as_bytes().chunks(4) {
        let mut group = 0_u32;
        for (digit, shift) in four.iter().zip([18, 12, 6, 0]) {
            group |= digit_of(*digit)? << shift;
        }
        let [_, three @ ..] = group.to_be_bytes();
        // A last group of one digit has not even one byte.
        let (kept, unused) = three.split_at_checked(four.len().checked_sub(1)?)?;
        if kept.is_empty() || unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn digit_of(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}
