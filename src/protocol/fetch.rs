//! Fetch: reads batches, and waits for new ones (a long poll).
//!
//! | request | type | meaning |
//! |---|---|---|
//! | partitions | array of (topic string, partition index `u32`, offset, bytes max `u32`) | where to read from, and how much at most of each |
//! | bytes min | `u32` | answer as soon as so many bytes are there, over all partitions; 0: at once |
//! | bytes max | `u32` | at most so many bytes over all partitions; the first batch comes even if it is larger |
//! | wait ms max | `u32` | answer after so many milliseconds with what is there; at most [`FETCH_WAIT_MS_MAX`](crate::limits::FETCH_WAIT_MS_MAX) |
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | partitions | array of partition | one for each that was asked for, in that order |
//!
//! | partition | type | meaning |
//! |---|---|---|
//! | refusal | code `u16`, message string | 0 when nothing was refused |
//! | log start, high watermark | offset, offset | the range that can be read; also with a refusal such as [`OffsetOutOfRange`](super::error_code::ErrorCode::OffsetOutOfRange) |
//! | batches | bytes | whole batches one after the other, as they stand in the log; the first contains the offset |
//!
//! A partition that refuses makes the fetch answer at once. A reader drops the records below the offset that it asked
//! for: a batch is never cut. The offset to ask for next is the one behind the last batch.

use bytes::Bytes;
use storage::offset::Offset;

use super::api_key::ApiKey;
use super::cursor::{DecodeError, Reader, Wire, Writer, wire_struct};
use super::error_code::Refusal;
use super::frame::Request;

/// Asks for batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Where to read from.
    pub partitions: Vec<FetchPartition>,
    /// How many bytes are worth an answer before the wait is over.
    pub bytes_min: u32,
    /// How many bytes the answer may have.
    pub bytes_max: u32,
    /// How long to wait, in milliseconds.
    pub wait_ms_max: u32,
}
wire_struct!(FetchRequest {
    partitions,
    bytes_min,
    bytes_max,
    wait_ms_max
});

/// Where to read from in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    /// Topic.
    pub topic: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// First offset wanted.
    pub offset: Offset,
    /// How many bytes this partition may give.
    pub bytes_max: u32,
}
wire_struct!(FetchPartition {
    topic,
    partition,
    offset,
    bytes_max
});

/// The batches that were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchAnswer {
    /// One for each partition, in the order of the request.
    pub partitions: Vec<FetchedPartition>,
}
wire_struct!(FetchAnswer { partitions });

/// The batches of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchedPartition {
    /// Why there are none, if there is a reason.
    pub refusal: Option<Refusal>,
    /// First offset that can be read.
    pub log_start_offset: Offset,
    /// End of what can be read (exclusive).
    pub high_watermark: Offset,
    /// Whole batches, one after the other.
    pub batches: Bytes,
}

impl Wire for FetchedPartition {
    fn write(&self, writer: &mut Writer) {
        Refusal::write_optional(self.refusal.as_ref(), writer);
        self.log_start_offset.write(writer);
        self.high_watermark.write(writer);
        self.batches.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            refusal: Refusal::read_optional(reader)?,
            log_start_offset: Wire::read(reader)
                .map_err(|error| error.of("FetchedPartition.log_start_offset"))?,
            high_watermark: Wire::read(reader)
                .map_err(|error| error.of("FetchedPartition.high_watermark"))?,
            batches: Wire::read(reader).map_err(|error| error.of("FetchedPartition.batches"))?,
        })
    }
}

impl Request for FetchRequest {
    const KEY: ApiKey = ApiKey::Fetch;
    type Answer = FetchAnswer;
}
