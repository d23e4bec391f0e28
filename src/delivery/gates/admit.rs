//! Letting in: who is next, whether it may, and what follows from it.

use std::sync::Arc;

use storage::offset::TimestampMs;

use super::host::{Host, KeyName, Waiting};
use super::hosts::HostId;
use super::key::Order;
use super::{Gates, Pass};

/// What came of looking at who is next.
enum Step {
    LetIn(Pass),
    /// It was not its turn after all. Somebody else is next.
    Passed,
    /// Nobody may go in.
    Full,
}

impl Gates {
    /// Lets one in that has just come, if nobody waits before it; else it waits.
    pub(super) fn admit(
        &mut self,
        key: KeyName,
        waiting: Waiting,
        now: TimestampMs,
        passes: &mut Vec<Pass>,
    ) {
        let host = self.hosts.id(&waiting.claim.host);
        if self.is_free((host, &key), &waiting, now) {
            let pass = self.let_in((host, key), waiting, now);
            passes.push(pass);
        } else {
            self.wait((host, key), waiting, now);
            self.let_in_ready(now, passes);
        }
    }

    /// Moves the queues behind a key to their destinations while it is open, and lets in who may go in. A key has no places for
    /// those who wait there: when a destination hangs, others of the key go on.
    pub(super) fn open_key(&mut self, name: &Arc<str>, now: TimestampMs, passes: &mut Vec<Pass>) {
        while self.unpark_next(name, now) {
            self.let_in_ready(now, passes);
        }
        self.note_end(name);
    }

    /// Lets in who may go in, the first of all first.
    pub(super) fn let_in_ready(&mut self, now: TimestampMs, passes: &mut Vec<Pass>) {
        let mut looked_at = passes.len();
        self.let_in_until_full(now, passes);
        // With whom goes in, a period may begin in which there is room for others of its key.
        while let Some(pass) = passes.get(looked_at) {
            let key = pass.key.clone();
            if key.is_some_and(|key| self.unpark_next(&key, now)) {
                self.let_in_until_full(now, passes);
            } else {
                looked_at = looked_at.saturating_add(1);
            }
        }
    }

    fn let_in_until_full(&mut self, now: TimestampMs, passes: &mut Vec<Pass>) {
        while let Some((_, host)) = self.ready.first() {
            let host = *host;
            match self.step(host, now) {
                Step::LetIn(pass) => passes.push(pass),
                Step::Passed => {}
                Step::Full => return,
            }
        }
    }

    /// Returns whether every gate is open to it, and nobody waits before one who could take its place.
    fn is_free(
        &mut self,
        (host, key): (HostId, &KeyName),
        waiting: &Waiting,
        now: TimestampMs,
    ) -> bool {
        let claim = &waiting.claim;
        let limits = self.limits;
        let is_free_host = |host: &Host| host.ready.is_empty() && host.has_room(claim, limits);
        self.hosts.get(host).is_some_and(is_free_host)
            && self.ready.is_empty()
            && self.total.has_room(claim.places, limits.in_all(claim.turn))
            && self
                .key_of(key)
                .is_none_or(|key| key.is_open_to(waiting.seq, now))
    }

    /// Looks at the first of the destination that is next.
    fn step(&mut self, id: HostId, now: TimestampMs) -> Step {
        let Some(host) = self.hosts.get(id) else {
            self.ready.pop_first();
            return Step::Passed;
        };
        let first = host.first();
        let first = first.filter(|(_, first)| host.has_room(&first.claim, self.limits));
        let Some((key, Waiting { seq, claim, .. })) = first else {
            self.register_host(id);
            return Step::Passed;
        };
        let (key, seq) = (key.clone(), *seq);
        let (places, max) = (claim.places, self.limits.in_all(claim.turn));
        if !self.has_turn(id, &key, seq, now) {
            return Step::Passed;
        }
        if !self.total.has_room(places, max) {
            return Step::Full;
        }
        self.let_first_in(id, now).map_or(Step::Full, Step::LetIn)
    }

    /// Returns whether the key of the first of a destination lets it in. If not, somebody else is the first of all now.
    fn has_turn(&mut self, host: HostId, key: &KeyName, seq: u64, now: TimestampMs) -> bool {
        let Some((name, found)) = key
            .as_ref()
            .and_then(|name| Some((name, self.keys.get_mut(name)?)))
        else {
            return true;
        };
        match found.order(seq, now) {
            Order::Next => return true,
            Order::OlderFirst => {
                self.unpark_next(name, now);
            }
            Order::Closed if found.promise(seq, now) => {}
            Order::Closed => self.park_first(host),
        }
        false
    }

    fn let_first_in(&mut self, host: HostId, now: TimestampMs) -> Option<Pass> {
        let (key, waiting, next) = self.hosts.get_mut(host)?.pop_first()?;
        if let Some(key) = self.key_of(&key) {
            key.waiting_count = key.waiting_count.saturating_sub(1);
        }
        let pass = self.let_in((host, key.clone()), waiting, now);
        if let Some(seq) = next {
            self.register(host, key, seq, now);
        }
        self.register_host(host);
        Some(pass)
    }

    fn let_in(
        &mut self,
        (host, key): (HostId, KeyName),
        waiting: Waiting,
        now: TimestampMs,
    ) -> Pass {
        let Waiting { seq, ticket, claim } = waiting;
        self.take_places(host, &claim);
        self.count = self.count.saturating_add(1);
        let period = self.key_of(&key).and_then(|key| key.enter(seq, now));
        self.note_end_of(&key);
        Pass {
            ticket,
            period,
            key,
            claim,
        }
    }
}
