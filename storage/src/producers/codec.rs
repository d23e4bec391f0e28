//! The encoded memory of producers, for the checkpoint.
//!
//! Numbers are big-endian. The checksum is the checkpoint's.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | version | 1 | u8 | [`STATE_VERSION`] |
//! | producer count | 4 | u32 | at most [`PRODUCERS_MAX`](crate::limits::PRODUCERS_MAX) |
//! | producers | | | the one silent longest first |
//!
//! | field of a producer | bytes | type | meaning |
//! |---|---|---|---|
//! | id | 8 | u64 | |
//! | epoch | 2 | u16 | |
//! | last append time | 8 | i64 | ms |
//! | batch count | 1 | u8 | 1 to [`PRODUCER_BATCHES_MAX`] |
//! | batches | 16 each | base sequence u32, record count u32, base offset u64 | oldest first |

use std::collections::VecDeque;

use super::{ProducerLimits, ProducerState, Producers, Remembered};
use crate::batch::header::{NO_PRODUCER, NO_SEQUENCE};
use crate::error::Corruption;
use crate::limits::PRODUCER_BATCHES_MAX;
use crate::offset::{Offset, TimestampMs};

/// The version of the encoded state.
pub(super) const STATE_VERSION: u8 = 1;

/// Bytes of an encoded producer without its batches.
const PRODUCER_BYTES: u64 = 8 + 2 + 8 + 1;
/// Bytes of an encoded batch.
const BATCH_BYTES: u64 = 4 + 4 + 8;

impl Producers {
    /// Encodes the state for the checkpoint. The limits are not part of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        out.extend_from_slice(
            &u32::try_from(self.by_id.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        let in_order = self.by_last_offset.values();
        for (id, state) in in_order.filter_map(|id| self.by_id.get_key_value(id)) {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&state.epoch.to_be_bytes());
            out.extend_from_slice(&state.last_append_time.0.to_be_bytes());
            out.push(u8::try_from(state.batches.len()).unwrap_or(u8::MAX));
            for batch in &state.batches {
                out.extend_from_slice(&batch.base_sequence.to_be_bytes());
                out.extend_from_slice(&batch.record_count.to_be_bytes());
                out.extend_from_slice(&batch.base_offset.0.to_be_bytes());
            }
        }
        out
    }

    /// Decodes an encoded state.
    ///
    /// # Errors
    /// The [`Corruption`] met first. The state is a hint: the caller folds the log instead.
    pub fn decode(limits: ProducerLimits, bytes: &[u8]) -> Result<Self, Corruption> {
        let mut fields = Fields(bytes);
        let version = u8::from_be_bytes(fields.take()?);
        check(
            version == STATE_VERSION,
            "producer state version",
            version.into(),
        )?;
        let count = u32::from_be_bytes(fields.take()?);
        fields.has(u64::from(count).saturating_mul(PRODUCER_BYTES + BATCH_BYTES))?;
        let mut producers = Self::new(limits);
        let mut last = None;
        for _ in 0..count {
            let id = u64::from_be_bytes(fields.take()?);
            check(id != NO_PRODUCER, "producer id", id)?;
            let state = ProducerState::decode(&mut fields)?;
            let place = state.last_offset();
            check(
                last < place,
                "last offset of a producer",
                place.map_or(0, |o| o.0),
            )?;
            last = place;
            check(
                !producers.by_id.contains_key(&id),
                "repeated producer id",
                id,
            )?;
            producers.insert(id, state);
        }
        let left = u64::try_from(fields.0.len()).unwrap_or(u64::MAX);
        check(left == 0, "bytes behind the producers", left)?;
        producers.evict();
        Ok(producers)
    }
}

impl ProducerState {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        let epoch = u16::from_be_bytes(fields.take()?);
        let last_append_time = TimestampMs(i64::from_be_bytes(fields.take()?));
        let count = u8::from_be_bytes(fields.take()?);
        let is_possible = (1..=PRODUCER_BATCHES_MAX).contains(&usize::from(count));
        check(is_possible, "batch count of a producer", count.into())?;
        let mut batches = VecDeque::with_capacity(PRODUCER_BATCHES_MAX);
        for _ in 0..count {
            let batch = Remembered {
                base_sequence: u32::from_be_bytes(fields.take()?),
                record_count: u32::from_be_bytes(fields.take()?),
                base_offset: Offset(u64::from_be_bytes(fields.take()?)),
            };
            let sequence = batch.base_sequence;
            let follows = batches.back().is_none_or(|before: &Remembered| {
                before.next_sequence() == sequence && before.next_offset() <= batch.base_offset
            });
            check(
                follows && sequence != NO_SEQUENCE,
                "base sequence",
                sequence.into(),
            )?;
            check(batch.record_count > 0, "record count", 0)?;
            batches.push_back(batch);
        }
        Ok(Self {
            epoch,
            last_append_time,
            batches,
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        let needed = u64::try_from(N).unwrap_or(u64::MAX);
        self.has(needed)?;
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(truncated(needed, 0))?;
        self.0 = rest;
        Ok(*head)
    }

    fn has(&self, needed: u64) -> Result<(), Corruption> {
        let available = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        if available < needed {
            return Err(truncated(needed, available));
        }
        Ok(())
    }
}

fn truncated(needed: u64, available: u64) -> Corruption {
    Corruption::Truncated {
        part: "producer state",
        needed,
        available,
    }
}

fn check(holds: bool, field: &'static str, value: u64) -> Result<(), Corruption> {
    if holds {
        return Ok(());
    }
    Err(Corruption::Field { field, value })
}
