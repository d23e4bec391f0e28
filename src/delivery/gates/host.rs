//! The gate of one destination, and the queues of those who wait to go there: one for each flow-control key, and one for all that
//! have none.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::register::{Register, count_work};
use super::room::Room;
use super::{Claim, GateLimits, Ticket};

/// A flow-control key, or none.
pub(super) type KeyName = Option<Arc<str>>;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Larger than that of everybody who came before.
    pub(super) seq: u64,
    pub(super) ticket: Ticket,
    pub(super) claim: Claim,
}

/// Who waits to go to one destination with one key, in the order in which they came. Never empty.
type Queue = VecDeque<Waiting>;

#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) room: Room,
    pub(super) queues: HashMap<KeyName, Queue>,
    /// The queues whose key was open when it was last looked at.
    pub(super) ready: Register<KeyName>,
    /// Under which number the destination is registered among those that have room.
    pub(super) registered: Option<u64>,
}

/// What is left of a queue that others than its first may have left too.
#[derive(Debug)]
pub(super) struct Withdrawn {
    pub(super) key: KeyName,
    pub(super) count: usize,
    /// The numbers of its first before and now.
    pub(super) before: u64,
    pub(super) now: Option<u64>,
}

impl Host {
    pub(super) fn has_room(&self, claim: &Claim, limits: GateLimits) -> bool {
        self.room.has_room(1, limits.of_host(claim.turn))
    }

    /// Returns the first of those whose key was open.
    pub(super) fn first(&self) -> Option<(&KeyName, &Waiting)> {
        let (_, key) = self.ready.first()?;
        Some((key, self.queues.get(key)?.front()?))
    }

    /// Returns the number of the first, if there is room for it.
    pub(super) fn next(&self, limits: GateLimits) -> Option<u64> {
        let (_, first) = self.first()?;
        self.has_room(&first.claim, limits).then_some(first.seq)
    }

    /// Puts a message at the end of its queue. Returns whether it is the first there, and so is to be registered.
    pub(super) fn push(&mut self, key: &KeyName, waiting: Waiting) -> bool {
        count_work();
        if let Some(queue) = self.queues.get_mut(key) {
            queue.push_back(waiting);
            return false;
        }
        self.queues.insert(key.clone(), Queue::from([waiting]));
        true
    }

    /// Takes the first out, with its queue's registration. Returns also the number of the next one in the queue, which is then
    /// to be registered.
    pub(super) fn pop_first(&mut self) -> Option<(KeyName, Waiting, Option<u64>)> {
        let (_, key) = self.ready.pop_first()?;
        let queue = self.queues.get_mut(&key)?;
        count_work();
        let first = queue.pop_front()?;
        let next = queue.front().map(|waiting| waiting.seq);
        if next.is_none() {
            self.queues.remove(&key);
        }
        Some((key, first, next))
    }

    /// Takes out who is gone. The registrations stay as they are.
    pub(super) fn withdraw(&mut self, gone: &HashSet<Ticket>) -> Vec<Withdrawn> {
        let mut changed = Vec::new();
        self.queues.retain(|key, queue| {
            let (length, before) = (queue.len(), queue.front().map(|first| first.seq));
            queue.retain(|waiting| !gone.contains(&waiting.ticket));
            let count = length.saturating_sub(queue.len());
            if let (Some(before), 1..) = (before, count) {
                changed.push(Withdrawn {
                    key: key.clone(),
                    count,
                    before,
                    now: queue.front().map(|first| first.seq),
                });
            }
            !queue.is_empty()
        });
        changed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.room.inside() == 0 && self.queues.is_empty()
    }
}
