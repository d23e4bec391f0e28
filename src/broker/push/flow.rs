//! Looking at flow control, and what messages say of it.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

use storage::delivery::Period;
use storage::offset::TimestampMs;
use storage::partition::NewMessage;

use crate::broker::Broker;
use crate::delivery::api::{FlowView, ParallelismView};
use crate::delivery::gates::Ticket;
use crate::delivery::window::DEDUP_WINDOW_MS;

/// How long the attempts of a flow-control period, and the limits of a key, are remembered, in milliseconds: as long as the longest
/// period, a week.
const PERIOD_MEMORY_MS: i64 = 7 * 24 * 3600 * 1000;

impl Broker {
    /// Takes the settings of messages for their flow-control keys. Without any, nobody waits for the gates.
    pub(super) fn note_flows(&self, messages: &[NewMessage], append_time: TimestampMs) {
        let flows = messages.iter().filter_map(|m| m.envelope.flow.as_ref());
        let mut flows = flows.peekable();
        if flows.peek().is_none() {
            return;
        }
        let now = self.clock.now();
        self.push().change_gates(now, |gates| {
            let passes = flows.map(|flow| gates.note_config(flow, append_time, now));
            passes.flatten().collect()
        });
    }

    /// Returns what is known of a flow-control key; `None` when nobody has used it lately and nothing is decided about it.
    #[must_use]
    pub fn flow_view(&self, key: &str) -> Option<FlowView> {
        let push = self.push();
        let limits = push.limits_in_logs(key);
        let mut gates = push.gates.lock();
        if limits.is_some() && gates.needs_limits(key) {
            gates.learn(key, limits);
        }
        gates.view(key, self.clock.now())
    }

    /// Returns what is known of every flow-control key, by name.
    #[must_use]
    pub fn flow_views(&self) -> Vec<FlowView> {
        self.push().gates.lock().views(self.clock.now())
    }

    /// Begins a new period of a key now. Returns whether the key is known.
    pub fn reset_rate(&self, key: &str) -> bool {
        let push = self.push();
        let now = self.clock.now();
        let mut gates = push.gates.lock();
        let passes = gates.reset_rate(key, now);
        let is_known = passes.is_some();
        push.hand_out(gates, passes.unwrap_or_default(), now);
        is_known
    }

    /// Returns how many attempts are under way over all destinations, and how many may be.
    #[must_use]
    pub fn global_parallelism(&self) -> ParallelismView {
        let gates = self.push().places.lock();
        ParallelismView {
            max: u32::try_from(gates.limits().total_max).unwrap_or(u32::MAX),
            count: u32::try_from(gates.in_flight()).unwrap_or(u32::MAX),
        }
    }

    /// Forgets flow-control keys and deduplication keys that nothing depends on any more.
    pub(in crate::broker) fn sweep_push(&self) {
        let now = self.clock.now();
        self.forget_old(now);
        self.withdraw_cancelled(now);
        let mut used = BTreeSet::new();
        for desk in &self.push().desks {
            let owner = desk.partition.owner().lock();
            if let Some(state) = owner.delivery() {
                used.extend(state.flow_keys().map(|(key, _)| key.to_owned()));
            }
        }
        let push = self.push();
        push.gates.lock().sweep(now, &|key| used.contains(key));
        push.places.lock().sweep(now, &|_| false);
    }

    /// Forgets the limits of flow-control keys that no message has had for long.
    pub(in crate::broker) fn forget_limits(&self) {
        let from = self
            .clock
            .now()
            .saturating_add(PERIOD_MEMORY_MS.saturating_neg());
        for desk in &self.push().desks {
            let mut owner = desk.partition.owner().lock();
            if let Some(state) = owner.delivery_mut() {
                state.forget_limits(from);
            }
        }
    }

    /// Forgets what no later message can depend on.
    fn forget_old(&self, now: TimestampMs) {
        let settings = self.push_settings();
        let is_known = |id: &str| settings.state.schedule(id).is_some();
        let dedup_from = now.saturating_add(DEDUP_WINDOW_MS.saturating_neg());
        let periods_from = now.saturating_add(PERIOD_MEMORY_MS.saturating_neg());
        for desk in &self.push().desks {
            let mut owner = desk.partition.owner().lock();
            if let Some(state) = owner.delivery_mut() {
                state.forget(dedup_from, periods_from, &is_known);
            }
        }
        self.forget_periods(now);
        self.push().fired.lock().retain(|id, _| is_known(id));
        self.push().set_back.lock().retain(|id, _| is_known(id));
    }

    /// Forgets the periods of flow-control keys that are over: there may be a key for each user of somebody's. Each lock is had alone.
    fn forget_periods(&self, now: TimestampMs) {
        let push = self.push();
        for desk in &push.desks {
            let name = |(key, period): (&str, Period)| (key.to_owned(), period.start);
            let mut periods: Vec<_> = {
                let owner = desk.partition.owner().lock();
                let state = owner.delivery();
                state.map_or_else(Vec::new, |state| state.periods().map(name).collect())
            };
            // How long a period is, the key's limits say.
            for (key, _) in &periods {
                push.learn_limits(key);
            }
            {
                let gates = push.gates.lock();
                periods.retain(|(key, _)| gates.is_past(key, now));
            }
            if let Some(state) = desk.partition.owner().lock().delivery_mut() {
                state.forget_periods(&periods);
            }
        }
    }

    /// Takes messages that were called off out of the lists at the gates: their turn there may never come.
    fn withdraw_cancelled(&self, now: TimestampMs) {
        let push = self.push();
        if !push.has_cancelled.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut waiting: Vec<_> = push.gates.lock().waiting().collect();
        waiting.extend(push.places.lock().waiting());
        waiting.sort_unstable_by_key(|ticket| ticket.partition);
        let mut gone = HashSet::new();
        for tickets in waiting.chunk_by(|one, two| one.partition == two.partition) {
            let first = tickets.first().map(|ticket| ticket.partition);
            let Some(desk) = first.and_then(|index| push.desk(index)) else {
                continue;
            };
            let owner = desk.partition.owner().lock();
            let Some(state) = owner.delivery() else {
                continue;
            };
            let is_gone = |ticket: &&Ticket| !state.holds(ticket.message);
            gone.extend(tickets.iter().filter(is_gone).copied());
        }
        push.withdraw(&gone, now);
    }
}
