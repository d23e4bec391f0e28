//! What a round of a dispatcher writes down: the outcomes of attempts that have ended, and the intents of those that begin.

use storage::delivery::{Entry, Intent, Outcome, Phase};
use storage::error::LogError;
use storage::offset::{Offset, TimestampMs};
use storage::partition::Partition;

use super::attempt::{Start, next_number};
use super::desk::Held;

/// Bytes of answers at which a batch ends early.
const BATCH_BYTES_GOAL: usize = 8 << 20;

/// The attempts of a round.
pub(super) struct Round {
    /// Those that may be made.
    pub(super) starts: Vec<Start>,
    /// Those that have ended and are not written down.
    pub(super) ended: Vec<Outcome>,
    /// Passes of those that may not after all.
    pub(super) given_up: Vec<Held>,
}

impl Round {
    pub(super) fn new(starts: Vec<Start>, ended: Vec<Outcome>) -> Self {
        Self {
            starts,
            ended,
            given_up: Vec::new(),
        }
    }

    /// Appends what the round comes to as one batch; returns its end, or `None` when there is nothing to append. Outcomes that are
    /// too much for one batch stay.
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
        let rest = self.ended.split_off(fitting(&self.ended));
        let ended = std::mem::replace(&mut self.ended, rest).into_iter();
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
                let unwritten = entries.into_iter().filter_map(outcome);
                self.ended.splice(..0, unwritten);
                Err(error)
            }
        }
    }
}

/// Returns how many outcomes go into one batch; at least one, if there is one.
fn fitting(ended: &[Outcome]) -> usize {
    let mut bytes = 0usize;
    let is_full = |outcome: &Outcome| {
        let is_full = bytes >= BATCH_BYTES_GOAL;
        bytes = bytes.saturating_add(outcome.attempt.body.len());
        is_full
    };
    ended.iter().position(is_full).unwrap_or(ended.len())
}

fn outcome(entry: Entry) -> Option<Outcome> {
    match entry {
        Entry::Outcome(outcome) => Some(outcome),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use storage::dead_letter::{Attempt, AttemptResult};
    use storage::delivery::{Owes, Verdict};

    use super::*;

    #[test]
    fn long_answers_are_cut_into_batches_of_at_least_one() {
        let outcome = |bytes: usize| Outcome {
            message: Offset(0),
            verdict: Verdict::Delivered,
            owes: Owes::default(),
            previous: None,
            attempt: Attempt {
                number: 1,
                time: TimestampMs(0),
                duration_ms: 0,
                result: AttemptResult::Status(200),
                headers: Vec::new(),
                body: Bytes::from(vec![0; bytes]),
                is_body_cut: false,
                are_headers_cut: false,
            },
        };
        let of = |sizes: &[usize]| {
            sizes
                .iter()
                .map(|bytes| outcome(*bytes))
                .collect::<Vec<_>>()
        };
        let half = BATCH_BYTES_GOAL / 2;
        assert_eq!(fitting(&[]), 0);
        assert_eq!(fitting(&of(&[BATCH_BYTES_GOAL * 2])), 1);
        assert_eq!(fitting(&of(&[half, half, 0, 0])), 2);
        assert_eq!(fitting(&of(&[half, half - 1, half, 0])), 3);
    }
}
