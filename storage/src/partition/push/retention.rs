//! What may go of a `_push` partition's logs, and what is to be copied before.
//!
//! # Invariants
//! 1. The main log's start never passes a message that is held and whose record stands nowhere else, nor what the newest
//!    durable snapshot has not admitted.
//! 2. The delivery log's start never passes the newest durable snapshot, nor an entry that is still to be read.
//! 3. A plan holds once everything that the delivery log has at that moment is durable: **the caller syncs it between plan and
//!    deletion.** Otherwise a crash could take back the entry by which a message has come to its end, and the message with it.

use crate::delivery::limits::HELD_SHARE;
use crate::delivery::{EntryCopy, SnapshotStep};
use crate::error::LogError;
use crate::log::RetentionPolicy;
use crate::offset::{Offset, TimestampMs};
use crate::partition::{Partition, PartitionRetention};

/// What retention of the main log wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MainRetentionTarget {
    /// The log start that it can have once the messages below are carried and a snapshot has admitted everything below; `None`
    /// when nothing has had its time, or what has is held.
    pub start: Option<Offset>,
    /// Segments that have had their time and are held, because too much of one of them is still needed.
    pub held_segment_count: u64,
}

impl Partition {
    /// Returns what retention of the main log wants. A segment of which more than a tenth is still needed is held, and what
    /// lies behind it.
    #[must_use]
    pub fn main_retention_target(
        &self,
        policy: &RetentionPolicy,
        now: TimestampMs,
    ) -> MainRetentionTarget {
        let ceiling = self.settled_up_to();
        let Some(wanted) = self.main.plan_retention(policy, ceiling, now) else {
            return MainRetentionTarget::default();
        };
        let Some(state) = self.delivery() else {
            return MainRetentionTarget::default();
        };
        let segments = self.main.reader().segments();
        let mut target = MainRetentionTarget::default();
        for segment in segments.iter().filter(|s| s.end_offset <= wanted) {
            let (base, end) = (segment.base_offset, segment.end_offset);
            let record_count = end.since(base).unwrap_or(0);
            let is_held = || {
                let needed_count = u64::try_from(state.uncarried(base..end).count());
                let needed_count = needed_count.unwrap_or(u64::MAX);
                needed_count.saturating_mul(HELD_SHARE) > record_count
            };
            // Behind a segment that is held nothing is deleted: nobody counts there.
            if target.held_segment_count > 0 || is_held() {
                target.held_segment_count = target.held_segment_count.saturating_add(1);
            } else {
                target.start = Some(end);
            }
        }
        target
    }

    /// Returns the messages below `start` that are still needed and stand nowhere but in the main log, the oldest first.
    #[must_use]
    pub fn uncarried_below(&self, start: Offset) -> Vec<Offset> {
        let state = self.delivery();
        state.map_or_else(Vec::new, |state| {
            state.uncarried(Offset::ZERO..start).collect()
        })
    }

    /// Returns the first main-log offset that must stay for what is pushed; `None` where nothing holds any.
    pub(in crate::partition) fn push_ceiling(&self) -> Option<Offset> {
        let push = self.push.as_ref()?;
        let Some(state) = push.state() else {
            // What the state would be is not known: nothing may go.
            return Some(Offset::ZERO);
        };
        let admitted = push
            .durable_snapshot()
            .map_or(Offset::ZERO, |snapshot| snapshot.admitted_up_to);
        let uncarried = state.uncarried(Offset::ZERO..admitted).next();
        Some(uncarried.unwrap_or(admitted))
    }

    /// Plans retention of the delivery log. The plan holds once everything that the delivery log has now is durable.
    #[must_use]
    pub fn plan_delivery_retention(
        &self,
        policy: &RetentionPolicy,
        now: TimestampMs,
    ) -> Option<Offset> {
        self.push.as_ref()?.plan_retention(policy, now)
    }

    /// Returns the messages whose attempts and records stand below the log start that the delivery log should have, with
    /// where: both are to be copied. Empty when they stand above it, or nothing has had its time.
    #[must_use]
    pub fn stale_references(&self, policy: &RetentionPolicy, now: TimestampMs) -> StaleReferences {
        let mut stale = StaleReferences::default();
        let Some(push) = self.push.as_ref() else {
            return stale;
        };
        if let (Some(state), Some(wanted)) = (push.state(), push.wanted_start(policy, now)) {
            stale.histories = state.histories_below(wanted).collect();
            stale.carried = state.carried_below(wanted).collect();
        }
        stale
    }

    /// Returns whether a snapshot is due: the logs have grown much since the last one, or retention waits for the next.
    #[must_use]
    pub fn snapshot_is_due(&self, retention: &PartitionRetention, now: TimestampMs) -> bool {
        let Some(push) = self.push.as_ref().filter(|push| push.state().is_some()) else {
            return false;
        };
        if push.has_grown() {
            return true;
        }
        let (start, admitted) = push
            .durable_snapshot()
            .map_or((Offset::ZERO, Offset::ZERO), |snapshot| {
                (snapshot.start, snapshot.admitted_up_to)
            });
        let delivery = push.wanted_start(&retention.delivery, now);
        let main = self.main_retention_target(&retention.main, now).start;
        delivery.is_some_and(|wanted| wanted > start)
            || main.is_some_and(|wanted| wanted > admitted)
    }

    /// Appends some parts of a snapshot, without syncing them. It counts when it is complete and durable.
    ///
    /// # Errors
    /// The delivery log's error: [`LogError::Rolling`] asks the caller to roll and call again, also before the first part when
    /// the active segment is not empty. After any other error the next call begins another snapshot.
    pub fn append_snapshot(&mut self, now: TimestampMs) -> Result<SnapshotStep, LogError> {
        self.admit_durable();
        self.push_mut()?.append_snapshot(now)
    }

    /// Appends copies of histories and records as one batch, without syncing it, but for those that are of no use any more.
    /// Returns how many were appended.
    ///
    /// # Errors
    /// The delivery log's error: [`LogError::Rolling`] asks the caller to roll and call again.
    pub fn append_copies(
        &mut self,
        copies: &[EntryCopy],
        now: TimestampMs,
    ) -> Result<usize, LogError> {
        self.push_mut()?.append_copies(copies, now)
    }
}

/// Messages whose attempts or records stand where the delivery log should end, each with where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StaleReferences {
    /// Newest outcome or history of each.
    pub histories: Vec<(Offset, Offset)>,
    /// Copy of each.
    pub carried: Vec<(Offset, Offset)>,
}
