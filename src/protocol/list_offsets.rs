//! `ListOffsets`: finds the offset of a place in a log.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | partitions | array of (topic string, partition index `u32`, place) | |
//!
//! A place is a byte: 1 earliest (the log start), 2 latest (the high watermark), 3 append time (a time follows): the first
//! batch that was appended at it or later, the high watermark when there is none.
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | partitions | array of (refusal or found) | one for each that was asked for, in that order |
//!
//! | found | type | meaning |
//! |---|---|---|
//! | offset | offset | |
//! | append time | optional time | of the batch that was found by time |

use storage::offset::{Offset, TimestampMs};

use super::api_key::ApiKey;
use super::cursor::{DecodeError, Reader, Wire, Writer, wire_struct};
use super::error_code::Refusal;
use super::frame::Request;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first offset that can be read.
    Earliest,
    /// The end of what can be read.
    Latest,
    /// The first batch that was appended at this time or later.
    AppendedAt(TimestampMs),
}

impl Wire for Place {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Earliest => 1_u8.write(writer),
            Self::Latest => 2_u8.write(writer),
            Self::AppendedAt(time) => {
                3_u8.write(writer);
                time.write(writer);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            1 => Ok(Self::Earliest),
            2 => Ok(Self::Latest),
            3 => Ok(Self::AppendedAt(Wire::read(reader)?)),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

/// Asks for offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsetsRequest {
    /// The partitions and the places in them.
    pub partitions: Vec<PlaceInPartition>,
}
wire_struct!(ListOffsetsRequest { partitions });

/// A place in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceInPartition {
    /// Topic.
    pub topic: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// The place.
    pub place: Place,
}
wire_struct!(PlaceInPartition {
    topic,
    partition,
    place
});

/// The offsets that were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOffsetsAnswer {
    /// One for each partition, in the order of the request.
    pub partitions: Vec<Result<FoundOffset, Refusal>>,
}
wire_struct!(ListOffsetsAnswer { partitions });

/// The offset of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// When the batch that was found by time was appended.
    pub append_time: Option<TimestampMs>,
}
wire_struct!(FoundOffset {
    offset,
    append_time
});

impl Request for ListOffsetsRequest {
    const KEY: ApiKey = ApiKey::ListOffsets;
    type Answer = ListOffsetsAnswer;
}
