//! Taking in what the delivery log holds. An entry about a message that has come to its end changes nothing.

use super::{DeliveryState, NO_NAME, Owed, Period, Phase};
use crate::cause::CauseKind;
use crate::delivery::entry::{Entry, Intent, Outcome, Verdict};
use crate::offset::Offset;

impl DeliveryState {
    /// Takes in the entry that stands at `at` in the delivery log. Parts of snapshots are not for here.
    pub fn apply(&mut self, at: Offset, entry: &Entry) {
        match entry {
            Entry::Intent(intent) => self.begin(intent),
            Entry::Outcome(outcome) => self.end(at, outcome),
            Entry::Cancelled { message, .. } => self.cancel(*message),
            Entry::Dead {
                message, letter, ..
            } => self.die(*message, *letter),
            Entry::Carried { message, .. } => {
                if self.messages.contains_key(message) {
                    self.carried.insert(*message, at);
                }
            }
            Entry::History { message, .. } => {
                if let Some(pending) = self.messages.get_mut(message) {
                    pending.history_at = Some(at);
                    pending.history_from = at;
                }
            }
            Entry::Snapshot(_) => {}
            Entry::GivenUp { message, .. } => self.give_up(*message),
        }
    }

    fn begin(&mut self, intent: &Intent) {
        let Some(pending) = self.messages.get(&intent.message) else {
            return;
        };
        // One that is in flight was interrupted by a crash, and begins again: both attempts count in the period.
        if matches!(pending.phase, Phase::Dying | Phase::Owing) {
            return;
        }
        if let Some(start) = intent.period
            && let Some(key) = self.flows.name(pending.flow)
        {
            let first = Period { start, count: 0 };
            let period = self.periods.entry((**key).to_owned()).or_insert(first);
            // One that begins behind the attempt is from before the clock was set back: no attempt counts in it any more.
            if period.start < start || (period.start > intent.time && period.start != start) {
                *period = first;
            }
            if period.start == start {
                period.count = period.count.saturating_add(1);
            }
        }
        self.disarm(intent.message);
        self.set_phase(intent.message, Phase::InFlight);
    }

    fn end(&mut self, at: Offset, outcome: &Outcome) {
        let message = outcome.message;
        self.disarm(message);
        let Some(pending) = self.messages.get_mut(&message) else {
            return;
        };
        if matches!(pending.phase, Phase::Dying | Phase::Owing) {
            return;
        }
        pending.attempts = u16::try_from(outcome.attempt.number).unwrap_or(u16::MAX);
        if pending.history_at.is_none() {
            pending.history_from = at;
        }
        pending.history_at = Some(at);
        let is_dead = matches!(outcome.verdict, Verdict::Dead { .. });
        let owed = Owed {
            message,
            callback: outcome.owes.callback && !self.answered.remove(&(CauseKind::Callback, at)),
            failure_callback: outcome.owes.failure_callback,
            is_dead,
            letter: None,
        };
        if owed.callback || owed.failure_callback {
            pending.owed = pending.owed.saturating_add(1);
            self.owed.insert(at, owed);
        }
        match outcome.verdict {
            Verdict::Delivered => {
                self.counts.delivered = self.counts.delivered.saturating_add(1);
                self.finish(message);
            }
            Verdict::Retry { at: due } => {
                pending.due = due;
                self.set_phase(message, Phase::Waiting);
                self.arm(message);
            }
            Verdict::Dead { .. } => {
                self.dying.insert(message, at);
                self.set_phase(message, Phase::Dying);
            }
        }
    }

    fn cancel(&mut self, message: Offset) {
        let pending = self.messages.get(&message);
        if pending.is_some_and(|p| !matches!(p.phase, Phase::Dying | Phase::Owing)) {
            self.disarm(message);
            self.counts.cancelled = self.counts.cancelled.saturating_add(1);
            self.finish(message);
        }
    }

    /// Nothing can follow from a message any more: it is not attempted, has no letter and tells nobody.
    fn give_up(&mut self, message: Offset) {
        let Some(pending) = self.messages.get_mut(&message) else {
            return;
        };
        let has_ended = pending.phase == Phase::Owing;
        if std::mem::take(&mut pending.owed) > 0 {
            let owed = &mut self.owed;
            self.owed_letters
                .retain(|_, outcome| owed.get(outcome).is_none_or(|it| it.message != message));
            owed.retain(|_, owed| owed.message != message);
        }
        self.dying.remove(&message);
        self.disarm(message);
        if has_ended {
            self.remove(message);
        } else {
            self.counts.cancelled = self.counts.cancelled.saturating_add(1);
            self.finish(message);
        }
    }

    fn die(&mut self, message: Offset, letter: Offset) {
        let Some(outcome) = self.dying.remove(&message) else {
            return;
        };
        self.counts.dead_lettered = self.counts.dead_lettered.saturating_add(1);
        self.finish(message);
        let Some(owed) = self.owed.get_mut(&outcome) else {
            return;
        };
        owed.letter = Some(letter);
        if owed.failure_callback {
            if self.answered.remove(&(CauseKind::FailureCallback, letter)) {
                owed.failure_callback = false;
            } else {
                self.owed_letters.insert(letter, outcome);
            }
        }
        let owed = *owed;
        self.drop_settled(outcome, owed);
    }

    /// A message has come to its end: it leaves, or stays for the callbacks that it owes.
    fn finish(&mut self, message: Offset) {
        let Some(pending) = self.messages.get(&message).copied() else {
            return;
        };
        if pending.queue != NO_NAME && !self.roots.contains_key(&message) {
            self.queues.processed(pending.queue);
        }
        if pending.owed > 0 {
            self.set_phase(message, Phase::Owing);
        } else {
            self.remove(message);
        }
    }

    /// Forgets a message. Its place in its queue is free unless a callback keeps it.
    pub(super) fn remove(&mut self, message: Offset) {
        // The counts first, while the message is known.
        self.set_phase(message, Phase::Owing);
        let Some(pending) = self.messages.remove(&message) else {
            return;
        };
        self.flows.give_back(pending.flow);
        self.carried.remove(&message);
        if pending.queue == NO_NAME {
            return;
        }
        let root = match self.roots.remove(&message) {
            None => message,
            Some(root) => {
                if let Some(holds) = self.holds.get_mut(&root) {
                    *holds = holds.saturating_sub(1);
                    if *holds == 0 {
                        self.holds.remove(&root);
                    }
                }
                root
            }
        };
        if !self.holds.contains_key(&root) && !self.messages.contains_key(&root) {
            self.queues.leave(pending.queue, root);
            self.promote(pending.queue);
        }
        self.queues.give_back(pending.queue);
    }
}
