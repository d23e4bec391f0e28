//! What an operator decided about a flow-control key. Keys of which nothing was decided are not stored: their limits come
//! with the messages.

use crate::control::fields::{Fields, Output};
use crate::error::Corruption;

/// What an operator decided about a flow-control key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowOverride {
    /// Its messages are not delivered.
    pub is_paused: bool,
    /// Attempts under way at a time, whatever messages say; `None` is not pinned.
    pub parallelism: Option<u32>,
    /// Attempts begun in one period, whatever messages say; `None` is not pinned.
    pub rate: Option<u32>,
    /// Length of a period of the pinned rate, in milliseconds; `None` is one second.
    pub period_ms: Option<u64>,
}

impl FlowOverride {
    pub(super) const ENCODED_BYTES_MIN: u64 = 1 + 1 + 1 + 1;

    pub(super) fn encode(&self, out: &mut Output) {
        out.flag(self.is_paused);
        out.optional(self.parallelism, Output::u32);
        out.optional(self.rate, Output::u32);
        out.optional(self.period_ms, Output::u64);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            is_paused: fields.flag("flow key paused")?,
            parallelism: fields.optional("pinned parallelism", Fields::u32)?,
            rate: fields.optional("pinned rate", Fields::u32)?,
            period_ms: fields.optional("pinned period", Fields::u64)?,
        })
    }
}
