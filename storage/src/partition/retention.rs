//! Retention of a partition: apart for its main and its dead-letter log.

use super::append::Partition;
use super::claims::ClaimState;
use crate::log::{RetentionPolicy, Unlink};
use crate::log_id::LogKind;
use crate::offset::{Offset, TimestampMs};

/// How long a partition keeps what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionRetention {
    /// Of the main log.
    pub main: RetentionPolicy,
    /// Of the dead-letter log.
    pub dead_letters: RetentionPolicy,
    /// Of the delivery log: how long the events of messages can be looked at.
    pub delivery: RetentionPolicy,
}

impl Partition {
    /// Plans retention of the main log: returns the new log start, which never passes a cause without a synced marker, nor a
    /// message that is still needed and stands nowhere else. Of a pushed topic the plan holds once everything that the delivery
    /// log has now is durable.
    #[must_use]
    pub fn plan_main_retention(
        &self,
        policy: &RetentionPolicy,
        now: TimestampMs,
    ) -> Option<Offset> {
        let settled = self.settled_up_to();
        let ceiling = self
            .push_ceiling()
            .map_or(settled, |needed| needed.min(settled));
        self.main.plan_retention(policy, ceiling, now)
    }

    /// Plans retention of the dead-letter log.
    #[must_use]
    pub fn plan_dead_letter_retention(
        &self,
        policy: &RetentionPolicy,
        now: TimestampMs,
    ) -> Option<Offset> {
        let log = self.dead_letters.as_ref()?.log();
        log.plan_retention(policy, log.next_offset(), now)
    }

    /// Moves the start of a log, which must already be durable in the checkpoint.
    pub fn apply_log_start(&mut self, kind: LogKind, start: Offset) -> Option<Unlink> {
        match kind {
            LogKind::Main => {
                let unlink = self.main.apply_log_start(start);
                self.producers.forget_below(start);
                Some(unlink)
            }
            LogKind::DeadLetter => {
                let unlink = self.dead_letters.as_mut()?.apply_log_start(start);
                // A committed republish keeps its claim: its marker is still due, whatever became of the letter.
                let is_due = |state| matches!(state, ClaimState::Committed { .. });
                self.claims
                    .retain(|letter, state| letter >= start || is_due(state));
                Some(unlink)
            }
            LogKind::Delivery => self.push.as_mut()?.apply_log_start(start),
            LogKind::Control => None,
        }
    }
}
