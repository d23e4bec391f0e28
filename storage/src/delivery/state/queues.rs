//! Queues: in each, the oldest messages are active, as many as its parallelism; the rest wait for a place.
//!
//! A message keeps its place until it and all its callbacks have come to their ends. Places follow from offsets alone, so
//! that a restart gives the same ones.

use std::collections::{BTreeSet, HashMap};

use super::names::{NameId, Names};
use crate::offset::Offset;

/// How a queue is worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRule {
    /// Messages that may be active at a time, at least one.
    pub parallelism: u32,
    /// Whether nothing is begun for now.
    pub is_paused: bool,
}

impl Default for QueueRule {
    fn default() -> Self {
        Self {
            parallelism: 1,
            is_paused: false,
        }
    }
}

#[derive(Debug, Default, Clone)]
struct Queue {
    active: BTreeSet<Offset>,
    waiting: BTreeSet<Offset>,
    /// Messages that have not come to their end; callbacks do not count.
    unprocessed: u64,
}

/// All queues of a partition.
#[derive(Debug, Default, Clone)]
pub(super) struct Queues {
    names: Names,
    by_id: HashMap<NameId, Queue>,
    rules: HashMap<String, QueueRule>,
}

impl Queues {
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Adds a message at the end of its queue. Returns the queue's number.
    pub(super) fn join(&mut self, name: &str, message: Offset) -> NameId {
        let id = self.names.take(name);
        let queue = self.by_id.entry(id).or_default();
        queue.waiting.insert(message);
        queue.unprocessed = queue.unprocessed.saturating_add(1);
        id
    }

    /// Keeps a message's place for a callback of it, also when the message itself has come to its end.
    pub(super) fn hold(&mut self, name: &str, root: Offset) -> NameId {
        let id = self.names.take(name);
        let queue = self.by_id.entry(id).or_default();
        if !queue.waiting.contains(&root) {
            queue.active.insert(root);
        }
        id
    }

    /// Gives a use of a queue back that was taken with [`Queues::join`] or [`Queues::hold`].
    pub(super) fn give_back(&mut self, id: NameId) {
        self.names.give_back(id);
        if self.names.name(id).is_none() {
            self.by_id.remove(&id);
        }
    }

    /// Notes that a message has come to its end; it keeps its place.
    pub(super) fn processed(&mut self, id: NameId) {
        if let Some(queue) = self.by_id.get_mut(&id) {
            queue.unprocessed = queue.unprocessed.saturating_sub(1);
        }
    }

    /// Frees a message's place.
    pub(super) fn leave(&mut self, id: NameId, message: Offset) {
        if let Some(queue) = self.by_id.get_mut(&id) {
            queue.active.remove(&message);
            queue.waiting.remove(&message);
        }
    }

    /// Lets the oldest waiting messages take the free places. Returns them.
    pub(super) fn promote(&mut self, id: NameId) -> Vec<Offset> {
        let rule = self.rule_of(id);
        let places = usize::try_from(rule.parallelism.max(1)).unwrap_or(usize::MAX);
        let Some(queue) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        let mut promoted = Vec::new();
        while queue.active.len() < places
            && let Some(message) = queue.waiting.pop_first()
        {
            queue.active.insert(message);
            promoted.push(message);
        }
        promoted
    }

    /// Returns whether attempts of the message may be made now.
    pub(super) fn may_run(&self, id: NameId, message: Offset) -> bool {
        let is_active = |queue: &Queue| queue.active.contains(&message);
        !self.rule_of(id).is_paused && self.by_id.get(&id).is_some_and(is_active)
    }

    /// Sets the rule of a queue; `None` is the default again. Returns its number and its active messages if it holds any.
    pub(super) fn set_rule(
        &mut self,
        name: &str,
        rule: Option<QueueRule>,
    ) -> Option<(NameId, Vec<Offset>)> {
        match rule {
            Some(rule) => self.rules.insert(name.to_owned(), rule),
            None => self.rules.remove(name),
        };
        let id = self.names.id(name)?;
        let active = self.by_id.get(&id)?.active.iter().copied().collect();
        Some((id, active))
    }

    /// Returns how many messages of a queue have not come to their end.
    pub(super) fn unprocessed(&self, name: &str) -> u64 {
        let id = self.names.id(name);
        id.and_then(|id| self.by_id.get(&id))
            .map_or(0, |queue| queue.unprocessed)
    }

    /// Returns the messages of a queue that stand in it, the oldest first.
    pub(super) fn messages(&self, name: &str) -> Vec<Offset> {
        let queue = self.names.id(name).and_then(|id| self.by_id.get(&id));
        queue.map_or_else(Vec::new, |queue| {
            queue.active.iter().chain(&queue.waiting).copied().collect()
        })
    }

    fn rule_of(&self, id: NameId) -> QueueRule {
        let name = self.names.name(id);
        name.and_then(|name| self.rules.get(&**name))
            .copied()
            .unwrap_or_default()
    }
}
