//! Batches of one log that were read a moment ago, decoded.
//!
//! A batch holds many messages or entries, and who looks for one of them looks for its neighbours next. What is kept was durable
//! when it was read, so that it never changes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::{Codec, Record};
use crate::delivery::limits::RECENT_BATCH_BYTES_MAX;
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// Memory of a decoded record besides its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 256;
/// Largest memory of a batch that is used for another one.
const SPARE_BYTES_MAX: usize = 512 << 10;

/// Batches of one log that were read lately: at most [`RECENT_BATCH_BYTES_MAX`], or one batch. Those that were not looked at for
/// the longest time go: who looks for messages that wait and for messages that are due has two places in the log at a time.
#[derive(Debug, Default)]
pub struct RecentBatches {
    batches: BTreeMap<Offset, Kept>,
    /// The bases of the batches, by their last use.
    by_use: BTreeMap<u64, Offset>,
    uses: u64,
    bytes: usize,
    /// Memory of a batch that was given up, for the next one: it need not be cleared and mapped anew.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    batch: HeldBatch,
    last_use: u64,
}

/// The decoded records of one batch.
#[derive(Debug)]
pub(in crate::partition) struct HeldBatch {
    base: Offset,
    pub(super) append_time: TimestampMs,
    pub(in crate::partition) is_broker_built: bool,
    records: Vec<Record>,
    /// What the records lie in, if another batch may have it afterwards.
    memory: Bytes,
    /// Of the unpacked records: what is kept alive is what was decoded.
    bytes: usize,
}

impl RecentBatches {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the batch that holds `offset`, or follows it behind a gap; reads it when it is not here.
    pub(in crate::partition) fn batch(
        &mut self,
        log: &LogReader,
        offset: Offset,
    ) -> Result<&HeldBatch, LogError> {
        let near = self.batches.range(..=offset).next_back();
        let found = near.filter(|(_, kept)| kept.batch.record(offset).is_some());
        let base = match found {
            Some((base, _)) => *base,
            None => self.read(log, offset)?,
        };
        self.used(base).ok_or(LogError::OffsetOutOfRange {
            requested: offset,
            log_start: log.log_start(),
            log_end: log.high_watermark(),
        })
    }

    /// Returns the bytes of what is kept, about.
    #[cfg(test)]
    pub(in crate::partition) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that a batch is looked at.
    fn used(&mut self, base: Offset) -> Option<&HeldBatch> {
        let kept = self.batches.get_mut(&base)?;
        // Mostly it is looked at for one message behind the other.
        if kept.last_use != self.uses {
            self.uses += 1;
            self.by_use.remove(&kept.last_use);
            self.by_use.insert(self.uses, base);
            kept.last_use = self.uses;
        }
        Some(&kept.batch)
    }

    fn read(&mut self, log: &LogReader, offset: Offset) -> Result<Offset, LogError> {
        let spare = std::mem::take(&mut self.spare);
        let batch = HeldBatch::read(log, offset, spare)?;
        Ok(self.keep(batch))
    }

    /// Keeps a batch, and gives up others for it.
    fn keep(&mut self, batch: HeldBatch) -> Offset {
        let base = batch.base;
        self.give_up(base);
        while self.bytes.saturating_add(batch.bytes) > RECENT_BATCH_BYTES_MAX
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            self.give_up(*oldest);
        }
        self.bytes = self.bytes.saturating_add(batch.bytes);
        self.uses += 1;
        self.by_use.insert(self.uses, base);
        let last_use = self.uses;
        self.batches.insert(base, Kept { batch, last_use });
        base
    }

    fn give_up(&mut self, base: Offset) {
        if let Some(kept) = self.batches.remove(&base) {
            self.by_use.remove(&kept.last_use);
            self.bytes = self.bytes.saturating_sub(kept.batch.bytes);
            self.spare = kept.batch.into_memory();
        }
    }
}

impl HeldBatch {
    fn read(log: &LogReader, offset: Offset, spare: Vec<u8>) -> Result<Self, LogError> {
        let batch = log.batch_in(offset, ReadBound::HighWatermark, spare)?;
        let base = batch.header().base_offset;
        let records = batch
            .records(BATCH_BYTES_CEILING)
            .map_err(|reason| log.undecodable(base, reason))?;
        let weights = records
            .iter()
            .map(|record| record.weight().saturating_add(RECORD_OVERHEAD_BYTES));
        let bytes = weights.fold(0, usize::saturating_add);
        // Records that were packed lie elsewhere.
        let is_unpacked = batch.header().attributes.codec == Codec::None;
        let memory = Some(batch.bytes()).filter(|_| is_unpacked);
        Ok(Self {
            base,
            append_time: batch.header().append_time,
            is_broker_built: batch.header().attributes.is_broker_built,
            records,
            memory: memory.cloned().unwrap_or_default(),
            bytes,
        })
    }

    /// Returns its memory for another batch; none if it is too large, or somebody still holds some of it.
    fn into_memory(self) -> Vec<u8> {
        drop(self.records);
        let memory = self.memory.try_into_mut();
        let memory = memory.map_or_else(|_held| Vec::new(), Vec::from);
        if memory.capacity() <= SPARE_BYTES_MAX {
            memory
        } else {
            Vec::new()
        }
    }

    pub(in crate::partition) fn record(&self, offset: Offset) -> Option<&Record> {
        let at = usize::try_from(offset.since(self.base)?).ok()?;
        self.records.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: u64, count: usize, bytes: usize) -> HeldBatch {
        let record = Record {
            timestamp: TimestampMs(0),
            key: None,
            value: None,
            headers: Vec::new(),
        };
        HeldBatch {
            base: Offset(base),
            append_time: TimestampMs(0),
            is_broker_built: true,
            records: vec![record; count],
            memory: Bytes::new(),
            bytes,
        }
    }

    #[test]
    fn what_is_looked_at_stays_wherever_it_stands() {
        let third = RECENT_BATCH_BYTES_MAX / 3;
        let mut recent = RecentBatches::default();
        for base in [10, 500] {
            recent.keep(batch(base, 10, third));
        }
        // One place after the other is read behind a batch that is looked at in between, from low to high and back.
        for base in [20, 30, 40, 30, 20] {
            recent.keep(batch(base, 10, third));
            assert!(recent.used(Offset(500)).is_some(), "at {base}");
        }
        let kept: Vec<_> = recent.batches.keys().map(|base| base.0).collect();
        assert_eq!(kept, [20, 30, 500]);
        assert_eq!((recent.by_use.len(), recent.bytes), (3, third * 3));
    }

    #[test]
    fn what_was_not_looked_at_goes_and_one_batch_of_any_size_is_kept() {
        let mut recent = RecentBatches::default();
        let half = RECENT_BATCH_BYTES_MAX / 2;
        for base in [10, 20, 30] {
            recent.keep(batch(base, 10, half));
        }
        let kept: Vec<_> = recent.batches.keys().map(|base| base.0).collect();
        assert_eq!(kept, [20, 30]);
        recent.keep(batch(30, 10, half));
        assert_eq!((recent.batches.len(), recent.bytes), (2, 2 * half), "once");
        recent.keep(batch(5, 10, RECENT_BATCH_BYTES_MAX * 2));
        let kept: Vec<_> = recent.batches.keys().map(|base| base.0).collect();
        assert_eq!(kept, [5]);
    }

    #[test]
    fn memory_is_used_again_that_nobody_holds_and_that_is_not_large() {
        let of = |memory: &Bytes| HeldBatch {
            memory: memory.clone(),
            ..batch(0, 1, 0)
        };
        for (bytes, expected) in [(SPARE_BYTES_MAX, SPARE_BYTES_MAX), (SPARE_BYTES_MAX + 1, 0)] {
            let memory = Bytes::from(vec![b'x'; bytes]);
            let body = memory.slice(7..9);
            assert_eq!(of(&memory).into_memory().capacity(), 0);
            let held = of(&memory);
            drop(memory);
            drop(body);
            assert_eq!(held.into_memory().capacity(), expected);
        }
    }
}
