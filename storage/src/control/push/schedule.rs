//! A schedule: what is published, and when.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | number | u64 | given out once, names it in causes |
//! | cron | text | |
//! | destination | text | a URL, or the name of a URL group |
//! | created | i64 | |
//! | since | i64 | |
//! | paused | u8 | |
//! | queue | optional text | |
//! | envelope | bytes (u32 length and bytes) | an encoded [`crate::delivery::Envelope`] with an empty URL |
//! | body | bytes | |
//! | caller IP | optional text | |

use std::fmt;

use bytes::Bytes;

use crate::control::fields::{Fields, Output};
use crate::error::Corruption;
use crate::offset::TimestampMs;

/// A schedule. `Debug` leaves out what it publishes, which may be secret or large.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its number: it stays while the schedule stands, also when its settings are overwritten, and is never used again.
    pub number: u64,
    /// When it publishes, as a cron expression.
    pub cron: String,
    /// Where the messages go: a URL, or the name of a URL group.
    pub destination: String,
    /// When it was created.
    pub created: TimestampMs,
    /// When it was set or resumed last: what would have been due up to this time (inclusive) is never published.
    pub since: TimestampMs,
    /// It publishes nothing.
    pub is_paused: bool,
    /// The queue that its messages stand in.
    pub queue: Option<String>,
    /// The messages' [`crate::delivery::Envelope`], encoded, with an empty URL.
    pub envelope: Bytes,
    /// The messages' body.
    pub body: Bytes,
    /// Address of who set it.
    pub caller_ip: Option<String>,
}

impl Schedule {
    pub(super) const ENCODED_BYTES_MIN: u64 = 8 + 4 + 4 + 8 + 8 + 1 + 1 + 4 + 4 + 1;

    /// Returns the bytes that it publishes, which is what a schedule costs.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        let bytes = self.envelope.len().saturating_add(self.body.len());
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(super) fn encode(&self, out: &mut Output) {
        out.u64(self.number);
        out.text(&self.cron);
        out.text(&self.destination);
        out.i64(self.created.0);
        out.i64(self.since.0);
        out.flag(self.is_paused);
        out.optional(self.queue.as_deref(), Output::text);
        out.bytes(&self.envelope);
        out.bytes(&self.body);
        out.optional(self.caller_ip.as_deref(), Output::text);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            number: fields.u64()?,
            cron: fields.text("cron")?,
            destination: fields.text("schedule destination")?,
            created: TimestampMs(fields.i64()?),
            since: TimestampMs(fields.i64()?),
            is_paused: fields.flag("schedule paused")?,
            queue: fields.optional("schedule queue", |fields| fields.text("schedule queue"))?,
            envelope: Bytes::copy_from_slice(fields.bytes()?),
            body: Bytes::copy_from_slice(fields.bytes()?),
            caller_ip: fields.optional("caller ip", |fields| fields.text("caller ip"))?,
        })
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("number", &self.number)
            .field("cron", &self.cron)
            .field("destination", &self.destination)
            .field("created", &self.created)
            .field("since", &self.since)
            .field("is_paused", &self.is_paused)
            .field("queue", &self.queue)
            .field("content_bytes", &self.content_bytes())
            .field("caller_ip", &self.caller_ip)
            .finish_non_exhaustive()
    }
}
