//! The fixed header of a record batch: the same bytes on the wire, in memory and on disk.
//!
//! All numbers are big-endian.
//!
//! | at | field | bytes | type | meaning | who sets it |
//! |---|---|---|---|---|---|
//! | 0 | magic | 4 | u32 | [`BATCH_MAGIC`], never zero | builder |
//! | 4 | header version | 1 | u8 | [`BATCH_VERSION`] | builder |
//! | 5 | log kind | 1 | u8 | [`LogKind`]; 0 on the wire from a producer | broker |
//! | 6 | attributes | 2 | u16 | see [`Attributes`] | builder (low byte), broker (high byte) |
//! | 8 | length | 4 | u32 | bytes of header and records section | builder |
//! | 12 | partition number | 4 | u32 | 0 from a producer | broker |
//! | 16 | base offset | 8 | u64 | offset of the first record | broker |
//! | 24 | last offset delta | 4 | u32 | offset of the last record minus base offset | builder |
//! | 28 | record count | 4 | u32 | at least 1; last offset delta + 1 | builder |
//! | 32 | unpacked bytes | 4 | u32 | size of the records section before compression | builder |
//! | 36 | base sequence | 4 | u32 | sequence of the first record; [`NO_SEQUENCE`] without a producer id | builder |
//! | 40 | producer id | 8 | u64 | [`NO_PRODUCER`] for a producer that is not idempotent | builder |
//! | 48 | producer epoch | 2 | u16 | 0 without a producer id | builder |
//! | 50 | reserved | 2 | u16 | 0 | builder |
//! | 52 | body CRC | 4 | u32 | CRC-32 of the records section as sent | builder |
//! | 56 | first timestamp | 8 | i64 | ms, the first record's, by the producer's clock | builder |
//! | 64 | max timestamp | 8 | i64 | ms, the largest of the batch, by the producer's clock | builder |
//! | 72 | append time | 8 | i64 | ms, by the broker's clock, never falling within a log | broker |
//! | 80 | previous header CRC | 4 | u32 | header CRC of the batch before in this log; 0 for a log's first | broker |
//! | 84 | durable up to | 8 | u64 | first offset not known synced when this was written | broker |
//! | 92 | header CRC | 4 | u32 | CRC-32 of bytes 0 to 92 | builder, then broker |
//!
//! A producer computes the header CRC with the broker's fields zero. The broker checks it, fills its fields in with
//! [`BatchHeader::stamp`] and computes it once more. The records section follows at byte 96; see [`super::record`].
//!
//! Invariant: a header verifies alone. Decoding checks the magic, the version, the CRC, the attributes and the fields
//! against each other, and nothing outside the 96 bytes; what a batch follows is the scan's business.

pub use super::attributes::{Attributes, Codec};

use super::fields::{Fields, Output};
use crate::checksum::crc32;
use crate::error::Corruption;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 96;
/// The same, as the type that lengths have on disk.
pub const HEADER_BYTES_U32: u32 = 96;
/// Opens every batch: `RDB` and a byte outside ASCII, so that text never looks like a batch.
pub const BATCH_MAGIC: u32 = 0x5244_42F1;
/// The version of this layout.
pub const BATCH_VERSION: u8 = 1;
/// Producer id of a producer that is not idempotent.
pub const NO_PRODUCER: u64 = u64::MAX;
/// Base sequence of a batch without a producer id.
pub const NO_SEQUENCE: u32 = u32::MAX;

const CRC_AT: usize = 92;
const _: () = assert!(CRC_AT + 4 == HEADER_BYTES);
const _: () =
    assert!(4 + 1 + 1 + 2 + 4 + 4 + 8 + 4 * 4 + 8 + 2 + 2 + 4 + 8 * 3 + 4 + 8 + 4 == HEADER_BYTES);

/// Who produced a batch, for the recognition of repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Producer {
    /// Id, from the control log.
    pub id: u64,
    /// Epoch: a higher one fences the lower ones.
    pub epoch: u16,
    /// Sequence of the batch's first record; the sequence wraps from `u32::MAX - 1` to 0.
    pub base_sequence: u32,
}

/// A decoded batch header. The table in the module's docs gives units and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The log that the batch stands in; `None` as a producer sends it.
    pub log: Option<LogId>,
    /// The attribute bits.
    pub attributes: Attributes,
    /// Bytes of header and records section.
    pub length: u32,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Records in the batch, at least 1.
    pub record_count: u32,
    /// Bytes of the records section before compression.
    pub unpacked_bytes: u32,
    /// The idempotent producer, if it is one.
    pub producer: Option<Producer>,
    /// CRC-32 of the records section.
    pub body_crc: u32,
    /// The first record's time by the producer's clock.
    pub first_timestamp: TimestampMs,
    /// The largest time of the batch by the producer's clock.
    pub max_timestamp: TimestampMs,
    /// When the broker appended it.
    pub append_time: TimestampMs,
    /// Header CRC of the batch before in this log.
    pub prev_header_crc: u32,
    /// First offset not known synced when this was written.
    pub durable_up_to: Offset,
    /// CRC-32 of the header.
    pub header_crc: u32,
}

/// What the broker fills in when it appends a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The log that the batch is appended to.
    pub log: LogId,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// When it is appended.
    pub append_time: TimestampMs,
    /// Header CRC of the batch before.
    pub prev_header_crc: u32,
    /// First offset not known synced now.
    pub durable_up_to: Offset,
}

impl BatchHeader {
    /// Decodes and checks the header at the start of `bytes`.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first; `Truncated` with fewer than [`HEADER_BYTES`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let available = bytes.len();
        let header = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(Corruption::Truncated {
                part: "batch header",
                needed: u64::from(HEADER_BYTES_U32),
                available: u64::try_from(available).unwrap_or(u64::MAX),
            })?;
        let mut fields = Fields::new(header);
        let magic = fields.u32();
        if magic != BATCH_MAGIC {
            return Err(Corruption::Magic {
                found: magic,
                expected: BATCH_MAGIC,
            });
        }
        let stored = stored_crc(header);
        let computed = header_crc(header);
        if stored != computed {
            return Err(Corruption::Checksum {
                part: "batch header",
                found: stored,
                computed,
            });
        }
        let version = fields.u8();
        if version != BATCH_VERSION {
            return Err(Corruption::Field {
                field: "header version",
                value: u64::from(version),
            });
        }
        decode_fields(&mut fields, stored)
    }

    /// Encodes the header, computing its CRC anew; `header_crc` is not read.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let (kind, partition) = self
            .log
            .map_or((0, 0), |log| (log.kind.byte(), log.partition.0));
        let (producer_id, epoch, sequence) =
            self.producer.map_or((NO_PRODUCER, 0, NO_SEQUENCE), |p| {
                (p.id, p.epoch, p.base_sequence)
            });
        let mut out = Output::<HEADER_BYTES>::default();
        out.put(&BATCH_MAGIC.to_be_bytes());
        out.put(&[BATCH_VERSION, kind]);
        out.put(&self.attributes.bits().to_be_bytes());
        out.put(&self.length.to_be_bytes());
        out.put(&partition.to_be_bytes());
        out.put(&self.base_offset.0.to_be_bytes());
        out.put(&self.record_count.saturating_sub(1).to_be_bytes());
        out.put(&self.record_count.to_be_bytes());
        out.put(&self.unpacked_bytes.to_be_bytes());
        out.put(&sequence.to_be_bytes());
        out.put(&producer_id.to_be_bytes());
        out.put(&epoch.to_be_bytes());
        out.put(&[0, 0]);
        out.put(&self.body_crc.to_be_bytes());
        out.put(&self.first_timestamp.0.to_be_bytes());
        out.put(&self.max_timestamp.0.to_be_bytes());
        out.put(&self.append_time.0.to_be_bytes());
        out.put(&self.prev_header_crc.to_be_bytes());
        out.put(&self.durable_up_to.0.to_be_bytes());
        let crc = header_crc(out.bytes());
        out.put(&crc.to_be_bytes());
        *out.bytes()
    }

    /// Returns the header with the broker's fields filled in. Its `header_crc` is that of the stamped bytes.
    #[must_use]
    pub fn stamp(mut self, stamp: &Stamp) -> Self {
        self.log = Some(stamp.log);
        self.base_offset = stamp.base_offset;
        self.append_time = stamp.append_time;
        self.prev_header_crc = stamp.prev_header_crc;
        self.durable_up_to = stamp.durable_up_to;
        self.header_crc = stored_crc(&self.encode());
        self
    }

    /// Returns the offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(u64::from(self.record_count.saturating_sub(1))),
        )
    }

    /// Returns the offset of the batch that follows (exclusive end of this one).
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Returns the bytes of the records section.
    #[must_use]
    pub fn body_bytes(&self) -> u32 {
        self.length.saturating_sub(HEADER_BYTES_U32)
    }

    /// Checks the records section against the body CRC.
    ///
    /// # Errors
    /// [`Corruption::Checksum`], or [`Corruption::Truncated`] when `body` has another length than the header says.
    pub fn check_body(&self, body: &[u8]) -> Result<(), Corruption> {
        let available = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let needed = u64::from(self.body_bytes());
        if available != needed {
            return Err(Corruption::Truncated {
                part: "records section",
                needed,
                available,
            });
        }
        let computed = crc32(body);
        if computed != self.body_crc {
            return Err(Corruption::Checksum {
                part: "records section",
                found: self.body_crc,
                computed,
            });
        }
        Ok(())
    }
}

fn decode_fields(fields: &mut Fields<'_>, header_crc: u32) -> Result<BatchHeader, Corruption> {
    let kind = fields.u8();
    let attributes = Attributes::from_bits(fields.u16())?;
    let length = fields.u32();
    if length < HEADER_BYTES_U32 {
        return Err(Corruption::Field {
            field: "length",
            value: u64::from(length),
        });
    }
    let log = decode_log(kind, fields.u32())?;
    let base_offset = Offset(fields.u64());
    let last_offset_delta = fields.u32();
    let record_count = fields.u32();
    if record_count == 0 || record_count.checked_sub(1) != Some(last_offset_delta) {
        return Err(Corruption::Field {
            field: "record count",
            value: u64::from(record_count),
        });
    }
    // The end of the log must stay representable, so that no later sum can overflow.
    if base_offset.checked_add(u64::from(record_count)).is_none() {
        return Err(Corruption::Field {
            field: "base offset",
            value: base_offset.0,
        });
    }
    let unpacked_bytes = fields.u32();
    let base_sequence = fields.u32();
    let producer_id = fields.u64();
    let epoch = fields.u16();
    let producer = decode_producer(producer_id, epoch, base_sequence)?;
    let reserved = fields.u16();
    if reserved != 0 {
        return Err(Corruption::Field {
            field: "reserved",
            value: u64::from(reserved),
        });
    }
    Ok(BatchHeader {
        log,
        attributes,
        length,
        base_offset,
        record_count,
        unpacked_bytes,
        producer,
        body_crc: fields.u32(),
        first_timestamp: TimestampMs(fields.i64()),
        max_timestamp: TimestampMs(fields.i64()),
        append_time: TimestampMs(fields.i64()),
        prev_header_crc: fields.u32(),
        durable_up_to: Offset(fields.u64()),
        header_crc,
    })
}

fn decode_log(kind: u8, partition: u32) -> Result<Option<LogId>, Corruption> {
    match (kind, LogKind::from_byte(kind)) {
        (_, Some(kind)) => Ok(Some(LogId::new(PartitionNumber(partition), kind))),
        (0, None) if partition == 0 => Ok(None),
        _ => Err(Corruption::WrongLog {
            found_partition: partition,
            found_kind: kind,
        }),
    }
}

fn decode_producer(
    id: u64,
    epoch: u16,
    base_sequence: u32,
) -> Result<Option<Producer>, Corruption> {
    match (id, base_sequence) {
        (NO_PRODUCER, NO_SEQUENCE) if epoch == 0 => Ok(None),
        (NO_PRODUCER, _) | (_, NO_SEQUENCE) => Err(Corruption::Field {
            field: "base sequence",
            value: u64::from(base_sequence),
        }),
        _ => Ok(Some(Producer {
            id,
            epoch,
            base_sequence,
        })),
    }
}

fn header_crc(header: &[u8; HEADER_BYTES]) -> u32 {
    crc32(
        header
            .first_chunk::<CRC_AT>()
            .map_or(&[][..], <[u8; CRC_AT]>::as_slice),
    )
}

fn stored_crc(header: &[u8; HEADER_BYTES]) -> u32 {
    header
        .last_chunk::<4>()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
