//! What the delivery log and the main log of a `_push` partition add up to: a fold, in memory whole.
//!
//! # Invariants
//! 1. The state is a fold of what is *durable* in the main log ([`DeliveryState::admit`]) and of the delivery log's entries
//!    ([`DeliveryState::apply`]); nothing else changes what a restart would not find again. What a message is doing at this
//!    moment ([`Phase::Ready`]) is the engine's and is not kept.
//! 2. Conservation: accepted = pending + in flight + delivered + cancelled + dead-lettered, at all times.
//! 3. A message that owes callbacks stays until the callbacks' own records are durable; a message of a queue keeps its place
//!    until its callbacks have come to their ends.
//! 4. A message costs tens of bytes: its record stays in the log, its attempts are read back from the log.
//!
//! A callback's record says by its cause what it answers, so that it is never appended again: see [`crate::cause`].

mod keys;
mod names;
mod queues;
mod timers;
mod admit;
mod look;
mod apply;
mod snapshot;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::cause::CauseKind;
use crate::offset::{Offset, TimestampMs};
use keys::Keys;
use names::{NO_NAME, NameId, Names};
use queues::Queues;
use timers::Timers;

pub use admit::Arrival;
pub use keys::FlowLimits;
pub use queues::QueueRule;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It waits for its time, or for its place in its queue.
    Waiting,
    /// Its time has come: the engine has it.
    Ready,
    /// An attempt is under way.
    InFlight,
    /// It dies: its letter is not known durable.
    Dying,
    /// It has come to its end, and callbacks are owed.
    Owing,
}

/// A message that has not come to its end, or owes callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pending {
    due: TimestampMs,
    /// Its newest outcome or history in the delivery log.
    history_at: Option<Offset>,
    /// Where the entries begin that its attempts are read from; of no meaning without any.
    history_from: Offset,
    queue: NameId,
    flow: NameId,
    /// Attempts whose outcome is known.
    attempts: u16,
    /// Outcomes whose callbacks are owed.
    owed: u16,
    phase: Phase,
}

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageState {
    /// When it is attempted next.
    pub due: TimestampMs,
    /// Attempts whose outcome is known.
    pub attempts: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Its newest outcome or history in the delivery log.
    pub history_at: Option<Offset>,
    /// Its queue.
    pub queue: Option<String>,
    /// Its flow-control key.
    pub flow: Option<String>,
}

/// Callbacks that an outcome asks for and whose records are not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is owed, and on what it waits, are claims of their own"
)]
pub struct Owed {
    /// The message.
    pub message: Offset,
    /// Whether the callback of the attempt is owed.
    pub callback: bool,
    /// Whether the failure callback is owed.
    pub failure_callback: bool,
    /// Whether the message dies of this outcome: its callbacks wait for the letter.
    pub is_dead: bool,
    /// The letter, once it stands.
    pub letter: Option<Offset>,
}

/// What a deduplication key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The key.
    pub key: [u8; 16],
    /// The first message that was published under it.
    pub base: Offset,
    /// How many messages that publish made, one behind the other.
    pub count: u32,
    /// When.
    pub time: TimestampMs,
}

/// The last firing of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// The time that it was due.
    pub due: TimestampMs,
    /// The first message that it made.
    pub base: Offset,
    /// How many it made, one behind the other.
    pub count: u32,
}

impl Fired {
    /// Returns whether a message stands where the next one of this firing does.
    pub(super) fn follows(&self, message: Offset) -> bool {
        message.0 == self.base.0.saturating_add(u64::from(self.count))
    }
}

/// Attempts of a flow-control key in its newest period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// When the period began.
    pub start: TimestampMs,
    /// Attempts begun in it.
    pub count: u32,
}

/// How many messages there were, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryCounts {
    /// Accepted ever, callbacks and firings of schedules among them.
    pub accepted: u64,
    /// Delivered ever.
    pub delivered: u64,
    /// Cancelled ever.
    pub cancelled: u64,
    /// Dead-lettered ever.
    pub dead_lettered: u64,
    /// Neither at their end nor in flight.
    pub pending: u64,
    /// With an attempt under way.
    pub in_flight: u64,
}

/// The state of all messages of a partition.
#[derive(Debug, Clone, Default)]
pub struct DeliveryState {
    messages: BTreeMap<Offset, Pending>,
    /// Messages whose attempts may be made at their time.
    timers: Timers,
    queues: Queues,
    flows: Names,
    /// By the outcome that asks for them.
    owed: BTreeMap<Offset, Owed>,
    /// The outcome that a letter came from, while its failure callback is owed.
    owed_letters: HashMap<Offset, Offset>,
    /// Dying messages, with the outcome that they die of.
    dying: BTreeMap<Offset, Offset>,
    /// Causes that were met before what they answer. Only while opening: see [`DeliveryState::forget_answers`].
    answered: HashSet<(CauseKind, Offset)>,
    is_folded: bool,
    /// Messages that the engine has.
    ready_count: u64,
    /// First offset of the main log that was not admitted.
    admitted_up_to: Offset,
    /// Where the copies of records stand in the delivery log.
    carried: BTreeMap<Offset, Offset>,
    /// Callbacks that keep the place of a queue's message, with that message.
    roots: HashMap<Offset, Offset>,
    /// How many callbacks keep the place of a queue's message.
    holds: HashMap<Offset, u32>,
    duplicates: VecDeque<Duplicate>,
    fired: BTreeMap<String, Fired>,
    periods: HashMap<String, Period>,
    /// Limits of flow-control keys.
    keys: Keys,
    counts: DeliveryCounts,
}

impl DeliveryState {
    /// Takes messages whose time has come, the earliest first, at most `count_max`: they are ready, and the caller's.
    pub fn take_due(&mut self, now: TimestampMs, count_max: usize) -> Vec<Offset> {
        self.timers.count_to(now);
        let mut ready = Vec::new();
        while ready.len() < count_max
            && let Some((due, message)) = self.timers.first()
            && due <= now
        {
            self.timers.remove((due, message));
            self.set_phase(message, Phase::Ready);
            ready.push(message);
        }
        ready
    }

    /// Gives a ready message back, to be ready again at `due`.
    pub fn put_back(&mut self, message: Offset, due: TimestampMs) {
        if let Some(pending) = self.messages.get_mut(&message)
            && pending.phase == Phase::Ready
        {
            pending.due = due;
            self.set_phase(message, Phase::Waiting);
            self.arm(message);
        }
    }

    /// Gives a queue its rule: at the start, and whenever an operator changes it. `None` is the default again.
    pub fn set_queue_rule(&mut self, name: &str, rule: Option<QueueRule>) {
        let Some((id, active)) = self.queues.set_rule(name, rule) else {
            return;
        };
        for message in active {
            self.disarm(message);
            self.arm(message);
        }
        self.promote(id);
    }

    /// Forgets what no later message can depend on: deduplication keys older than `dedup_from`, flow-control periods that
    /// began before `periods_from`, firings of schedules that `is_known` does not know.
    pub fn forget(
        &mut self,
        dedup_from: TimestampMs,
        periods_from: TimestampMs,
        is_known: &dyn Fn(&str) -> bool,
    ) {
        while self
            .duplicates
            .front()
            .is_some_and(|duplicate| duplicate.time < dedup_from)
        {
            self.duplicates.pop_front();
        }
        self.periods
            .retain(|_, period| period.start >= periods_from);
        self.fired.retain(|id, _| is_known(id));
    }

    /// Forgets periods that are over, each as long as no other one has begun since.
    pub fn forget_periods(&mut self, over: &[(String, TimestampMs)]) {
        for (key, start) in over {
            if self
                .periods
                .get(key)
                .is_some_and(|period| period.start == *start)
            {
                self.periods.remove(key);
            }
        }
    }

    /// Forgets the limits of flow-control keys that were named before `from` and that no message has. Looks at all of them.
    pub fn forget_limits(&mut self, from: TimestampMs) {
        let flows = &self.flows;
        self.keys
            .retain(|key, limits| limits.since >= from || flows.id(key).is_some());
    }

    /// Ends the fold of both logs: what was under way when the broker ended waits again, at once. Callbacks of which the causes
    /// are not known yet stay in mind until [`DeliveryState::forget_answers`].
    pub fn finish_fold(&mut self) {
        self.is_folded = true;
        let stopped: Vec<_> = self
            .messages
            .iter()
            .filter(|(_, pending)| matches!(pending.phase, Phase::InFlight | Phase::Ready))
            .map(|(message, _)| *message)
            .collect();
        for message in stopped {
            self.set_phase(message, Phase::Waiting);
            self.arm(message);
        }
    }

    /// Forgets callbacks that answer nothing known, when the deaths that a crash interrupted are noted. Not before: a dead entry
    /// may be lost whose failure callback is durable, and the letter of the death alone says that this callback is told.
    pub fn forget_answers(&mut self) {
        self.answered = HashSet::new();
    }

    /// Moves a message to another phase and keeps the counts.
    fn set_phase(&mut self, message: Offset, phase: Phase) {
        let Some(pending) = self.messages.get_mut(&message) else {
            return;
        };
        let before = std::mem::replace(&mut pending.phase, phase);
        let is_ready = |phase| u64::from(phase == Phase::Ready);
        self.ready_count = self
            .ready_count
            .saturating_add(is_ready(phase))
            .saturating_sub(is_ready(before));
        count_out(&mut self.counts, before);
        count_in(&mut self.counts, phase);
    }

    /// Returns whether nothing in its queue holds a message back.
    fn may_run(&self, message: Offset) -> bool {
        let Some(pending) = self.messages.get(&message) else {
            return false;
        };
        let is_gated = pending.queue != NO_NAME && !self.roots.contains_key(&message);
        !is_gated || self.queues.may_run(pending.queue, message)
    }

    /// Sets the timer of a message that waits and may run.
    fn arm(&mut self, message: Offset) {
        if let Some(pending) = self.messages.get(&message)
            && pending.phase == Phase::Waiting
            && self.may_run(message)
        {
            self.timers.insert((pending.due, message));
        }
    }

    fn disarm(&mut self, message: Offset) {
        if let Some(pending) = self.messages.get(&message) {
            self.timers.remove((pending.due, message));
        }
    }

    fn promote(&mut self, queue: NameId) {
        for message in self.queues.promote(queue) {
            self.arm(message);
        }
    }
}

fn count_in(counts: &mut DeliveryCounts, phase: Phase) {
    match phase {
        Phase::Waiting | Phase::Ready | Phase::Dying => {
            counts.pending = counts.pending.saturating_add(1);
        }
        Phase::InFlight => counts.in_flight = counts.in_flight.saturating_add(1),
        Phase::Owing => {}
    }
}

fn count_out(counts: &mut DeliveryCounts, phase: Phase) {
    match phase {
        Phase::Waiting | Phase::Ready | Phase::Dying => {
            counts.pending = counts.pending.saturating_sub(1);
        }
        Phase::InFlight => counts.in_flight = counts.in_flight.saturating_sub(1),
        Phase::Owing => {}
    }
}
