//! A queue: how many of its messages are under way at a time.

use crate::control::fields::{Fields, Output};
use crate::error::Corruption;
use crate::offset::TimestampMs;

/// A queue, which delivers its messages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Messages under way at a time, at least 1.
    pub parallelism: u32,
    /// It takes messages and delivers none.
    pub is_paused: bool,
    /// When it was created.
    pub created: TimestampMs,
    /// When it was changed last.
    pub updated: TimestampMs,
}

impl Queue {
    pub(super) const ENCODED_BYTES_MIN: u64 = 4 + 1 + 8 + 8;

    pub(super) fn encode(&self, out: &mut Output) {
        out.u32(self.parallelism);
        out.flag(self.is_paused);
        out.i64(self.created.0);
        out.i64(self.updated.0);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            parallelism: fields.u32()?,
            is_paused: fields.flag("queue paused")?,
            created: TimestampMs(fields.i64()?),
            updated: TimestampMs(fields.i64()?),
        })
    }
}
