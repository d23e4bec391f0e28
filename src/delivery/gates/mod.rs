//! Who may start now: attempts per flow-control key, per destination, and in all. PURE: time is passed in.
//!
//! A message that may not start waits in the list of the first gate that is closed to it; it is never dropped. When a place
//! gets free, or a period ends, waiting messages are let through in the order in which they came. A destination that hangs
//! fills its own places only: that is what keeps it from slowing the others.
//!
//! An attempt takes one of its destination's places, and of all places as many as its body is large, so that a limit on
//! attempts is one on the bytes in memory too. Nobody passes a large one that waits for its places.
//!
//! Invariants: a waiting message stands in exactly one list, that of a closed gate; every pass that was given out is given
//! back once ([`Gates::leave`]).

mod key;
mod line;
mod pass;
mod restore;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use storage::delivery::{FlowControl, FlowLimits};
use storage::offset::TimestampMs;

use super::api::FlowView;
use key::Key;
pub use key::Pin;
use line::Line;
pub use pass::{Claim, GateLimits, Pass, Ticket, Turn};

#[derive(Debug, Clone)]
struct Waiting {
    ticket: Ticket,
    key: Option<Arc<str>>,
    claim: Claim,
}

/// All gates of the broker.
#[derive(Debug)]
pub struct Gates {
    limits: GateLimits,
    keys: HashMap<Arc<str>, Key>,
    hosts: HashMap<Arc<str>, Line>,
    /// Counts places.
    total: Line,
    /// Attempts inside.
    count: usize,
    /// Keys with messages that wait for the end of a period, by that end.
    ends: BTreeSet<(TimestampMs, Arc<str>)>,
    /// The latest time that was looked at.
    latest: TimestampMs,
}

impl Gates {
    /// Opens the gates with nobody inside.
    #[must_use]
    pub fn new(limits: GateLimits) -> Self {
        Self {
            limits,
            keys: HashMap::new(),
            hosts: HashMap::new(),
            total: Line::default(),
            count: 0,
            ends: BTreeSet::new(),
            latest: TimestampMs(i64::MIN),
        }
    }

    /// Lets a message through, or makes it wait: then its pass comes from a later call. Returns its pass, and the passes of
    /// others who may start because of its settings. A message with a flow-control key never goes ahead of its turn: its
    /// attempt counts in the period in which it goes in.
    pub fn enter(
        &mut self,
        ticket: Ticket,
        flow: Option<(&FlowControl, TimestampMs)>,
        mut claim: Claim,
        now: TimestampMs,
    ) -> (Option<Pass>, Vec<Pass>) {
        let mut others = Vec::new();
        let key = flow.map(|(flow, since)| {
            others = self.note_config(flow, since, now);
            let name = Arc::from(flow.key.as_str());
            // A period may have ended that nobody has looked at yet: its attempts are theirs who wait.
            self.drain_key(&name, now, &mut others);
            name
        });
        if let Some((host, _)) = self.hosts.get_key_value(&claim.host) {
            claim.host = Arc::clone(host);
        }
        if key.is_some() {
            claim.turn = Turn::InOrder;
        }
        claim.places = claim.places.clamp(1, self.limits.total_max.max(1));
        let waiting = Waiting { ticket, key, claim };
        (self.admit(waiting, now), others)
    }

    /// Gives a pass back. Returns the passes of those who may start because of it.
    pub fn leave(&mut self, pass: &Pass, now: TimestampMs) -> Vec<Pass> {
        self.count = self.count.saturating_sub(1);
        self.total.leave(pass.claim.places);
        if let Some(line) = self.hosts.get_mut(&pass.claim.host) {
            line.leave(1);
        }
        if let Some(key) = pass.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            key.leave();
        }
        let mut passes = Vec::new();
        if let Some(key) = &pass.key {
            self.drain_key(key, now, &mut passes);
        }
        self.drain_host(&pass.claim.host, now, &mut passes);
        self.drain_total(now, &mut passes);
        self.forget_host(&pass.claim.host);
        passes
    }

    /// Keeps places for one who comes later, with [`Gates::take_kept`]: nobody else gets them meanwhile. There must be room, as
    /// there is for whoever has gone in its turn through gates with the same limits.
    pub fn keep(&mut self, claim: &Claim) {
        let host = self.hosts.entry(Arc::clone(&claim.host)).or_default();
        host.enter(1);
        self.total.enter(claim.places);
    }

    /// Lets the one in whose places were kept.
    pub fn take_kept(&mut self, ticket: Ticket, claim: Claim) -> Pass {
        self.count = self.count.saturating_add(1);
        Pass {
            ticket,
            period: None,
            key: None,
            claim,
        }
    }

    /// Lets those through whose period has ended. To be called at [`Gates::next_tick`].
    pub fn tick(&mut self, now: TimestampMs) -> Vec<Pass> {
        let is_back = now < self.latest;
        self.latest = now;
        let due: Vec<_> = if is_back {
            // The clock was set back, and with it a period that has not begun yet is over.
            self.keys.keys().cloned().collect()
        } else {
            let due = self.ends.iter().take_while(|(end, _)| *end <= now);
            due.map(|(_, name)| Arc::clone(name)).collect()
        };
        let mut passes = Vec::new();
        for key in due {
            self.drain_key(&key, now, &mut passes);
        }
        passes
    }

    /// Returns when the next period ends that somebody waits for.
    #[must_use]
    pub fn next_tick(&self) -> Option<TimestampMs> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Takes a message's settings for its key; those of the newest message count, unless they are pinned. One that names no limit
    /// leaves them all as they are: it asks for its turn, and not for the end of everybody's. Returns the passes of those who
    /// may start because of it.
    pub fn note_config(
        &mut self,
        flow: &FlowControl,
        since: TimestampMs,
        now: TimestampMs,
    ) -> Vec<Pass> {
        let mut passes = Vec::new();
        if let Some(limits) = FlowLimits::of(flow, since)
            && self.key_mut(&flow.key).take(&limits)
        {
            self.drain_key(&Arc::from(flow.key.as_str()), now, &mut passes);
        }
        passes
    }

    /// Pauses a key or lets it go on, and pins its settings or lets them go. Returns the passes of those who may start.
    pub fn set_pin(&mut self, key: &str, pin: Option<&Pin>, now: TimestampMs) -> Vec<Pass> {
        self.key_mut(key).pin(pin, now);
        let mut passes = Vec::new();
        self.drain_key(&Arc::from(key), now, &mut passes);
        passes
    }

    /// Begins a new period of a key now. Returns the passes of those who may start; `None` for an unknown key.
    pub fn reset_rate(&mut self, key: &str, now: TimestampMs) -> Option<Vec<Pass>> {
        self.keys.get_mut(key)?.reset_rate(now);
        let mut passes = Vec::new();
        self.drain_key(&Arc::from(key), now, &mut passes);
        Some(passes)
    }

    /// Returns what is known of a key.
    #[must_use]
    pub fn view(&self, key: &str, now: TimestampMs) -> Option<FlowView> {
        self.keys.get(key).map(|found| found.view(key, now))
    }

    /// Returns what is known of every key, by name.
    #[must_use]
    pub fn views(&self, now: TimestampMs) -> Vec<FlowView> {
        let mut views: Vec<_> = self
            .keys
            .iter()
            .map(|(name, key)| key.view(name, now))
            .collect();
        views.sort_by(|one, two| one.key.cmp(&two.key));
        views
    }

    /// Forgets keys that nobody uses, waits for, or has pinned, and whose period is over; and destinations likewise.
    pub fn sweep(&mut self, now: TimestampMs, is_used: &dyn Fn(&str) -> bool) {
        self.keys
            .retain(|name, key| !key.is_idle(now) || is_used(name));
        self.hosts.retain(|_, line| !line.is_empty());
        self.ends.retain(|(_, name)| self.keys.contains_key(name));
    }

    /// Returns how many attempts are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.count
    }

    /// Returns how many may be.
    #[must_use]
    pub fn limits(&self) -> GateLimits {
        self.limits
    }

    /// Returns how many messages wait at a gate.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        let keys: usize = self.keys.values().map(|key| key.line.waiting.len()).sum();
        let hosts: usize = self.hosts.values().map(|line| line.waiting.len()).sum();
        keys + hosts + self.total.waiting.len()
    }

    /// Returns who waits at a gate, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = Ticket> {
        let keys = self.keys.values().map(|key| &key.line);
        let lines = keys.chain(self.hosts.values()).chain([&self.total]);
        lines.flat_map(|line| line.waiting.iter().map(|waiting| waiting.ticket))
    }

    /// Lets those go who need not wait any more.
    pub fn withdraw(&mut self, gone: &HashSet<Ticket>) {
        let keys = self.keys.values_mut().map(|key| &mut key.line);
        let lines = keys.chain(self.hosts.values_mut()).chain([&mut self.total]);
        for line in lines {
            line.waiting
                .retain(|waiting| !gone.contains(&waiting.ticket));
        }
        let names: Vec<_> = self.ends.iter().map(|(_, name)| Arc::clone(name)).collect();
        for name in names {
            self.note_end(&name);
        }
    }

    fn key_mut(&mut self, name: &str) -> &mut Key {
        self.keys.entry(Arc::from(name)).or_default()
    }

    /// Goes through the gates of its key and of its destination, or into the list of the first closed one. Where others wait for
    /// the destination, only who was before them does: one that may not go ahead would never find so few inside otherwise.
    fn queue_at_own(
        &mut self,
        waiting: Waiting,
        is_before: bool,
        now: TimestampMs,
    ) -> Option<Waiting> {
        if let Some(name) = &waiting.key {
            let key = self.keys.entry(Arc::clone(name)).or_default();
            if !key.is_open(now) {
                let name = Arc::clone(name);
                key.line.waiting.push_back(waiting);
                self.note_end(&name);
                return None;
            }
        }
        let host = Arc::clone(&waiting.claim.host);
        let host = self.hosts.entry(host).or_default();
        let is_next = is_before || host.waiting.is_empty();
        if !is_next || !host.has_room(1, self.limits.of_host(waiting.claim.turn)) {
            host.waiting.push_back(waiting);
            return None;
        }
        Some(waiting)
    }

    /// Goes through the gate of all, or into its list.
    fn queue_at_all(&mut self, waiting: Waiting, now: TimestampMs) -> Option<Pass> {
        let Claim { turn, places, .. } = waiting.claim;
        let is_first = self.total.waiting.is_empty();
        if is_first && self.total.has_room(places, self.limits.in_all(turn)) {
            return Some(self.let_in(waiting, now));
        }
        self.total.waiting.push_back(waiting);
        None
    }

    fn let_in(&mut self, waiting: Waiting, now: TimestampMs) -> Pass {
        let Waiting { ticket, key, claim } = waiting;
        self.keep(&claim);
        self.count = self.count.saturating_add(1);
        let period = key
            .as_ref()
            .and_then(|key| self.keys.get_mut(key))
            .and_then(|key| key.enter(now));
        if let Some(name) = &key {
            self.note_end(name);
        }
        Pass {
            ticket,
            period,
            key,
            claim,
        }
    }

    /// Lets one in, or makes it wait in the list of the first closed gate.
    fn admit(&mut self, waiting: Waiting, now: TimestampMs) -> Option<Pass> {
        let waiting = self.queue_at_own(waiting, false, now)?;
        self.queue_at_all(waiting, now)
    }

    fn drain_key(&mut self, name: &Arc<str>, now: TimestampMs, passes: &mut Vec<Pass>) {
        while let Some(key) = self.keys.get_mut(name)
            && key.is_open(now)
            && let Some(waiting) = key.line.waiting.pop_front()
        {
            passes.extend(self.admit(waiting, now));
        }
        self.note_end(name);
    }

    /// Takes note of when the period of a key ends that somebody waits for. To be called behind every change of the key.
    fn note_end(&mut self, name: &Arc<str>) {
        let Some(key) = self.keys.get_mut(name) else {
            return;
        };
        let end = key.opens_at();
        let before = std::mem::replace(&mut key.noted_end, end);
        if before == end {
            return;
        }
        if let Some(before) = before {
            self.ends.remove(&(before, Arc::clone(name)));
        }
        if let Some(end) = end {
            self.ends.insert((end, Arc::clone(name)));
        }
    }

    fn drain_host(&mut self, name: &Arc<str>, now: TimestampMs, passes: &mut Vec<Pass>) {
        let limits = self.limits;
        while let Some(host) = self.hosts.get_mut(name)
            && let Some(waiting) = host.pop_within(|claim| (1, limits.of_host(claim.turn)))
        {
            // It was the first: those behind it are no reason for it to wait.
            if let Some(waiting) = self.queue_at_own(waiting, true, now) {
                passes.extend(self.queue_at_all(waiting, now));
            }
        }
    }

    fn drain_total(&mut self, now: TimestampMs, passes: &mut Vec<Pass>) {
        let limits = self.limits;
        while let Some(waiting) = self
            .total
            .pop_within(|claim| (claim.places, limits.in_all(claim.turn)))
        {
            // It was the first: those behind it are no reason for it to wait.
            if let Some(waiting) = self.queue_at_own(waiting, true, now) {
                passes.push(self.let_in(waiting, now));
            }
        }
    }

    fn forget_host(&mut self, name: &Arc<str>) {
        if self.hosts.get(name).is_some_and(Line::is_empty) {
            self.hosts.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
