//! Batches of one log that were read a moment ago, decoded.
//!
//! A batch holds many messages or entries, and who looks for one of them looks for its neighbours next. What is kept was durable
//! when it was read, so that it never changes.

use std::collections::BTreeMap;

use crate::batch::Record;
use crate::delivery::limits::RECENT_BATCH_BYTES_MAX;
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// Memory of a decoded record besides its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 256;

/// Batches of one log that were read lately: at most [`RECENT_BATCH_BYTES_MAX`], or one batch.
#[derive(Debug, Default)]
pub struct RecentBatches {
    batches: BTreeMap<Offset, HeldBatch>,
    bytes: usize,
}

/// The decoded records of one batch.
#[derive(Debug)]
pub(in crate::partition) struct HeldBatch {
    base: Offset,
    pub(super) append_time: TimestampMs,
    pub(in crate::partition) is_broker_built: bool,
    records: Vec<Record>,
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
        let found = near.filter(|(_, batch)| batch.record(offset).is_some());
        let base = match found {
            Some((base, _)) => *base,
            None => self.keep(HeldBatch::read(log, offset)?),
        };
        self.batches.get(&base).ok_or(LogError::OffsetOutOfRange {
            requested: offset,
            log_start: log.log_start(),
            log_end: log.high_watermark(),
        })
    }

    /// Keeps a batch, and gives up those for it that stand farthest from it: messages are looked at in about their order, and
    /// their attempts from the last one back.
    fn keep(&mut self, batch: HeldBatch) -> Offset {
        let base = batch.base;
        while self.bytes.saturating_add(batch.bytes) > RECENT_BATCH_BYTES_MAX
            && let Some(farthest) = self.farthest_from(base)
            && let Some(given_up) = self.batches.remove(&farthest)
        {
            self.bytes = self.bytes.saturating_sub(given_up.bytes);
        }
        self.bytes = self.bytes.saturating_add(batch.bytes);
        if let Some(before) = self.batches.insert(base, batch) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
        }
        base
    }

    fn farthest_from(&self, base: Offset) -> Option<Offset> {
        let (first, last) = (
            *self.batches.keys().next()?,
            *self.batches.keys().next_back()?,
        );
        let is_first = base.0.abs_diff(first.0) >= base.0.abs_diff(last.0);
        Some(if is_first { first } else { last })
    }
}

impl HeldBatch {
    fn read(log: &LogReader, offset: Offset) -> Result<Self, LogError> {
        let batch = log.batch_at(offset, ReadBound::HighWatermark)?;
        let base = batch.header().base_offset;
        let records = batch
            .records(BATCH_BYTES_CEILING)
            .map_err(|reason| log.undecodable(base, reason))?;
        let length = usize::try_from(batch.header().length).unwrap_or(usize::MAX);
        let overhead = records.len().saturating_mul(RECORD_OVERHEAD_BYTES);
        Ok(Self {
            base,
            append_time: batch.header().append_time,
            is_broker_built: batch.header().attributes.is_broker_built,
            records,
            bytes: length.saturating_add(overhead),
        })
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
            bytes,
        }
    }

    #[test]
    fn what_stands_farthest_goes_in_either_direction() {
        let third = RECENT_BATCH_BYTES_MAX / 3;
        for bases in [[10, 20, 30, 40, 50], [50, 40, 30, 20, 10]] {
            let mut recent = RecentBatches::default();
            for base in bases {
                recent.keep(batch(base, 10, third));
            }
            let mut last = bases[2..].to_vec();
            last.sort_unstable();
            let kept: Vec<_> = recent.batches.keys().map(|base| base.0).collect();
            assert_eq!(kept, last);
        }
    }

    #[test]
    fn the_oldest_go_and_one_batch_of_any_size_is_kept() {
        let mut recent = RecentBatches::default();
        let half = RECENT_BATCH_BYTES_MAX / 2;
        for base in [10, 20, 30] {
            recent.keep(batch(base, 10, half));
        }
        let kept: Vec<_> = recent.batches.keys().map(|base| base.0).collect();
        assert_eq!(kept, [20, 30]);
        recent.keep(batch(30, 10, half));
        assert_eq!((recent.batches.len(), recent.bytes), (2 - 1, half));
        recent.keep(batch(5, 10, RECENT_BATCH_BYTES_MAX * 2));
        let kept: Vec<_> = recent.batches.keys().map(|base| base.0).collect();
        assert_eq!(kept, [5]);
    }
}
