//! Looking at the state: nothing here changes it.

use super::{
    DeliveryCounts, DeliveryState, Duplicate, Fired, FlowLimits, MessageState, Owed, Period, Phase,
};
use crate::offset::{Offset, TimestampMs};

impl DeliveryState {
    /// Returns what is known of a message; `None` when it has come to its end or never was.
    #[must_use]
    pub fn get(&self, message: Offset) -> Option<MessageState> {
        let pending = self.messages.get(&message)?;
        let name = |name: Option<&std::sync::Arc<str>>| name.map(|name| (**name).to_owned());
        Some(MessageState {
            due: pending.due,
            attempts: u32::from(pending.attempts),
            phase: pending.phase,
            history_at: pending.history_at,
            queue: name(self.queues.names().name(pending.queue)),
            flow: name(self.flows.name(pending.flow)),
        })
    }

    /// Returns where a message stands; `None` when it has come to its end or never was.
    #[must_use]
    pub fn phase(&self, message: Offset) -> Option<Phase> {
        self.messages.get(&message).map(|pending| pending.phase)
    }

    /// Returns whether a message is held: it has not come to its end, or owes callbacks.
    #[must_use]
    pub fn holds(&self, message: Offset) -> bool {
        self.messages.contains_key(&message)
    }

    /// Returns the newest outcome or history of a message in the delivery log.
    #[must_use]
    pub fn history_at(&self, message: Offset) -> Option<Offset> {
        self.messages.get(&message)?.history_at
    }

    /// Returns whether a message has not come to its end.
    #[must_use]
    pub fn is_pending(&self, message: Offset) -> bool {
        let pending = self.messages.get(&message);
        pending.is_some_and(|pending| pending.phase != Phase::Owing)
    }

    /// Returns the time of the next message that is not ready yet.
    #[must_use]
    pub fn next_due(&self) -> Option<TimestampMs> {
        self.timers.first().map(|(due, _)| due)
    }

    /// Returns how many messages the engine has or may have now: ready ones, and those whose time has come.
    #[must_use]
    pub fn due_count(&self, now: TimestampMs) -> u64 {
        self.timers.due_count(now).saturating_add(self.ready_count)
    }

    /// Returns how many messages of a queue have not come to their end.
    #[must_use]
    pub fn queue_lag(&self, name: &str) -> u64 {
        self.queues.unprocessed(name)
    }

    /// Returns the messages of a queue, the oldest first.
    #[must_use]
    pub fn queue_messages(&self, name: &str) -> Vec<Offset> {
        let mut messages = self.queues.messages(name);
        messages.retain(|message| self.is_pending(*message));
        messages
    }

    /// Returns the names of queues that hold messages.
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.queues.names().iter().map(|(_, name, _)| name)
    }

    /// Returns the flow-control keys of messages that have not come to their end, with how many they are.
    pub fn flow_keys(&self) -> impl Iterator<Item = (&str, u64)> {
        self.flows.iter().map(|(_, name, uses)| (name, uses))
    }

    /// Returns the newest periods of flow-control keys.
    pub fn periods(&self) -> impl Iterator<Item = (&str, Period)> {
        self.periods
            .iter()
            .map(|(key, period)| (key.as_str(), *period))
    }

    /// Returns the limits of a flow-control key, as the newest message that names any has named them.
    #[must_use]
    pub fn limits_of(&self, key: &str) -> Option<FlowLimits> {
        self.keys.get(key)
    }

    /// Returns the messages that have not come to their end or owe callbacks, from `from` on.
    pub fn messages_from(&self, from: Offset) -> impl Iterator<Item = (Offset, Phase)> {
        self.messages
            .range(from..)
            .map(|(message, pending)| (*message, pending.phase))
    }

    /// Returns the messages whose letters are not known durable, with the outcome that they die of.
    pub fn dying(&self) -> impl Iterator<Item = (Offset, Offset)> {
        self.dying
            .iter()
            .map(|(message, outcome)| (*message, *outcome))
    }

    /// Returns whether an attempt of a ready message may be begun now: its queue may have been paused meanwhile.
    #[must_use]
    pub fn may_start(&self, message: Offset) -> bool {
        let pending = self.messages.get(&message);
        pending.is_some_and(|pending| pending.phase == Phase::Ready && self.may_run(message))
    }

    /// Returns the first offset of the main log that was not admitted.
    #[must_use]
    pub fn admitted_up_to(&self) -> Offset {
        self.admitted_up_to
    }

    /// Returns the first offset of the delivery log that is still to be read, however new the newest snapshot is. It looks at
    /// every message.
    #[must_use]
    pub fn head_ceiling(&self) -> Option<Offset> {
        let owed = self.owed.keys().next().copied();
        let dying = self.dying.values().copied();
        let carried = self.carried.values().copied();
        let histories = self.messages.values().filter_map(|pending| {
            let is_any = pending.history_at.is_some();
            is_any.then_some(pending.history_from)
        });
        let read = owed.into_iter().chain(dying).chain(carried);
        read.chain(histories).min()
    }

    /// Returns the messages whose attempts are read from entries below `head`, with their newest outcome or history.
    pub fn histories_below(&self, head: Offset) -> impl Iterator<Item = (Offset, Offset)> {
        self.messages.iter().filter_map(move |(message, pending)| {
            let at = pending.history_at?;
            (pending.history_from < head).then_some((*message, at))
        })
    }

    /// Returns the messages whose records stand as copies below `head`, with where.
    pub fn carried_below(&self, head: Offset) -> impl Iterator<Item = (Offset, Offset)> {
        self.carried
            .iter()
            .filter(move |(_, at)| **at < head)
            .map(|(message, at)| (*message, *at))
    }

    /// Returns the messages of a range whose records stand nowhere but in the main log.
    pub fn uncarried(&self, range: std::ops::Range<Offset>) -> impl Iterator<Item = Offset> {
        self.messages
            .range(range)
            .map(|(message, _)| *message)
            .filter(|message| !self.carried.contains_key(message))
    }

    /// Returns the callbacks that can be appended now, by the outcome that asks for them.
    pub fn owed(&self) -> impl Iterator<Item = (Offset, Owed)> {
        let can = |owed: &Owed| !owed.is_dead || owed.letter.is_some();
        self.owed
            .iter()
            .filter(move |(_, owed)| can(owed))
            .map(|(outcome, owed)| (*outcome, *owed))
    }

    /// Returns what an outcome still owes.
    #[must_use]
    pub fn owed_by(&self, outcome: Offset) -> Option<Owed> {
        self.owed.get(&outcome).copied()
    }

    /// Returns where the copy of a record stands in the delivery log.
    #[must_use]
    pub fn carried_at(&self, message: Offset) -> Option<Offset> {
        self.carried.get(&message).copied()
    }

    /// Returns the live deduplication keys, the oldest first.
    pub fn duplicates(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter()
    }

    /// Returns the last firing of each schedule.
    pub fn fired(&self) -> impl Iterator<Item = (&str, Fired)> {
        self.fired.iter().map(|(id, fired)| (id.as_str(), *fired))
    }

    /// Returns how many messages there were, and what became of them.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        self.counts
    }
}
