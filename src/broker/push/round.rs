//! What a round of a dispatcher writes down: the outcomes of attempts that have ended, and the intents of those that begin.

use storage::delivery::{Entry, Intent, Phase};
use storage::error::LogError;
use storage::offset::{Offset, TimestampMs};
use storage::partition::Partition;

use super::attempt::{Ended, Start, next_number};
use crate::delivery::gates::Pass;

/// The attempts of a round.
pub(super) struct Round {
    /// Those that may be made.
    pub(super) starts: Vec<Start>,
    /// Passes of those that may not after all.
    pub(super) given_up: Vec<Pass>,
}

impl Round {
    pub(super) fn new(starts: Vec<Start>) -> Self {
        Self {
            starts,
            given_up: Vec::new(),
        }
    }

    /// Appends what the round comes to as one batch; returns its end, or `None` when there is nothing to append.
    pub(super) fn append(
        &mut self,
        owner: &mut Partition,
        ended: &[Ended],
        now: TimestampMs,
    ) -> Result<Option<Offset>, LogError> {
        let Some(state) = owner.delivery() else {
            let starts = std::mem::take(&mut self.starts);
            self.given_up
                .extend(starts.into_iter().map(|start| start.pass));
            return Ok(None);
        };
        let mut entries = Vec::with_capacity(ended.len().saturating_add(self.starts.len()));
        for one in ended {
            // A message that was called off while it was in flight has come to its end already.
            let known = state.get(one.outcome.message);
            if known.is_some_and(|known| known.phase == Phase::InFlight) {
                entries.push(Entry::Outcome(one.outcome.clone()));
            }
        }
        for mut start in std::mem::take(&mut self.starts) {
            let message = start.message.offset;
            match state.get(message).filter(|_| state.may_start(message)) {
                Some(known) => {
                    start.number = next_number(known.attempts);
                    entries.push(Entry::Intent(Intent {
                        message,
                        attempt: start.number,
                        time: now,
                        period: start.pass.period,
                    }));
                    self.starts.push(start);
                }
                None => self.given_up.push(start.pass),
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let appended = owner.append_entries(&entries, now)?;
        Ok(Some(appended.next_offset))
    }
}
