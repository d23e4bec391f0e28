//! Snapshots and copies of a `_push` partition, step by step on one thread: the broker and the crash tests run the same code.
//!
//! The owner's lock is held for deciding and writing, never across a read or a sync.

use parking_lot::Mutex;

use super::recent::RecentBatches;
use crate::delivery::limits::{COPY_BYTES_MAX, COPY_COUNT_MAX};
use crate::delivery::{Entry, EntryCopy, SnapshotStep};
use crate::error::LogError;
use crate::log_id::LogKind;
use crate::offset::{Offset, TimestampMs};
use crate::partition::steps::Steps;
use crate::partition::{Partition, PartitionRetention};

/// Passes over what is stale: an attempt that ends while its message is copied makes the copy stale again.
const PASSES_MAX: u32 = 4;

/// What the upkeep of a partition did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushUpkeepRun {
    /// Records that were copied from the main log.
    pub carried_count: u64,
    /// Segments of the main log that have had their time and are held, because much of one of them is still needed.
    pub held_segment_count: u64,
    /// Histories and records that were copied from further below in the delivery log.
    pub copied_count: u64,
    /// Whether a snapshot was made.
    pub has_snapshot: bool,
}

/// Keeps a partition's logs ready to be deleted at their heads and quick to be opened.
#[derive(Clone, Copy)]
pub struct PushUpkeep<'a> {
    /// The partition's owner.
    pub owner: &'a Mutex<Partition>,
    /// The broker's time.
    pub now: &'a dyn Fn() -> TimestampMs,
    /// Called to wait until somebody else's roll may have got on.
    pub wait: &'a dyn Fn(),
    /// Called when a log has a new segment: others may wait for that.
    pub rolled: &'a dyn Fn(LogKind),
}

impl std::fmt::Debug for PushUpkeep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushUpkeep")
    }
}

impl PushUpkeep<'_> {
    /// Copies what retention of the main log would take and is still needed, and makes a snapshot when one is due. Afterwards
    /// [`Partition::plan_main_retention`] and [`Partition::plan_delivery_retention`] say what may go.
    ///
    /// # Errors
    /// The error of the log that failed. What was done before it stands.
    pub fn run(&self, retention: &PartitionRetention) -> Result<PushUpkeepRun, LogError> {
        let mut run = PushUpkeepRun::default();
        if self.owner.lock().delivery().is_none() {
            return Ok(run);
        }
        self.carry(retention, &mut run)?;
        if self.owner.lock().snapshot_is_due(retention, (self.now)()) {
            run.copied_count = self.copy_stale(retention)?;
            self.snapshot()?;
            run.has_snapshot = true;
        }
        Ok(run)
    }

    /// Makes a snapshot now, whether or not one is due. It counts when this returns.
    ///
    /// # Errors
    /// The delivery log's error.
    pub fn snapshot(&self) -> Result<(), LogError> {
        loop {
            let step = self
                .steps()
                .with_room(LogKind::Delivery, |partition, now| {
                    partition.append_snapshot(now)
                })?;
            if let SnapshotStep::Written { end } = step {
                return self.steps().make_durable(LogKind::Delivery, end);
            }
        }
    }

    /// Copies the records of messages that are still needed from the segments of the main log that have had their time.
    fn carry(
        &self,
        retention: &PartitionRetention,
        run: &mut PushUpkeepRun,
    ) -> Result<(), LogError> {
        let (messages, reader) = {
            let owner = self.owner.lock();
            let target = owner.main_retention_target(&retention.main, (self.now)());
            run.held_segment_count = target.held_segment_count;
            let messages = owner.uncarried_below(target.start.unwrap_or(Offset::ZERO));
            (messages, owner.push_reader())
        };
        let mut recent = RecentBatches::default();
        let copied = self.copy(&messages, |message| {
            let (append_time, record) = reader.record_near(*message, &mut recent)?;
            Ok(EntryCopy {
                of: None,
                entry: Entry::Carried {
                    message: *message,
                    append_time,
                    record,
                },
            })
        })?;
        run.carried_count = copied;
        Ok(())
    }

    /// Copies what is still needed from where the delivery log should end. Returns how much.
    fn copy_stale(&self, retention: &PartitionRetention) -> Result<u64, LogError> {
        let mut copied = 0u64;
        for _ in 0..PASSES_MAX {
            let (stale, reader) = {
                let owner = self.owner.lock();
                let stale = owner.stale_references(&retention.delivery, (self.now)());
                (stale, owner.push_reader())
            };
            let mut recent = RecentBatches::default();
            let histories = self.copy(&stale.histories, |(message, at)| {
                let history = reader.history_near(Some(*at), &mut recent)?;
                Ok(EntryCopy {
                    of: Some(*at),
                    entry: Entry::History {
                        message: *message,
                        history,
                    },
                })
            })?;
            let records = self.copy(&stale.carried, |place| {
                Ok(EntryCopy {
                    of: Some(place.1),
                    entry: reader.carried_near(*place, &mut recent)?,
                })
            })?;
            copied = copied.saturating_add(histories).saturating_add(records);
            if histories.saturating_add(records) == 0 {
                break;
            }
        }
        Ok(copied)
    }

    /// Reads and appends copies, a bounded number at a time. What cannot be read is left where it is: it holds the head.
    fn copy<P>(
        &self,
        places: &[P],
        mut read: impl FnMut(&P) -> Result<EntryCopy, LogError>,
    ) -> Result<u64, LogError> {
        let mut copied = 0u64;
        let mut chunk = Vec::new();
        let mut bytes = 0usize;
        for (at, place) in (1usize..).zip(places) {
            match read(place) {
                Ok(copy) => {
                    bytes = bytes.saturating_add(copy.entry.encode().len());
                    chunk.push(copy);
                }
                Err(LogError::Corrupt { .. } | LogError::OffsetOutOfRange { .. }) => {}
                Err(error) => return Err(error),
            }
            let is_full = bytes >= COPY_BYTES_MAX || chunk.len() >= COPY_COUNT_MAX;
            if !chunk.is_empty() && (is_full || at == places.len()) {
                let count = self
                    .steps()
                    .with_room(LogKind::Delivery, |partition, now| {
                        partition.append_copies(&chunk, now)
                    })?;
                copied = copied.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                chunk.clear();
                bytes = 0;
            }
        }
        Ok(copied)
    }

    fn steps(&self) -> Steps<'_> {
        Steps {
            owner: self.owner,
            now: self.now,
            wait: self.wait,
            rolled: self.rolled,
        }
    }
}
