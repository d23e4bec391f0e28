//! Pushed messages: publishing them, delivering them, and what follows from each attempt.
//!
//! They live in the reserved topic [`crate::topic::PUSH_TOPIC`]. For each of its partitions two tasks work: [`dispatch`] begins attempts and
//! writes down how they ended, [`aftermath`] turns what has failed for good into dead letters and appends callbacks. Both
//! go by the state that the logs add up to, so that a restart goes on where the broker ended. Each thread that delivers has the
//! tasks of a share of the partitions; an attempt runs on the thread on which its place became free, of whichever partition it is.
//!
//! # The order of effects
//! Each step begins only when the one before is synced.
//! 1. The message stands in the main log: its publisher is answered.
//! 2. The intent of an attempt stands in the delivery log: the attempt is made. Intents are written ahead of the attempts that
//!    may be under way; what has one waits for a place, and is not sent when its message is called off meanwhile. What a queue
//!    or a flow-control key holds does not go ahead: its place is kept from the moment at which it is let in.
//! 3. Its outcome stands in the delivery log.
//! 4. Of a message that has failed for good: its letter stands in the dead-letter log, which is the commit point; then the
//!    delivery log says so.
//! 5. The callbacks that the outcome owes stand in the main log with their causes, as messages of their own.

mod aftermath;
mod attempt;
mod cancel;
mod claim;
mod death;
mod desk;
mod destinations;
mod dispatch;
mod flow;
mod letters;
mod logs;
mod passes;
mod postponed;
mod publish;
mod recent;
mod round;
mod schedules;
mod start;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use storage::delivery::FlowLimits;
use storage::offset::{Offset, TimestampMs};

use super::{Broker, PushSettings};
use crate::config::DeliveryConfig;
use crate::delivery::gates::{GateLimits, Gates};
use crate::delivery::window::DedupWindow;
use crate::engine::PartitionHandle;
use crate::topic::Topic;
use crate::topic::partitioner::partition_of_key;
use desk::Desk;

pub use schedules::LastFiring;
pub use start::Share as DeliveryShare;
pub(super) use start::{ensure_topic, over};

/// Intents that may be written for each attempt that may be under way: when one ends, the next does not wait for a sync. As
/// many as are sent while one round pauses, is written and is synced.
const AHEAD_FACTOR: usize = 8;
/// Messages that go to one partition in a row, of those that may go anywhere: publishers that ask at the same time share a
/// sync.
const PUBLISH_IN_A_ROW: u32 = 32;
/// Messages after which it is counted anew how many have not come to their end: counting asks the owner of every partition.
const COUNT_AGAIN: u64 = 1024;

/// What the tasks of all partitions share.
#[derive(Debug)]
pub(super) struct Push {
    topic: Arc<Topic>,
    desks: Vec<Arc<Desk>>,
    /// Whose intents may be written.
    gates: Mutex<Gates>,
    /// Who of those may be sent: the attempts under way.
    places: Mutex<Gates>,
    /// Told when somebody waits for the end of a period.
    ticks: tokio::sync::Notify,
    window: Arc<DedupWindow>,
    config: DeliveryConfig,
    /// Messages that might go anywhere.
    spread_count: AtomicU32,
    /// Last firing of each schedule: what was due, and the messages that it made.
    fired: Mutex<BTreeMap<String, Firing>>,
    /// Schedules whose last firing lies too far ahead of the clock: since when they go by it again.
    set_back: Mutex<BTreeMap<String, TimestampMs>>,
    /// The settings of queues and flow-control keys that are in force.
    followed: Mutex<Option<PushSettings>>,
    /// Messages that are being published and are not in any state yet.
    publishing: AtomicU64,
    /// Messages that may be appended before it is counted anew how many have not come to their end.
    room: AtomicU64,
    /// Messages were called off since the gates were last swept: some may wait there.
    has_cancelled: AtomicBool,
    /// Tasks that have failed, by what stands still without them.
    stopped: Mutex<Vec<String>>,
}

/// The last firing of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Firing {
    due: TimestampMs,
    partition: u32,
    base: Offset,
    count: u32,
}

impl Push {
    /// Takes the opened topic over; what its states remember of periods, keys and schedules is restored.
    pub(super) fn new(topic: Arc<Topic>, config: DeliveryConfig, now: TimestampMs) -> Self {
        let limits = |ahead_factor| GateLimits {
            total_max: config.in_flight_max,
            host_max: config.destination_in_flight_max,
            ahead_factor,
        };
        let desks = topic
            .partitions()
            .iter()
            .zip(0u32..)
            .map(|(partition, index)| Arc::new(Desk::new(index, Arc::clone(partition))))
            .collect();
        let push = Self {
            topic,
            desks,
            gates: Mutex::new(Gates::new(limits(AHEAD_FACTOR))),
            places: Mutex::new(Gates::new(limits(1))),
            ticks: tokio::sync::Notify::new(),
            window: Arc::new(DedupWindow::new(config.deduplication_ids_max)),
            config,
            spread_count: AtomicU32::new(0),
            fired: Mutex::new(BTreeMap::new()),
            set_back: Mutex::new(BTreeMap::new()),
            followed: Mutex::new(None),
            publishing: AtomicU64::new(0),
            room: AtomicU64::new(0),
            has_cancelled: AtomicBool::new(false),
            stopped: Mutex::default(),
        };
        push.restore(now);
        push
    }

    /// Lets the gates know what the logs know of a key's limits, unless they do. Each lock is had alone.
    fn learn_limits(&self, key: &str) {
        if self.gates.lock().needs_limits(key) {
            let limits = self.limits_in_logs(key);
            self.gates.lock().learn(key, limits);
        }
    }

    /// Returns the limits of a key, as the newest message in any partition that names some has named them.
    fn limits_in_logs(&self, key: &str) -> Option<FlowLimits> {
        let of = |desk: &Arc<Desk>| desk.partition.owner().lock().delivery()?.limits_of(key);
        let all = self.desks.iter().filter_map(of);
        all.max_by_key(|limits| limits.since)
    }

    /// Locks the gates when they know the limits of all these keys.
    fn gates_for(&self, keys: &[&str]) -> MutexGuard<'_, Gates> {
        loop {
            for key in keys {
                self.learn_limits(key);
            }
            let gates = self.gates.lock();
            // A sweep may have come in between.
            if !keys.iter().any(|key| gates.needs_limits(key)) {
                return gates;
            }
        }
    }

    fn desk(&self, index: u32) -> Option<&Arc<Desk>> {
        self.desks.get(usize::try_from(index).ok()?)
    }

    /// Returns the partition of everything with this name: the same one as long as the topic has as many partitions.
    fn partition_of_name(&self, name: &str) -> u32 {
        partition_of_key(name.as_bytes(), self.partition_count())
    }

    /// Returns a partition for so many messages: all of them in turn, each for some messages in a row or for one request, but
    /// for those that take nothing or deliver nothing, while there are others.
    fn any_partition(&self, messages: usize) -> u32 {
        // At most one turn for a request: requests of a size that is many turns would all go to the same one.
        let messages = u32::try_from(messages)
            .unwrap_or(u32::MAX)
            .min(PUBLISH_IN_A_ROW);
        let next = self.spread_count.fetch_add(messages, Ordering::Relaxed) / PUBLISH_IN_A_ROW;
        let count = self.partition_count();
        let mut turns = (0..count.get()).map(|step| next.wrapping_add(step) % count);
        let is_well = |index: &u32| self.desk(*index).is_some_and(|desk| desk.is_well());
        turns.find(is_well).unwrap_or(next % count)
    }

    fn partition_count(&self) -> NonZeroU32 {
        let count = u32::try_from(self.desks.len()).unwrap_or(u32::MAX);
        NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
    }

    /// Checks that messages may be published, unless too many have not come to their end: then returns how many.
    fn check_room(&self) -> Result<(), u64> {
        if self.room.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let pending = self.pending_count();
        let pending_max = u64::try_from(self.config.pending_max).unwrap_or(u64::MAX);
        let room = pending_max.saturating_sub(pending).min(COUNT_AGAIN);
        self.room.store(room, Ordering::Relaxed);
        if room > 0 { Ok(()) } else { Err(pending) }
    }

    /// Returns how many messages have not come to their end.
    fn pending_count(&self) -> u64 {
        let pending = |partition: &PartitionHandle| {
            let owner = partition.owner().lock();
            owner.delivery().map_or(0, |state| {
                let counts = state.counts();
                counts.pending.saturating_add(counts.in_flight)
            })
        };
        let known: u64 = self.desks.iter().map(|desk| pending(&desk.partition)).sum();
        known.saturating_add(self.publishing.load(Ordering::Relaxed))
    }
}

impl Broker {
    pub(super) fn push(&self) -> &Push {
        &self.push
    }
}
