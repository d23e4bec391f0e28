//! Where queues are registered: at their destination, or behind their closed key.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use storage::offset::TimestampMs;

use super::host::{KeyName, Waiting, Withdrawn};
use super::hosts::HostId;
use super::key::Key;
use super::{Gates, Pass, Ticket};

impl Gates {
    /// Makes a message wait behind those of its destination and key.
    pub(super) fn wait(
        &mut self,
        (id, key): (HostId, KeyName),
        waiting: Waiting,
        now: TimestampMs,
    ) {
        if let Some(key) = self.key_of(&key) {
            key.waiting_count = key.waiting_count.saturating_add(1);
        }
        let seq = waiting.seq;
        let host = self.hosts.get_mut(id);
        if host.is_some_and(|host| host.push(&key, waiting)) {
            self.register(id, key, seq, now);
        }
    }

    /// Registers a queue under the number of its first: behind its key if that is closed, else at its destination.
    pub(super) fn register(&mut self, host: HostId, key: KeyName, seq: u64, now: TimestampMs) {
        let is_open = self.key_of(&key).is_none_or(|key| key.is_open_to(seq, now));
        if is_open {
            self.make_ready(host, key, seq);
        } else {
            self.park(host, &key, seq);
        }
    }

    /// Registers a destination among those that have room for their first, or takes it out there. To be called behind every
    /// change of it.
    pub(super) fn register_host(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(id) else {
            return;
        };
        let next = host.next(self.limits);
        let before = std::mem::replace(&mut host.registered, next);
        if before == next {
            return;
        }
        if let Some(before) = before {
            self.ready.remove(before);
        }
        if let Some(next) = next {
            self.ready.insert(next, id);
        }
    }

    /// Moves the first queue of a destination behind its key, which has closed.
    pub(super) fn park_first(&mut self, id: HostId) {
        let host = self.hosts.get_mut(id);
        if let Some((seq, key)) = host.and_then(|host| host.ready.pop_first()) {
            self.park(id, &key, seq);
        }
        self.register_host(id);
    }

    /// Moves the next of the queues behind a key back to its destination, if the key is open to it. Returns whether it was.
    pub(super) fn unpark_next(&mut self, name: &Arc<str>, now: TimestampMs) -> bool {
        let Some(key) = self.keys.get_mut(name) else {
            return false;
        };
        let Some(seq) = key.next_parked(now) else {
            return false;
        };
        if let Some(host) = key.parked.remove(seq) {
            self.make_ready(host, Some(Arc::clone(name)), seq);
        }
        self.note_end(name);
        true
    }

    /// Lets those go who need not wait any more. Returns the passes of those who may start because of it.
    pub fn withdraw(&mut self, gone: &HashSet<Ticket>, now: TimestampMs) -> Vec<Pass> {
        let hosts: Vec<_> = self.hosts.iter().map(|(id, _)| id).collect();
        let mut keys = BTreeSet::new();
        for id in hosts {
            let host = self.hosts.get_mut(id);
            let changed = host.map_or_else(Vec::new, |host| host.withdraw(gone));
            for queue in changed {
                keys.extend(queue.key.clone());
                self.repair(id, queue);
            }
            self.register_host(id);
            self.hosts.forget_unused(id);
        }
        let mut passes = Vec::new();
        for key in &keys {
            // A place may have been promised to who is gone.
            self.open_key(key, now, &mut passes);
        }
        self.let_in_ready(now, &mut passes);
        passes
    }

    /// Takes note of when the period of a key ends that somebody waits for. To be called behind every change of the key.
    pub(super) fn note_end(&mut self, name: &Arc<str>) {
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

    fn make_ready(&mut self, id: HostId, key: KeyName, seq: u64) {
        if let Some(host) = self.hosts.get_mut(id) {
            host.ready.insert(seq, key);
        }
        self.register_host(id);
    }

    fn park(&mut self, host: HostId, key: &KeyName, seq: u64) {
        if let Some(found) = self.key_of(key) {
            found.parked.insert(seq, host);
        }
        self.note_end_of(key);
    }

    /// Registers a queue where it was, under the number of who is its first now.
    fn repair(&mut self, id: HostId, queue: Withdrawn) {
        let Withdrawn { key, before, .. } = queue;
        let is_gone = queue.now != Some(before);
        if let Some(key) = self.key_of(&key) {
            let count = u64::try_from(queue.count).unwrap_or(u64::MAX);
            key.waiting_count = key.waiting_count.saturating_sub(count);
            key.promised = key.promised.filter(|seq| !is_gone || *seq != before);
            if let Some(host) = key.parked.remove(before)
                && let Some(seq) = queue.now
            {
                key.parked.insert(seq, host);
            }
        }
        if let Some(host) = self.hosts.get_mut(id)
            && let Some(key) = host.ready.remove(before)
            && let Some(seq) = queue.now
        {
            host.ready.insert(seq, key);
        }
    }

    pub(super) fn note_end_of(&mut self, key: &KeyName) {
        if let Some(name) = key {
            self.note_end(name);
        }
    }

    pub(super) fn key_of(&mut self, key: &KeyName) -> Option<&mut Key> {
        self.keys.get_mut(key.as_ref()?)
    }
}
