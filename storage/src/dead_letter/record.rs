//! The record that a letter holds, whole. Stands in for the record of the batch codec until that is there.

use bytes::Bytes;

use crate::offset::TimestampMs;

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The record's time by the producer's clock.
    pub timestamp: TimestampMs,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value, if it has one.
    pub value: Option<Bytes>,
    /// The headers, in order; names may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
}
