//! Retention: which segments of a topic's logs go, and what is copied before they do.
//!
//! The order for each log: plan, make durable what the plan relies on, store the new log start, swap the map, unlink.

use std::sync::Arc;
use std::time::Duration;

use storage::delivery::DeliveryLog;
use storage::error::LogError;
use storage::log::Log;
use storage::log_id::{LogId, LogKind};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{PartitionRetention, PushUpkeep};

use super::upkeep::{LOGS, due_checkpoint, sync_all};
use super::{Broker, refusal};
use crate::causes::Causes;
use crate::engine::PartitionHandle;
use crate::metrics::gauge_value;
use crate::protocol::error_code::Refusal;
use crate::topic::Topic;

/// How long one step of a wait for somebody else's roll is.
const ROLL_STEP: Duration = Duration::from_millis(2);

/// What one run of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionRun {
    /// Segments deleted.
    pub segment_count: u64,
    /// Partitions whose main log now starts later.
    pub partition_count: u64,
}

impl Broker {
    /// Deletes segments of a topic that have had their time. Blocks on the disk.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::UnknownTopic`], or the log's.
    pub fn run_retention(&self, topic: &str) -> Result<RetentionRun, Refusal> {
        let topic = self.topic(topic)?;
        let mut run = RetentionRun::default();
        for partition in topic.partitions().iter() {
            self.keep_push(&topic, partition);
            for kind in LOGS {
                let gone = self
                    .retain(&topic, partition, kind)
                    .map_err(|error| refusal::of_log(&error))?;
                run.segment_count = run.segment_count.saturating_add(gone);
                run.partition_count = run.partition_count.saturating_add(u64::from(gone > 0));
            }
        }
        Ok(run)
    }

    /// Makes the snapshots that are due of a pushed partition, and copies what its retention would take and is still needed.
    /// Blocks on the disk.
    pub(super) fn keep_push(&self, topic: &Topic, partition: &Arc<PartitionHandle>) {
        if partition.owner().lock().delivery().is_none() {
            return;
        }
        let (policy, at) = self.retention_now(topic);
        let now = || at;
        let wait = || self.pool.pause(ROLL_STEP);
        let upkeep = PushUpkeep {
            owner: partition.owner(),
            now: &now,
            wait: &wait,
            rolled: &|kind| partition.notify(kind),
        };
        let done = upkeep.run(&policy);
        // Its syncs may have made durable what others wait for.
        partition.notify(LogKind::Delivery);
        match done {
            Ok(run) => {
                let metrics = &self.metrics.deliveries;
                metrics.carried.inc_by(run.carried_count);
                metrics.copied.inc_by(run.copied_count);
                metrics.snapshots.inc_by(u64::from(run.has_snapshot));
                metrics.count_held(partition.number().0, gauge_value(run.held_segment_count));
            }
            Err(error) => {
                tracing::warn!(partition = partition.number().0, error = %Causes(&error), "a snapshot of deliveries comes later; a restart takes longer");
            }
        }
    }

    /// Returns how long a topic keeps what it holds, as far as the clock is to be trusted, and the time that was trusted:
    /// the clock may jump between any two looks at it.
    fn retention_now(&self, topic: &Topic) -> (PartitionRetention, TimestampMs) {
        let mut policy = topic.retention();
        let (now, is_right) = self.look_at_clocks();
        if !is_right {
            policy.main.retention_ms = None;
            policy.dead_letters.retention_ms = None;
            policy.delivery.retention_ms = None;
        }
        (policy, now)
    }

    /// Runs the retention of one log: the new start is stored, then the map is swapped, then the files go.
    fn retain(
        &self,
        topic: &Topic,
        partition: &Arc<PartitionHandle>,
        kind: LogKind,
    ) -> Result<u64, LogError> {
        // One at a time for each broker: the files of an older segment go before those of a newer one.
        let _one_at_a_time = self.retaining.lock();
        // A topic that was deleted since it was looked up gets no checkpoint again.
        if !self
            .topic(topic.name().as_str())
            .is_ok_and(|known| std::ptr::eq(known.as_ref(), topic))
        {
            return Ok(0);
        }
        let (policy, now) = self.retention_now(topic);
        let (start, entries_end) = {
            let owner = partition.owner().lock();
            let start = match kind {
                LogKind::Main => owner.plan_main_retention(&policy.main, now),
                LogKind::Delivery => owner.plan_delivery_retention(&policy.delivery, now),
                LogKind::DeadLetter | LogKind::Control => {
                    owner.plan_dead_letter_retention(&policy.dead_letters, now)
                }
            };
            let delivery = owner.delivery_log().and_then(DeliveryLog::log);
            (start, delivery.map(Log::next_offset))
        };
        let Some(start) = start else { return Ok(0) };
        // What the plan takes for settled must stay so after a crash.
        if let Some(end) = entries_end.filter(|_| kind != LogKind::DeadLetter)
            && !is_durable(partition, LogKind::Delivery, end)?
        {
            return Ok(0);
        }
        self.store_log_start(partition, kind, start)?;
        let unlink = {
            let mut owner = partition.owner().lock();
            owner.apply_log_start(kind, start)
        };
        let Some(unlink) = unlink else { return Ok(0) };
        let count = u64::try_from(unlink.segment_count()).unwrap_or(u64::MAX);
        self.metrics.logs.retention_segments.inc_by(count);
        unlink.run()?;
        Ok(count)
    }

    /// Stores a new log start durably. A log without a checkpoint gets one first.
    fn store_log_start(
        &self,
        partition: &PartitionHandle,
        kind: LogKind,
        start: Offset,
    ) -> Result<(), LogError> {
        let id = LogId::new(partition.number(), kind);
        let mut checkpoints = self.checkpoints.lock();
        if checkpoints.get(id).is_none()
            && let Some(entry) = due_checkpoint(partition, kind, None)
        {
            checkpoints.put(entry);
        }
        checkpoints.raise_log_start(id, start)
    }
}

/// Makes everything of a log below `end` durable. Returns whether it is: a roll or a poison may stand in the way.
fn is_durable(partition: &PartitionHandle, kind: LogKind, end: Offset) -> Result<bool, LogError> {
    sync_all(partition, kind)?;
    let log = partition
        .owner()
        .lock()
        .log_mut(kind)
        .map(|log| log.reader());
    Ok(log.is_none_or(|log| log.durable_end() >= end))
}
