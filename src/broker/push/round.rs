//! What a round of a dispatcher writes down: the outcomes of attempts that have ended, and the intents of those that begin.

use storage::delivery::{Entry, Intent, Outcome, Phase};
use storage::error::LogError;
use storage::offset::{Offset, TimestampMs};
use storage::partition::Partition;

use super::attempt::{Start, next_number};
use crate::delivery::gates::Pass;

/// The attempts of a round.
pub(super) struct Round {
    /// Those that may be made.
    pub(super) starts: Vec<Start>,
    /// Those that have ended and are not written down.
    pub(super) ended: Vec<Outcome>,
    /// Passes of those that may not after all.
    pub(super) given_up: Vec<Pass>,
}

impl Round {
    pub(super) fn new(starts: Vec<Start>, ended: Vec<Outcome>) -> Self {
        Self {
            starts,
            ended,
            given_up: Vec::new(),
        }
    }

    /// Appends what the round comes to as one batch; returns its end, or `None` when there is nothing to append.
    pub(super) fn append(
        &mut self,
        owner: &mut Partition,
        now: TimestampMs,
    ) -> Result<Option<Offset>, LogError> {
        let Some(state) = owner.delivery() else {
            let starts = std::mem::take(&mut self.starts);
            self.given_up
                .extend(starts.into_iter().map(|start| start.pass));
            return Ok(None);
        };
        let count = self.ended.len().saturating_add(self.starts.len());
        let mut entries = Vec::with_capacity(count);
        // A message that was called off while it was in flight has come to its end already.
        let is_open = |outcome: &Outcome| state.phase(outcome.message) == Some(Phase::InFlight);
        let ended = std::mem::take(&mut self.ended).into_iter();
        entries.extend(ended.filter(is_open).map(Entry::Outcome));
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
        match owner.append_entries(&entries, now) {
            Ok(appended) => Ok(Some(appended.next_offset)),
            Err(error) => {
                self.ended.extend(entries.into_iter().filter_map(outcome));
                Err(error)
            }
        }
    }
}

fn outcome(entry: Entry) -> Option<Outcome> {
    match entry {
        Entry::Outcome(outcome) => Some(outcome),
        _ => None,
    }
}
