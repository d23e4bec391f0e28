//! What lies before the tasks of one partition: passes that were granted, attempts that have ended.
//!
//! Both are bounded by the attempts that may be under way: see [`crate::delivery::gates`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use storage::delivery::DeliveryLog;
use tokio::sync::Notify;

use super::attempt::Ended;
use crate::delivery::gates::Pass;
use crate::engine::PartitionHandle;

/// What a task finds when it looks.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) granted: Vec<Pass>,
    pub(super) ended: Vec<Ended>,
}

/// One partition and what lies before its tasks.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) index: u32,
    pub(super) partition: Arc<PartitionHandle>,
    inbox: Mutex<Inbox>,
    /// Told of everything that is put into the inbox.
    pub(super) arrived: Notify,
    /// Told when letters or callbacks are due.
    pub(super) aftermath: Notify,
    under_way: AtomicUsize,
}

impl Desk {
    pub(super) fn new(index: u32, partition: Arc<PartitionHandle>) -> Self {
        Self {
            index,
            partition,
            inbox: Mutex::default(),
            arrived: Notify::new(),
            aftermath: Notify::new(),
            under_way: AtomicUsize::new(0),
        }
    }

    /// Returns whether messages are taken and delivered: none of the logs waits to be recovered.
    pub(super) fn is_well(&self) -> bool {
        let owner = self.partition.owner().lock();
        let log = owner.delivery_log().and_then(DeliveryLog::log);
        let is_delivering =
            owner.delivery().is_some() && log.is_none_or(|log| log.poison().is_none());
        is_delivering && self.partition.poison().is_none()
    }

    pub(super) fn grant(&self, pass: Pass) {
        self.inbox.lock().granted.push(pass);
        self.arrived.notify_one();
    }

    /// Notes that attempts have been begun.
    pub(super) fn begin(&self, count: usize) {
        self.under_way.fetch_add(count, Ordering::AcqRel);
    }

    /// Notes that an attempt has ended.
    pub(super) fn end(&self, ended: Ended) {
        self.inbox.lock().ended.push(ended);
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        self.arrived.notify_one();
    }

    /// Puts ended attempts back whose outcomes could not be written.
    pub(super) fn put_back(&self, ended: Vec<Ended>) {
        let mut inbox = self.inbox.lock();
        let later = std::mem::replace(&mut inbox.ended, ended);
        inbox.ended.extend(later);
    }

    pub(super) fn take(&self) -> Inbox {
        std::mem::take(&mut self.inbox.lock())
    }

    /// Returns whether no attempt is under way and none has ended unseen.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0 && self.inbox.lock().ended.is_empty()
    }
}
