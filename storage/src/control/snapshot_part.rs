//! A part of a snapshot, as an entry holds it.

use std::fmt;

use super::fields::{Fields, Output};
use crate::error::Corruption;

/// A part of an encoded [`super::ControlState`]. Parts of one snapshot stand one behind the other in the log; a snapshot
/// whose last part is missing, because the broker ended while it was written, counts for nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Which part, from 0.
    pub index: u32,
    /// How many parts the snapshot has.
    pub count: u32,
    /// CRC-32 of all parts' bytes together.
    pub state_crc: u32,
    /// The bytes. They hold secrets, and are never printed.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SnapshotPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotPart")
            .field("index", &self.index)
            .field("count", &self.count)
            .field("state_crc", &self.state_crc)
            .field("byte_count", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl SnapshotPart {
    pub(super) fn encode(&self, out: &mut Output) {
        out.u32(self.index);
        out.u32(self.count);
        out.u32(self.state_crc);
        out.bytes(&self.bytes);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            index: fields.u32()?,
            count: fields.u32()?,
            state_crc: fields.u32()?,
            bytes: fields.bytes()?.to_vec(),
        })
    }
}
