//! What keeps the heads of the logs free to go: copies of what stands there, snapshots of the state, retention.

use super::DeliveryLog;
use super::EntryCopy;
use crate::checkpoint::LogCheckpoint;
use crate::delivery::entry::Entry;
use crate::delivery::limits::SNAPSHOT_PARTS_PER_STEP;
use crate::delivery::snapshots::{Snapshot, SnapshotStep, Writing};
use crate::error::LogError;
use crate::log::{Log, RetentionPolicy, Unlink};
use crate::offset::{Offset, TimestampMs};

impl DeliveryLog {
    /// Appends copies as one batch, without syncing it, but for those that are of no use any more: their messages have come to
    /// their ends, or have something newer. Returns how many were appended.
    ///
    /// # Errors
    /// As [`DeliveryLog::append_entries`].
    pub fn append_copies(
        &mut self,
        copies: &[EntryCopy],
        now: TimestampMs,
    ) -> Result<usize, LogError> {
        let entries: Vec<_> = copies
            .iter()
            .filter(|copy| self.is_needed(copy))
            .map(|copy| copy.entry.clone())
            .collect();
        let (_, bytes) = self.append_applied(&entries, now)?;
        self.snapshots.note_copies(bytes);
        Ok(entries.len())
    }

    fn is_needed(&self, copy: &EntryCopy) -> bool {
        match &copy.entry {
            Entry::History { message, .. } => self.state.history_at(*message) == copy.of,
            Entry::Carried { message, .. } => {
                self.state.holds(*message) && self.state.carried_at(*message) == copy.of
            }
            _ => false,
        }
    }

    /// Returns whether so much was written since the newest snapshot that the next one is due.
    #[must_use]
    pub fn has_grown(&self) -> bool {
        self.snapshots.is_due()
    }

    /// Returns the newest snapshot that survives a crash.
    #[must_use]
    pub fn durable_snapshot(&self) -> Option<Snapshot> {
        let log = self.log.as_ref()?;
        self.snapshots.durable(log.reader().durable_end())
    }

    /// Appends some parts of a snapshot, without syncing them: of the one that was begun, or of the state as it is now.
    ///
    /// # Errors
    /// As [`DeliveryLog::append_entries`]; [`LogError::Rolling`] also before the first part when the active segment is not
    /// empty. After any other error the snapshot counts for nothing, and the next call begins another one.
    pub fn append_snapshot(&mut self, now: TimestampMs) -> Result<SnapshotStep, LogError> {
        self.check_state()?;
        let mut writing = match self.snapshots.writing.take() {
            Some(writing) => writing,
            None => self.begin_snapshot(now)?,
        };
        for _ in 0..SNAPSHOT_PARTS_PER_STEP {
            let Some(part) = writing.part() else { break };
            match self.append(&[Entry::Snapshot(part)], now) {
                Ok(_) => writing.index = writing.index.saturating_add(1),
                Err(error) => {
                    let may_go_on = writing.index > 0 && matches!(error, LogError::Rolling { .. });
                    self.snapshots.writing = may_go_on.then_some(writing);
                    return Err(error);
                }
            }
        }
        if writing.part().is_some() {
            self.snapshots.writing = Some(writing);
            return Ok(SnapshotStep::More);
        }
        let end = self.log.as_ref().map_or(Offset::ZERO, Log::next_offset);
        self.snapshots.complete(&writing, end, self.durable_end());
        Ok(SnapshotStep::Written { end })
    }

    fn begin_snapshot(&mut self, now: TimestampMs) -> Result<Writing, LogError> {
        let log = self.log_or_create(now)?;
        if log.active_base() != log.next_offset() {
            return Err(LogError::Rolling {
                log: log.reader().id(),
            });
        }
        let start = log.next_offset();
        let segment_bytes = self.config.segment_bytes;
        Ok(self.snapshots.begin(&self.state, start, segment_bytes))
    }

    /// Returns the checkpoint of what is written now; `None` before the first entry. It may be stored once the durable end has
    /// reached its `durable_end`.
    #[must_use]
    pub fn checkpoint(&self) -> Option<LogCheckpoint> {
        self.log.as_ref().map(Log::checkpoint)
    }

    /// Plans retention: returns the new log start, which never passes the newest durable snapshot or what is read back of a
    /// message. It holds once everything that the log has now is durable: a message may have come to its end by an entry that a
    /// crash takes back.
    #[must_use]
    pub fn plan_retention(&self, policy: &RetentionPolicy, now: TimestampMs) -> Option<Offset> {
        self.check_state().ok()?;
        let log = self.log.as_ref()?;
        let ceiling = self.durable_snapshot()?.start;
        log.plan_retention(policy, ceiling, now)?;
        let read_from = self.state.head_ceiling().unwrap_or(ceiling);
        log.plan_retention(policy, ceiling.min(read_from), now)
    }

    /// Returns the log start that retention would give the log if nothing held it: what is still needed below it is to be
    /// copied, and a snapshot made.
    #[must_use]
    pub fn wanted_start(&self, policy: &RetentionPolicy, now: TimestampMs) -> Option<Offset> {
        let log = self.log.as_ref()?;
        log.plan_retention(policy, log.next_offset(), now)
    }

    /// Moves the log start, which must already be durable in the checkpoint.
    ///
    /// # Panics
    /// Past the newest durable snapshot: the state would be lost.
    pub fn apply_log_start(&mut self, start: Offset) -> Option<Unlink> {
        let newest = self.durable_snapshot().map(|snapshot| snapshot.start);
        assert!(
            newest.is_some_and(|newest| start <= newest),
            "the delivery log is never deleted past its newest snapshot"
        );
        Some(self.log.as_mut()?.apply_log_start(start))
    }
}
