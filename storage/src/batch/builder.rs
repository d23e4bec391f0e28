//! Builds record batches.
//!
//! The records are encoded into one growing buffer with room for the header in front, so an uncompressed batch is built
//! without copying a record twice and without an allocation for each.

use super::codec::pack;
use super::header::{Attributes, BatchHeader, Codec, HEADER_BYTES, HEADER_BYTES_U32, Producer};
pub use super::measure::BuildError;
use super::measure::{Parts, SECTION_BYTES_MAX, bytes_u64, length_i32, timestamp_error, too_large};
use super::record::NewRecord;
use super::varint::{size_of_u64, write_i32, write_u64, zigzag_i64};
use crate::checksum::crc32;
use crate::limits::RECORD_COUNT_MAX;
use crate::offset::{Offset, TimestampMs};

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
        Self::with_capacity(codec, 0)
    }

    /// Begins an empty batch with room for `section_bytes` of records: up to there nothing is copied as it grows.
    #[must_use]
    pub fn with_capacity(codec: Codec, section_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES.saturating_add(section_bytes));
        buffer.resize(HEADER_BYTES, 0);
        Self {
            codec,
            buffer,
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
        let mut lead = Lead::new(&mut self.buffer);
        lead.number(length);
        lead.number(0);
        lead.number(delta);
        lead.number(offset_delta);
        lead.number(parts.key_length);
        if let Some(key) = record.key {
            lead.finish();
            self.buffer.extend_from_slice(key);
            lead = Lead::new(&mut self.buffer);
        }
        lead.number(parts.value_length);
        lead.finish();
        if let Some(value) = record.value {
            self.buffer.extend_from_slice(value);
        }
        if record.headers.is_empty() {
            self.buffer.push(0);
        } else {
            self.write_headers(record);
        }
    }

    #[inline(never)]
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

/// Collects small numbers in a register: one store of a fixed size into the buffer instead of one for each byte.
struct Lead<'a> {
    buffer: &'a mut Vec<u8>,
    /// The encoded bytes, the last one lowest.
    word: u64,
    /// Bytes in use of the word.
    count: u32,
}

const WORD_BYTES: u32 = 8;

impl<'a> Lead<'a> {
    #[inline]
    fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            word: 0,
            count: 0,
        }
    }

    #[inline]
    fn number(&mut self, value: u64) {
        if self.count + 2 > WORD_BYTES {
            self.flush();
        }
        if value < 1 << 7 {
            self.word = self.word << 8 | value;
            self.count += 1;
        } else if value < 1 << 14 {
            self.word = self.word << 16 | (value & 0x7f | 0x80) << 8 | value >> 7;
            self.count += 2;
        } else {
            self.long(value);
        }
    }

    #[cold]
    fn long(&mut self, value: u64) {
        self.flush();
        write_u64(self.buffer, value);
    }

    #[inline]
    fn flush(&mut self) {
        let unused = WORD_BYTES.saturating_sub(self.count);
        let bytes = self.word.unbounded_shl(8 * unused).to_be_bytes();
        self.buffer.extend_from_slice(&bytes);
        let kept = self
            .buffer
            .len()
            .saturating_sub(usize::try_from(unused).unwrap_or(0));
        self.buffer.truncate(kept);
        self.word = 0;
        self.count = 0;
    }

    #[inline]
    fn finish(mut self) {
        self.flush();
    }
}
