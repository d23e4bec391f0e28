//! Measures a record before it is written, and refuses one that no log takes: so writing it cannot fail half way, and the
//! sums over its sizes cannot overflow.

use std::io;

use super::header::HEADER_BYTES_U32;
use super::record::{NewRecord, RESERVED_PREFIX};
use super::varint::{size_of_u64, zigzag_i32};
use crate::error::LogError;
use crate::limits::{
    BATCH_BYTES_CEILING, HEADER_COUNT_MAX, HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX,
    KEY_BYTES_MAX,
};
use crate::offset::TimestampMs;

/// Largest unpacked section that is built, in bytes.
pub(super) const SECTION_BYTES_MAX: u32 = BATCH_BYTES_CEILING - HEADER_BYTES_U32;

/// Why a record is not taken or a batch not built. The builder is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A part of the record, or the batch, would be larger than any log takes.
    #[error("the {part} has {found}, at most {limit} are allowed")]
    TooLarge {
        /// The part, with the unit.
        part: &'static str,
        /// Its size.
        found: u64,
        /// The largest right size.
        limit: u64,
    },
    /// The record's time is too far from the first record's.
    #[error("the timestamp {found} is too far from the batch's first, {first}")]
    Timestamp {
        /// The record's time.
        found: TimestampMs,
        /// The first record's.
        first: TimestampMs,
    },
    /// A batch has at least one record.
    #[error("the batch has no records")]
    Empty,
    /// A producer's record has a header whose name belongs to the broker.
    #[error(
        "a record has a header whose name begins with {RESERVED_PREFIX:?}, which only the broker may use"
    )]
    ReservedHeader,
    /// The codec failed.
    #[error("cannot compress the records")]
    Pack {
        /// What the codec said.
        source: io::Error,
    },
}

impl BuildError {
    /// Returns the error of a log that is to take the batch: it is too large, and by how much.
    #[must_use]
    pub fn as_log_error(&self) -> LogError {
        match self {
            Self::TooLarge { found, limit, .. } => LogError::BatchTooLarge {
                bytes: *found,
                bytes_max: *limit,
            },
            _ => LogError::BatchTooLarge {
                bytes: 0,
                bytes_max: u64::from(BATCH_BYTES_CEILING),
            },
        }
    }
}

/// The sizes of a record's parts, once they are known to keep the limits.
#[derive(Debug)]
pub(super) struct Parts {
    /// Zig-zag form of the key's length.
    pub(super) key_length: u64,
    /// Zig-zag form of the value's length.
    pub(super) value_length: u64,
    /// Bytes of everything from the key's length to the record's end.
    pub(super) encoded_bytes: u64,
    /// Whether a header name has the prefix that belongs to the broker.
    pub(super) has_reserved_headers: bool,
}

impl Parts {
    #[inline]
    pub(super) fn measure(record: &NewRecord<'_>) -> Result<Self, BuildError> {
        let key_bytes = record.key.map_or(0, |key| bytes_u64(key.len()));
        let value_bytes = record.value.map_or(0, |value| bytes_u64(value.len()));
        if key_bytes > u64::from(KEY_BYTES_MAX) {
            return Err(too_large("key, in bytes,", key_bytes, KEY_BYTES_MAX));
        }
        if value_bytes > u64::from(SECTION_BYTES_MAX) {
            return Err(too_large(
                "value, in bytes,",
                value_bytes,
                SECTION_BYTES_MAX,
            ));
        }
        let key_length = record.key.map_or(1, |_| key_bytes << 1);
        let value_length = record.value.map_or(1, |_| value_bytes << 1);
        let mut parts = Self {
            key_length,
            value_length,
            encoded_bytes: key_bytes
                + value_bytes
                + u64::from(size_of_u64(key_length))
                + u64::from(size_of_u64(value_length))
                + 1,
            has_reserved_headers: false,
        };
        if !record.headers.is_empty() {
            parts.measure_headers(record)?;
        }
        Ok(parts)
    }

    #[inline(never)]
    fn measure_headers(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        let mut count = 0_u64;
        let mut bytes = u64::from(size_of_i32(length_i32(record.headers.len())));
        for header in record.headers {
            let name_bytes = bytes_u64(header.name.len());
            let value_bytes = header.value.map_or(0, |value| bytes_u64(value.len()));
            let is_reserved = header.name.starts_with(RESERVED_PREFIX);
            self.has_reserved_headers |= is_reserved;
            // The broker's own headers come on top of a producer's: they must not push a record over its limits.
            if !is_reserved {
                count = count.saturating_add(1);
                check_header(name_bytes, value_bytes)?;
            }
            let value_length = header.value.map_or(-1, |value| length_i32(value.len()));
            bytes = bytes
                .saturating_add(name_bytes)
                .saturating_add(value_bytes)
                .saturating_add(u64::from(size_of_i32(length_i32(header.name.len()))))
                .saturating_add(u64::from(size_of_i32(value_length)));
        }
        if count > u64::from(HEADER_COUNT_MAX) {
            return Err(too_large("header count", count, HEADER_COUNT_MAX));
        }
        if bytes > u64::from(SECTION_BYTES_MAX) {
            return Err(too_large("headers, in bytes,", bytes, SECTION_BYTES_MAX));
        }
        // One byte was counted for a header count of zero.
        self.encoded_bytes = self.encoded_bytes.saturating_sub(1).saturating_add(bytes);
        Ok(())
    }
}

fn check_header(name_bytes: u64, value_bytes: u64) -> Result<(), BuildError> {
    if name_bytes > u64::from(HEADER_NAME_BYTES_MAX) {
        return Err(too_large(
            "header name, in bytes,",
            name_bytes,
            HEADER_NAME_BYTES_MAX,
        ));
    }
    if value_bytes > u64::from(HEADER_VALUE_BYTES_MAX) {
        return Err(too_large(
            "header value, in bytes,",
            value_bytes,
            HEADER_VALUE_BYTES_MAX,
        ));
    }
    Ok(())
}

#[cold]
pub(super) fn too_large(part: &'static str, found: u64, limit: u32) -> BuildError {
    BuildError::TooLarge {
        part,
        found,
        limit: u64::from(limit),
    }
}

#[cold]
pub(super) fn timestamp_error(found: TimestampMs, first: TimestampMs) -> BuildError {
    BuildError::Timestamp { found, first }
}

#[inline]
pub(super) fn bytes_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Lengths are below the ceilings when they are written; a longer one is refused by the sum of bytes.
pub(super) fn length_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn size_of_i32(value: i32) -> u32 {
    size_of_u64(u64::from(zigzag_i32(value)))
}
