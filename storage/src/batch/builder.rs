//! Builds record batches.
//!
//! The records are encoded into one growing buffer with room for the header in front, so an uncompressed batch is built
//! without copying a record twice and without an allocation for each.

use std::io;

use super::codec::pack;
use super::header::{Attributes, BatchHeader, Codec, HEADER_BYTES, HEADER_BYTES_U32, Producer};
use super::record::{NewRecord, RESERVED_PREFIX};
use super::varint::{
    VARINT_BYTES_MAX, VARLONG_BYTES_MAX, low_bits, size_of_u64, write_i32, zigzag_i32, zigzag_i64,
};
use crate::checksum::crc32;
use crate::limits::{
    BATCH_BYTES_CEILING, HEADER_COUNT_MAX, HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX,
    KEY_BYTES_MAX, RECORD_COUNT_MAX,
};
use crate::offset::{Offset, TimestampMs};

/// Largest unpacked section that is built, in bytes.
const SECTION_BYTES_MAX: u32 = BATCH_BYTES_CEILING - HEADER_BYTES_U32;

/// Who builds a batch, which decides whether its reserved record headers mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BrokerMark {
    /// A producer: reserved headers are refused.
    #[default]
    Client,
    /// The broker.
    Broker,
    /// The broker, and records of the batch carry causes.
    BrokerWithCauses,
}

/// What a batch is built with besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// The idempotent producer, if it is one.
    pub producer: Option<Producer>,
    /// Who builds it.
    pub broker: BrokerMark,
}

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

/// Collects records into a batch.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Codec,
    /// Room for the header, then the encoded records.
    buffer: Vec<u8>,
    record_count: u32,
    first_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    has_reserved_headers: bool,
}

impl BatchBuilder {
    /// Begins an empty batch.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            buffer: vec![0; HEADER_BYTES],
            record_count: 0,
            first_timestamp: TimestampMs(0),
            max_timestamp: TimestampMs(0),
            has_reserved_headers: false,
        }
    }

    /// Adds a record at the end.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] for a record or a batch that no log takes, [`BuildError::Timestamp`]; the record is not
    /// added then.
    #[inline]
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        let first = if self.record_count == 0 {
            record.timestamp
        } else {
            self.first_timestamp
        };
        let delta = record
            .timestamp
            .0
            .checked_sub(first.0)
            .ok_or_else(|| timestamp_error(record.timestamp, first))?;
        if self.record_count >= RECORD_COUNT_MAX {
            return Err(too_large(
                "record count",
                u64::from(self.record_count).saturating_add(1),
                RECORD_COUNT_MAX,
            ));
        }
        let parts = Parts::measure(record)?;
        let offset_delta = u64::from(self.record_count) << 1;
        let delta = zigzag_i64(delta);
        // The sizes are below the ceilings that `measure` checked, so these sums cannot overflow.
        let length = 1
            + u64::from(size_of_u64(delta))
            + u64::from(size_of_u64(offset_delta))
            + parts.encoded_bytes;
        let size_after = length + self.section_bytes_u64() + 5;
        if size_after > u64::from(SECTION_BYTES_MAX) {
            return Err(too_large("batch, in bytes,", size_after, SECTION_BYTES_MAX));
        }
        self.write(record, &parts, [length << 1, delta, offset_delta]);
        self.has_reserved_headers |= parts.has_reserved_headers;
        self.max_timestamp = if self.record_count == 0 {
            record.timestamp
        } else {
            self.max_timestamp.max(record.timestamp)
        };
        self.first_timestamp = first;
        self.record_count += 1;
        Ok(())
    }

    /// Returns how many records the batch has so far.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Returns whether the batch has no records yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Returns the bytes of the records section before compression.
    #[must_use]
    pub fn unpacked_bytes(&self) -> u32 {
        // `push` keeps the section below `SECTION_BYTES_MAX`.
        u32::try_from(self.section_bytes_u64()).unwrap_or(u32::MAX)
    }

    /// Returns the most bytes that the batch can have when it is built now. Compression only makes it smaller.
    #[must_use]
    pub fn estimated_bytes(&self) -> u32 {
        self.unpacked_bytes().saturating_add(HEADER_BYTES_U32)
    }

    /// Returns the whole batch, the broker's fields zero, and begins an empty one. A section that its codec does not make
    /// smaller stands uncompressed, and the attributes say so.
    ///
    /// # Errors
    /// [`BuildError::Empty`], [`BuildError::ReservedHeader`], [`BuildError::Pack`]; the records stay in the builder then.
    pub fn build(&mut self, options: BuildOptions) -> Result<Vec<u8>, BuildError> {
        if self.is_empty() {
            return Err(BuildError::Empty);
        }
        if self.has_reserved_headers && options.broker == BrokerMark::Client {
            return Err(BuildError::ReservedHeader);
        }
        let unpacked_bytes = self.unpacked_bytes();
        let (codec, mut batch) = if let Some(packed) = self.packed()? {
            (self.codec, packed)
        } else {
            // The next batch is likely as large as this one.
            let next = Vec::with_capacity(self.buffer.len());
            (Codec::None, std::mem::replace(&mut self.buffer, next))
        };
        let body = batch.get(HEADER_BYTES..).unwrap_or_default();
        let header = BatchHeader {
            log: None,
            attributes: Attributes {
                codec,
                is_broker_built: options.broker != BrokerMark::Client,
                holds_causes: options.broker == BrokerMark::BrokerWithCauses,
            },
            length: u32::try_from(batch.len()).unwrap_or(u32::MAX),
            base_offset: Offset::ZERO,
            record_count: self.record_count,
            unpacked_bytes,
            producer: options.producer,
            body_crc: crc32(body),
            first_timestamp: self.first_timestamp,
            max_timestamp: self.max_timestamp,
            append_time: TimestampMs(0),
            prev_header_crc: 0,
            durable_up_to: Offset::ZERO,
            header_crc: 0,
        };
        if let Some(place) = batch.first_chunk_mut::<HEADER_BYTES>() {
            *place = header.encode();
        }
        self.clear();
        Ok(batch)
    }

    /// Drops the records, keeping the buffer.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.resize(HEADER_BYTES, 0);
        self.record_count = 0;
        self.has_reserved_headers = false;
    }

    /// Takes the buffer of a batch that is no longer needed for the batches to come. Does nothing while records are held.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if self.is_empty() && buffer.capacity() > self.buffer.capacity() {
            self.buffer = buffer;
            self.clear();
        }
    }

    fn packed(&self) -> Result<Option<Vec<u8>>, BuildError> {
        if self.codec == Codec::None {
            return Ok(None);
        }
        let section = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
        let mut out = vec![0; HEADER_BYTES];
        pack(self.codec, section, &mut out).map_err(|source| BuildError::Pack { source })?;
        Ok((out.len() < self.buffer.len()).then_some(out))
    }

    #[inline]
    fn section_bytes_u64(&self) -> u64 {
        bytes_u64(self.buffer.len()).saturating_sub(u64::from(HEADER_BYTES_U32))
    }

    /// Writes the record; `numbers` are the zig-zag forms of length, timestamp delta and offset delta.
    #[inline]
    fn write(&mut self, record: &NewRecord<'_>, parts: &Parts, numbers: [u64; 3]) {
        let [length, delta, offset_delta] = numbers;
        let mut lead = Lead::default();
        lead.number(length);
        lead.byte(0);
        lead.number(delta);
        lead.number(offset_delta);
        lead.number(parts.key_length);
        if let Some(key) = record.key {
            lead.append_to(&mut self.buffer);
            self.buffer.extend_from_slice(key);
            lead = Lead::default();
        }
        lead.number(parts.value_length);
        lead.append_to(&mut self.buffer);
        if let Some(value) = record.value {
            self.buffer.extend_from_slice(value);
        }
        if record.headers.is_empty() {
            self.buffer.push(0);
        } else {
            self.write_headers(record);
        }
    }

    fn write_headers(&mut self, record: &NewRecord<'_>) {
        let out = &mut self.buffer;
        write_i32(out, length_i32(record.headers.len()));
        for header in record.headers {
            write_i32(out, length_i32(header.name.len()));
            out.extend_from_slice(header.name.as_bytes());
            write_i32(
                out,
                header.value.map_or(-1, |value| length_i32(value.len())),
            );
            out.extend_from_slice(header.value.unwrap_or_default());
        }
    }
}

/// The sizes of a record's parts, once they are known to keep the limits.
struct Parts {
    /// Zig-zag form of the key's length.
    key_length: u64,
    /// Zig-zag form of the value's length.
    value_length: u64,
    /// Bytes of everything from the key's length to the record's end.
    encoded_bytes: u64,
    has_reserved_headers: bool,
}

impl Parts {
    #[inline]
    fn measure(record: &NewRecord<'_>) -> Result<Self, BuildError> {
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

/// The fixed part of a record, put together on the stack: one copy into the buffer instead of one for each number.
#[derive(Default)]
struct Lead {
    bytes: [u8; LEAD_BYTES],
    at: usize,
}

const LEAD_BYTES: usize = 32;
// Length, offset delta, key length and value length; timestamp delta; attributes.
const _: () = assert!(4 * VARINT_BYTES_MAX + VARLONG_BYTES_MAX < LEAD_BYTES);

impl Lead {
    #[inline]
    fn byte(&mut self, byte: u8) {
        // The mask holds the place inside the array, which the assertion above says it never leaves.
        if let Some(place) = self.bytes.get_mut(self.at & (LEAD_BYTES - 1)) {
            *place = byte;
        }
        self.at = self.at.wrapping_add(1);
    }

    #[inline]
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.byte(low_bits(value));
    }

    #[inline]
    fn append_to(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self.bytes.get(..self.at).unwrap_or_default());
    }
}

#[cold]
fn too_large(part: &'static str, found: u64, limit: u32) -> BuildError {
    BuildError::TooLarge {
        part,
        found,
        limit: u64::from(limit),
    }
}

#[cold]
fn timestamp_error(found: TimestampMs, first: TimestampMs) -> BuildError {
    BuildError::Timestamp { found, first }
}

#[inline]
fn bytes_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Lengths are below the ceilings when they are written; a longer one is refused by the sum of bytes.
fn length_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn size_of_i32(value: i32) -> u32 {
    size_of_u64(u64::from(zigzag_i32(value)))
}
