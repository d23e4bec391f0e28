//! What lies before the tasks of one partition: passes that were granted, attempts that wait for a place, attempts that have
//! ended.
//!
//! All are bounded by the attempts that may be under way: see [`crate::delivery::gates`].

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use storage::delivery::{DeliveryLog, Outcome, Phase};
use storage::offset::Offset;
use storage::partition::Partition;
use tokio::sync::Notify;

use super::attempt::Start;
use crate::delivery::gates::{Claim, Pass, Ticket};
use crate::engine::PartitionHandle;

/// What a task finds when it looks.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) granted: Vec<Held>,
    pub(super) ended: Vec<Outcome>,
    /// Places of attempts that were put down.
    pub(super) placed: Vec<Pass>,
}

/// What lies there until a task looks.
#[derive(Debug, Default)]
struct Lying {
    granted: Vec<Pass>,
    ended: Vec<Outcome>,
    placed: Vec<Pass>,
    /// Nobody will look any more: its dispatcher has failed.
    is_stopped: bool,
}

/// What lay before a task that has failed.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) granted: Vec<Pass>,
    pub(super) prepared: Vec<Start>,
    pub(super) placed: Vec<Pass>,
}

/// A pass in the hands of a task. It lies on the desk again when the task fails.
#[derive(Debug)]
pub(super) struct Held {
    desk: Arc<Desk>,
    pass: Pass,
}

impl Held {
    pub(super) fn new(desk: &Arc<Desk>, pass: Pass) -> Self {
        let desk = Arc::clone(desk);
        Self { desk, pass }
    }
}

impl Deref for Held {
    type Target = Pass;

    fn deref(&self) -> &Pass {
        &self.pass
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // One of a partition that has stopped before is lost: nobody looks there.
            self.desk.grant(self.pass.rescued()).ok();
        }
    }
}

/// What came of putting attempts down.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Whose were put down, with what they take.
    pub(super) claims: Vec<(Ticket, Claim)>,
    pub(super) called_off: Vec<Start>,
}

/// One partition and what lies before its tasks.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) index: u32,
    pub(super) partition: Arc<PartitionHandle>,
    lying: Mutex<Lying>,
    /// Attempts whose intents are durable, and that are not sent yet.
    prepared: Mutex<HashMap<Offset, Start>>,
    /// Told of everything that is put there for the dispatcher.
    pub(super) arrived: Notify,
    /// Told when letters or callbacks are due.
    pub(super) aftermath: Notify,
    under_way: AtomicUsize,
    called_off: AtomicUsize,
}

impl Desk {
    pub(super) fn new(index: u32, partition: Arc<PartitionHandle>) -> Self {
        Self {
            index,
            partition,
            lying: Mutex::default(),
            prepared: Mutex::default(),
            arrived: Notify::new(),
            aftermath: Notify::new(),
            under_way: AtomicUsize::new(0),
            called_off: AtomicUsize::new(0),
        }
    }

    /// Returns whether messages are taken and delivered: none of the logs waits to be recovered, and the dispatcher has not
    /// failed.
    pub(super) fn is_well(&self) -> bool {
        let is_delivering = Self::takes_entries(&self.partition.owner().lock());
        is_delivering && self.partition.poison().is_none() && !self.lying.lock().is_stopped
    }

    /// Returns the messages from which nothing can follow any more: an operator has given up their records.
    pub(super) fn given_up(&self) -> Vec<Offset> {
        let reader = self.partition.push_reader();
        let owner = self.partition.owner().lock();
        let Some(state) = owner.delivery() else {
            return Vec::new();
        };
        state
            .messages_from(Offset::ZERO)
            .map(|(message, _)| message)
            .filter(|message| reader.is_record_given_up((*message, state.carried_at(*message))))
            .collect()
    }

    /// Returns whether its delivery log takes entries, as far as is known: there is none yet, or no write and no sync of it has
    /// failed that it has not got over.
    pub(super) fn takes_entries(owner: &Partition) -> bool {
        let log = owner.delivery_log().and_then(DeliveryLog::log);
        owner.delivery().is_some() && log.is_none_or(|log| log.poison().is_none())
    }

    /// Puts a pass there, or returns it when nobody looks any more.
    pub(super) fn grant(&self, pass: Pass) -> Result<(), Pass> {
        self.put(pass, |lying| &mut lying.granted)
    }

    /// Puts a place there for an attempt that was put down, or returns it when nobody looks any more.
    pub(super) fn place(&self, place: Pass) -> Result<(), Pass> {
        self.put(place, |lying| &mut lying.placed)
    }

    fn put(&self, pass: Pass, pile: impl FnOnce(&mut Lying) -> &mut Vec<Pass>) -> Result<(), Pass> {
        let mut lying = self.lying.lock();
        if lying.is_stopped {
            return Err(pass);
        }
        pile(&mut lying).push(pass);
        drop(lying);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes out what lies before a dispatcher that has failed. Nothing is put there for it any more.
    pub(super) fn stop(&self) -> Left {
        let mut lying = self.lying.lock();
        lying.is_stopped = true;
        Left {
            granted: std::mem::take(&mut lying.granted),
            prepared: self.take_all_prepared(),
            placed: std::mem::take(&mut lying.placed),
        }
    }

    /// Puts attempts down that may be made as soon as there are places for them, but for those whose messages were called off
    /// since their intents were written.
    pub(super) fn prepare(&self, starts: Vec<Start>) -> Prepared {
        // Under the owner's lock: a message is called off either before, which is seen here, or behind it, and then taken out.
        let owner = self.partition.owner().lock();
        let phase = |message| owner.delivery().and_then(|state| state.phase(message));
        let is_wanted = |start: &Start| phase(start.message.offset) == Some(Phase::InFlight);
        let (wanted, called_off): (Vec<_>, Vec<_>) = starts.into_iter().partition(is_wanted);
        let claim = |start: &Start| (start.pass.ticket, start.pass.claim().clone());
        let claims = wanted.iter().map(claim).collect();
        self.under_way.fetch_add(wanted.len(), Ordering::AcqRel);
        let wanted = wanted
            .into_iter()
            .map(|start| (start.message.offset, start));
        self.prepared.lock().extend(wanted);
        Prepared { claims, called_off }
    }

    /// Takes the attempt of a message, to be made; `None` when it was called off.
    pub(super) fn take_prepared(&self, message: Offset) -> Option<Start> {
        self.prepared.lock().remove(&message)
    }

    /// Takes out the attempts that are not sent and whose messages were called off.
    pub(super) fn call_off(&self, messages: &[Offset]) -> Vec<Start> {
        let mut prepared = self.prepared.lock();
        let off = messages
            .iter()
            .filter_map(|message| prepared.remove(message));
        let off: Vec<_> = off.collect();
        self.under_way.fetch_sub(off.len(), Ordering::AcqRel);
        self.called_off.fetch_add(off.len(), Ordering::AcqRel);
        off
    }

    /// Returns how many attempts were taken out since the broker started because their messages were called off.
    pub(super) fn called_off_count(&self) -> usize {
        self.called_off.load(Ordering::Acquire)
    }

    /// Gives up the attempts that are not sent. Their intents stand: the next start of the broker makes them.
    pub(super) fn drop_prepared(&self) {
        self.take_all_prepared();
    }

    fn take_all_prepared(&self) -> Vec<Start> {
        let taken = std::mem::take(&mut *self.prepared.lock());
        self.under_way.fetch_sub(taken.len(), Ordering::AcqRel);
        taken.into_values().collect()
    }

    /// Notes that an attempt has ended.
    pub(super) fn end(&self, ended: Outcome) {
        self.lying.lock().ended.push(ended);
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        self.arrived.notify_one();
    }

    /// Puts ended attempts back whose outcomes could not be written.
    pub(super) fn put_back(&self, ended: Vec<Outcome>) {
        let mut lying = self.lying.lock();
        let later = std::mem::replace(&mut lying.ended, ended);
        lying.ended.extend(later);
    }

    pub(super) fn take(self: &Arc<Self>) -> Inbox {
        let mut lying = self.lying.lock();
        let granted = std::mem::take(&mut lying.granted).into_iter();
        Inbox {
            granted: granted.map(|pass| Held::new(self, pass)).collect(),
            ended: std::mem::take(&mut lying.ended),
            placed: std::mem::take(&mut lying.placed),
        }
    }

    /// Returns whether no attempt is under way and none has ended unseen.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0 && self.lying.lock().ended.is_empty()
    }
}
