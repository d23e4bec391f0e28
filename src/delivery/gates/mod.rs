//! Who may start now: attempts per flow-control key, per destination, and in all. PURE: time is passed in.
//!
//! A message that may not start waits; it is never dropped. When a place gets free, or a period ends, waiting messages are let
//! in, and of those for whom the gates are open the one that came first goes first. A destination that hangs fills its own
//! places only: that is what keeps it from slowing the others.
//!
//! An attempt takes one of its destination's places, and of all places as many as its body is large, so that a limit on
//! attempts is one on the bytes in memory too. Nobody passes a large one that waits for its places.
//!
//! # Who waits where
//! Each message that waits has a number that rises with every message that comes, and stands in one queue until it is let in or
//! withdrawn: that of its destination and its key. So what has the same of both begins in the order in which it came. Only
//! queues are moved, by the number of their first, and each move costs the logarithm of how many there are:
//! - a destination has those that are *ready*: their key was open when it was last looked at, or they have none;
//! - a key has those that are *parked*: their first was found behind the closed key;
//! - the gate of all has the destinations that have room for the first of their ready queues.
//!
//! A key that closes leaves what is ready where it is: whoever comes to be next is looked at again before it is let in. A key
//! that opens takes its queues out one by one, the oldest first, and only as long as it stays open.
//!
//! Places of a key are for those inside, so that those who wait at a destination that hangs hold up nobody of their key. But
//! for one: whoever its destination has room for while its key is closed is *promised* the key's next place, the oldest if
//! there are more. Without it, a destination and a key that are always full would never both have a place for it. Only a
//! destination at which attempts end can bring that about.
//!
//! # Invariants
//! A queue with messages is registered once, ready or parked, under the number of its first. Behind a key there is nothing that
//! it is open to, but for the end of a period that nobody has looked at yet: then it is among `ends`. Who is promised a place
//! is the first of a queue of that key. No queue and no destination stays that nobody uses, and no key once it is swept. Every
//! pass that was given out is given back once ([`Gates::leave`] or [`Gates::leave_unsent`]).

mod admit;
mod host;
mod hosts;
mod key;
mod pass;
mod queues;
mod register;
mod restore;
mod room;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use storage::delivery::{FlowControl, FlowLimits};
use storage::offset::TimestampMs;

use super::api::FlowView;
use host::Waiting;
use hosts::{HostId, Hosts};
use key::Key;
pub use key::Pin;
pub use pass::{Claim, GateLimits, Pass, Ticket, Turn};
use register::Register;
use room::Room;

/// All gates of the broker.
#[derive(Debug)]
pub struct Gates {
    limits: GateLimits,
    keys: HashMap<Arc<str>, Key>,
    hosts: Hosts,
    /// Places that are taken of all.
    total: Room,
    /// Destinations that have room for their first.
    ready: Register<HostId>,
    /// Number of the message that comes next.
    seq: u64,
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
            hosts: Hosts::default(),
            total: Room::default(),
            ready: Register::default(),
            seq: 0,
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
        let mut passes = Vec::new();
        let key = flow.map(|(flow, since)| {
            passes = self.note_config(flow, since, now);
            let name = self.key_name(&flow.key);
            // A period may have ended that nobody has looked at yet: its attempts are theirs who wait.
            self.open_key(&name, now, &mut passes);
            name
        });
        if let Some((host, _)) = self.hosts.find(&claim.host) {
            claim.host = Arc::clone(host);
        }
        if key.is_some() {
            claim.turn = Turn::InOrder;
        }
        claim.places = claim.places.clamp(1, self.limits.total_max.max(1));
        let seq = self.seq;
        self.seq = self.seq.saturating_add(1);
        let waiting = Waiting { seq, ticket, claim };
        self.admit(key, waiting, now, &mut passes);
        let own = passes.iter().position(|pass| pass.ticket == ticket);
        (own.map(|at| passes.remove(at)), passes)
    }

    /// Gives a pass back. Returns the passes of those who may start because of it.
    pub fn leave(&mut self, pass: &Pass, now: TimestampMs) -> Vec<Pass> {
        self.count = self.count.saturating_sub(1);
        self.total.leave(pass.claim.places);
        let host = self.hosts.find(&pass.claim.host).map(|(_, id)| id);
        if let Some(host) = host.and_then(|id| self.hosts.get_mut(id)) {
            host.room.leave(1);
        }
        if let Some(key) = self.key_of(&pass.key) {
            key.leave();
        }
        host.inspect(|id| self.register_host(*id));
        let mut passes = Vec::new();
        if let Some(key) = &pass.key {
            self.open_key(key, now, &mut passes);
        }
        self.let_in_ready(now, &mut passes);
        host.inspect(|id| self.hosts.forget_unused(*id));
        passes
    }

    /// As [`Gates::leave`], for a pass with which no attempt was made: in its period there is room for another one.
    pub fn leave_unsent(&mut self, pass: &Pass, now: TimestampMs) -> Vec<Pass> {
        if let (Some(key), Some(period)) = (self.key_of(&pass.key), pass.period) {
            key.uncount(period);
        }
        self.leave(pass, now)
    }

    /// Keeps places for one who comes later, with [`Gates::take_kept`]: nobody else gets them meanwhile. There must be room, as
    /// there is for whoever has gone in its turn through gates with the same limits.
    pub fn keep(&mut self, claim: &Claim) {
        let host = self.hosts.id(&claim.host);
        self.take_places(host, claim);
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
            self.open_key(&key, now, &mut passes);
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
            let name = self.key_name(&flow.key);
            self.open_key(&name, now, &mut passes);
        }
        passes
    }

    /// Pauses a key or lets it go on, and pins its settings or lets them go. Returns the passes of those who may start.
    pub fn set_pin(&mut self, key: &str, pin: Option<&Pin>, now: TimestampMs) -> Vec<Pass> {
        self.key_mut(key).pin(pin, now);
        let mut passes = Vec::new();
        self.open_key(&Arc::from(key), now, &mut passes);
        passes
    }

    /// Begins a new period of a key now. Returns the passes of those who may start; `None` for an unknown key.
    pub fn reset_rate(&mut self, key: &str, now: TimestampMs) -> Option<Vec<Pass>> {
        self.keys.get_mut(key)?.reset_rate(now);
        let mut passes = Vec::new();
        self.open_key(&Arc::from(key), now, &mut passes);
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
        let hosts: Vec<_> = self.hosts.iter().map(|(id, _)| id).collect();
        for host in hosts {
            self.hosts.forget_unused(host);
        }
        self.ends.retain(|(_, name)| self.keys.contains_key(name));
    }

    /// Returns whether no attempt of a key counts any more that was made before now: its period is over.
    #[must_use]
    pub fn is_past(&self, key: &str, now: TimestampMs) -> bool {
        self.keys.get(key).is_none_or(|key| key.is_past(now))
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
        let queues = self.hosts.iter().flat_map(|(_, host)| host.queues.values());
        queues.map(VecDeque::len).sum()
    }

    /// Returns who waits at a gate, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = Ticket> {
        let queues = self.hosts.iter().flat_map(|(_, host)| host.queues.values());
        queues.flatten().map(|waiting| waiting.ticket)
    }

    fn take_places(&mut self, host: HostId, claim: &Claim) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.room.enter(1);
        }
        self.total.enter(claim.places);
    }

    fn key_mut(&mut self, name: &str) -> &mut Key {
        let name = self.key_name(name);
        self.keys.entry(name).or_default()
    }

    /// Returns the name under which a key is known here from now on.
    fn key_name(&mut self, name: &str) -> Arc<str> {
        if let Some((name, _)) = self.keys.get_key_value(name) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(name);
        self.keys.insert(Arc::clone(&name), Key::default());
        name
    }
}

#[cfg(test)]
mod tests;
