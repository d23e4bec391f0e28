//! Taking in what the main log holds: messages, and the causes that they carry.

use super::{DeliveryState, Duplicate, Fired, NO_NAME, Owed, Pending, Phase, count_in};
use crate::cause::{Cause, CauseKind};
use crate::delivery::envelope::{Envelope, FlowControl};
use crate::offset::{Offset, TimestampMs};

/// What the state needs to know of a record that has arrived in the main log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrival {
    /// When it was created.
    pub created: Option<TimestampMs>,
    /// Time before which it is not attempted.
    pub not_before: Option<TimestampMs>,
    /// Its queue.
    pub queue: Option<String>,
    /// Its flow-control key, with the limits that it names.
    pub flow: Option<FlowControl>,
    /// Its deduplication key.
    pub dedup: Option<[u8; 16]>,
    /// Of a callback: the message whose place in the queue it keeps.
    pub root: Option<Offset>,
    /// What made the broker append it.
    pub cause: Option<Cause>,
}

impl Arrival {
    /// Takes what the state needs from an envelope. What the broker made from a cause is never a duplicate.
    #[must_use]
    pub fn new(created: TimestampMs, envelope: &Envelope, cause: Option<Cause>) -> Self {
        Self {
            created: Some(created),
            not_before: envelope.not_before,
            queue: envelope.queue.clone(),
            flow: envelope.flow.clone(),
            dedup: envelope.dedup.filter(|_| cause.is_none()),
            root: envelope.root,
            cause,
        }
    }
}

impl DeliveryState {
    /// Takes in a durable batch of the main log, in the order of the log. `None` stands for a record without an envelope.
    pub fn admit(&mut self, base: Offset, append_time: TimestampMs, arrivals: &[Option<Arrival>]) {
        for (delta, arrival) in (0u64..).zip(arrivals) {
            let message = Offset(base.0.saturating_add(delta));
            if message < self.admitted_up_to {
                continue;
            }
            self.admitted_up_to = message.next();
            if let Some(arrival) = arrival {
                self.admit_one(base, message, append_time, arrival);
            }
        }
    }

    fn admit_one(
        &mut self,
        base: Offset,
        message: Offset,
        append_time: TimestampMs,
        arrival: &Arrival,
    ) {
        self.counts.accepted = self.counts.accepted.saturating_add(1);
        let queue = match (&arrival.queue, arrival.root) {
            (Some(queue), Some(root)) => {
                self.roots.insert(message, root);
                let holds = self.holds.entry(root).or_default();
                *holds = holds.saturating_add(1);
                self.queues.hold(queue, root)
            }
            (Some(queue), None) => self.queues.join(queue, message),
            (None, _) => NO_NAME,
        };
        let flow = arrival.flow.as_ref().map_or(NO_NAME, |flow| {
            self.keys.note(flow, append_time);
            self.flows.take(&flow.key)
        });
        // Append times do not fall: after the clock was set back they are ahead of it.
        let created = arrival.created.unwrap_or(append_time);
        let pending = Pending {
            due: arrival.not_before.unwrap_or(created.min(append_time)),
            history_at: None,
            history_from: Offset::ZERO,
            queue,
            flow,
            attempts: 0,
            owed: 0,
            phase: Phase::Waiting,
        };
        self.messages.insert(message, pending);
        count_in(&mut self.counts, Phase::Waiting);
        if let Some(key) = arrival.dedup {
            self.note_duplicate(key, base, message, created.min(append_time));
        }
        if let Some(cause) = &arrival.cause {
            self.note_cause(cause, message);
        }
        self.arm(message);
        self.promote(queue);
    }

    /// All messages of one batch with the same key belong to one publish.
    fn note_duplicate(&mut self, key: [u8; 16], base: Offset, message: Offset, time: TimestampMs) {
        if let Some(last) = self.duplicates.back_mut()
            && last.key == key
            && last.base >= base
        {
            last.count = last.count.saturating_add(1);
            return;
        }
        self.duplicates.push_back(Duplicate {
            key,
            base: message,
            count: 1,
            time,
        });
    }

    fn note_cause(&mut self, cause: &Cause, message: Offset) {
        match cause.kind {
            CauseKind::Callback | CauseKind::FailureCallback => {
                self.answer(cause.kind, cause.offset);
            }
            CauseKind::Schedule => self.note_fired(cause, message),
            CauseKind::Republish | CauseKind::DeadLettering => {}
        }
    }

    fn note_fired(&mut self, cause: &Cause, message: Offset) {
        let (Some(id), Some(due)) = (&cause.detail.request_id, cause.detail.due) else {
            return;
        };
        let first = Fired {
            due,
            base: message,
            count: 1,
        };
        match self.fired.get_mut(id) {
            Some(fired) if fired.due == due && fired.follows(message) => {
                fired.count = fired.count.saturating_add(1);
            }
            // What was appended last counts: the clock may have been set back in between.
            Some(fired) if fired.base < message => *fired = first,
            Some(_) => {}
            None => {
                self.fired.insert(id.clone(), first);
            }
        }
    }

    /// Notes that the record of a callback is durable: it is owed no more.
    fn answer(&mut self, kind: CauseKind, offset: Offset) {
        let outcome = match kind {
            CauseKind::FailureCallback => self.owed_letters.get(&offset).copied(),
            _ => Some(offset),
        };
        let Some((outcome, owed)) =
            outcome.and_then(|outcome| Some((outcome, self.owed.get_mut(&outcome)?)))
        else {
            if !self.is_folded {
                self.answered.insert((kind, offset));
            }
            return;
        };
        if kind == CauseKind::FailureCallback {
            owed.failure_callback = false;
            self.owed_letters.remove(&offset);
        } else {
            owed.callback = false;
        }
        let owed = *owed;
        self.drop_settled(outcome, owed);
    }

    /// Forgets an outcome that owes nothing any more, and its message when that was all that kept it.
    pub(super) fn drop_settled(&mut self, outcome: Offset, owed: Owed) {
        if owed.callback || owed.failure_callback {
            return;
        }
        self.owed.remove(&outcome);
        let Some(pending) = self.messages.get_mut(&owed.message) else {
            return;
        };
        pending.owed = pending.owed.saturating_sub(1);
        if pending.owed == 0 && pending.phase == Phase::Owing {
            self.remove(owed.message);
        }
    }
}
