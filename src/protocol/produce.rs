//! Produce: appends batches, each to a partition.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | acks | `u8` | 1: as the topic's durability says; 2: when synced, whatever the topic says |
//! | batches | array of (topic string, partition index `u32`, batch bytes) | the batch as [`storage::batch::header`] lays it out, with the broker's fields zero |
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | batches | array of (refusal or appended) | one for each batch, in the order of the request |
//!
//! | appended | type | meaning |
//! |---|---|---|
//! | base offset | offset | of the batch's first record |
//! | append time | time | by the broker's clock |
//!
//! Batches of one request succeed and fail apart. A request that does not decode is refused as a whole.
//!
//! The bytes of a batch are not copied on either side: a client encodes them as parts of their own, and decoding tells
//! where they stand in the body ([`ProduceRequest<Range<usize>>`](ProduceRequest)), so that a broker can fill in its
//! fields and write in place.

use std::ops::Range;

use bytes::Bytes;
use storage::offset::{Offset, TimestampMs};

use super::api_key::ApiKey;
use super::cursor::{DecodeError, Reader, Wire, Writer, wire_struct};
use super::error_code::Refusal;
use super::frame::Request;

/// When the append is to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Acks {
    /// As the topic's durability says.
    #[default]
    TopicDefault,
    /// When it is synced.
    Synced,
}

impl Wire for Acks {
    fn write(&self, writer: &mut Writer) {
        let byte: u8 = match self {
            Self::TopicDefault => 1,
            Self::Synced => 2,
        };
        byte.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            1 => Ok(Self::TopicDefault),
            2 => Ok(Self::Synced),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

/// Appends batches. `B` is the batch's [`Bytes`], or where they stand in the body as a [`Range<usize>`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRequest<B = Bytes> {
    /// When to acknowledge.
    pub acks: Acks,
    /// The batches.
    pub batches: Vec<ProduceBatch<B>>,
}

/// A batch and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceBatch<B = Bytes> {
    /// Topic.
    pub topic: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// The batch.
    pub batch: B,
}
wire_struct!(ProduceBatch {
    topic,
    partition,
    batch
});

impl Wire for ProduceRequest<Bytes> {
    fn write(&self, writer: &mut Writer) {
        self.acks.write(writer);
        self.batches.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            acks: Wire::read(reader).map_err(|error| error.of("ProduceRequest.acks"))?,
            batches: Wire::read(reader).map_err(|error| error.of("ProduceRequest.batches"))?,
        })
    }
}

impl ProduceRequest<Range<usize>> {
    /// Decodes a request from its body, leaving the batches where they are: the ranges count from the start of the bytes
    /// that `reader` was made of. They do not overlap and rise from one batch to the next.
    ///
    /// # Errors
    /// The [`DecodeError`] that was met first, [`DecodeError::Trailing`] included.
    pub fn decode_in_place(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let acks = Acks::read(reader).map_err(|error| error.of("ProduceRequest.acks"))?;
        let count = reader.count();
        let count = count.map_err(|error| error.of("ProduceRequest.batches"))?;
        let mut batches = Vec::new();
        for _ in 0..count {
            batches.push(read_in_place(reader)?);
        }
        reader.finish()?;
        Ok(Self { acks, batches })
    }
}

fn read_in_place(reader: &mut Reader<'_>) -> Result<ProduceBatch<Range<usize>>, DecodeError> {
    let topic = String::read(reader).map_err(|error| error.of("ProduceBatch.topic"))?;
    let partition = u32::read(reader).map_err(|error| error.of("ProduceBatch.partition"))?;
    let name = |error: DecodeError| error.of("ProduceBatch.batch");
    let length = reader.length().map_err(name)?;
    let start = reader.position();
    reader.take(length).map_err(name)?;
    Ok(ProduceBatch {
        topic,
        partition,
        batch: start..reader.position(),
    })
}

/// What became of the batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProduceAnswer {
    /// One for each batch, in the order of the request.
    pub batches: Vec<Result<Appended, Refusal>>,
}
wire_struct!(ProduceAnswer { batches });

/// A batch that stands in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// When it was appended, by the broker's clock.
    pub append_time: TimestampMs,
}
wire_struct!(Appended {
    base_offset,
    append_time
});

impl Request for ProduceRequest<Bytes> {
    const KEY: ApiKey = ApiKey::Produce;
    type Answer = ProduceAnswer;
}
