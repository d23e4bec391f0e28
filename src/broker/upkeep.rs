//! What the broker does by itself: syncs of written topics, checkpoints, healing, retention, free space, the clocks, metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use storage::checkpoint::LogCheckpoint;
use storage::error::{LogError, PoisonCause};
use storage::log::Log;
use storage::log_id::{LogId, LogKind};

use super::{Broker, resolve};
use crate::causes::Causes;
use crate::engine::PartitionHandle;
use crate::topic::Topic;

/// Time between two rounds of upkeep: a written topic is synced and a checkpoint stored at least as often.
const ROUND: Duration = Duration::from_secs(1);
/// The logs that a partition may have.
pub(super) const LOGS: [LogKind; 3] = [LogKind::Main, LogKind::DeadLetter, LogKind::Delivery];
/// Rounds between two looks at retention.
const ROUNDS_PER_RETENTION: u64 = 30;

/// How the broker is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// What is wrong, a line each. Empty when the broker is ready for everything.
    pub problems: Vec<String>,
}

/// The broker's own work, one round after the other. It blocks on the disk: run it on a thread of its own.
#[derive(Debug)]
pub struct Upkeep {
    broker: Arc<Broker>,
    round: u64,
    /// It was told that checkpoints cannot be stored.
    is_behind: bool,
    /// What is wrong with partitions, as far as it was told.
    told: BTreeSet<String>,
}

impl Upkeep {
    /// Begins with the first round.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Self {
        Self {
            round: 0,
            is_behind: false,
            // Also what is wrong by now: the deliveries that begin may have found it, and nobody has told it. What recovery had
            // told of is told once more.
            told: BTreeSet::new(),
            broker,
        }
    }

    /// Returns the time between two rounds.
    #[must_use]
    pub fn interval() -> Duration {
        ROUND
    }

    /// Does everything that is due.
    pub fn round(&mut self) {
        let broker = &self.broker;
        self.round = self.round.wrapping_add(1);
        broker.look_at_clocks();
        broker.measure_space();
        for topic in broker.all_topics() {
            for partition in topic.partitions().iter() {
                broker.keep_up(partition);
                for (_, log) in partition.readers() {
                    log.rest();
                }
                broker.keep_push(&topic, partition);
            }
        }
        broker.fetch_memory.rest();
        broker.resolving.buffers.rest();
        let stored = broker.store_checkpoints();
        let was_behind = std::mem::replace(&mut self.is_behind, stored.is_err());
        match stored {
            Err(error) if !was_behind => {
                tracing::warn!(error = %Causes(&error), "checkpoints are not stored; a restart takes longer");
            }
            Ok(()) if was_behind => tracing::info!("checkpoints are stored again"),
            Ok(()) | Err(_) => {}
        }
        broker.keep_control();
        if self.round.is_multiple_of(ROUNDS_PER_RETENTION) {
            broker.forget_limits();
            for topic in broker.all_topics() {
                if let Err(error) = broker.run_retention(topic.name().as_str()) {
                    tracing::warn!(topic = %topic.name(), error = %error.message, "retention stays behind");
                }
            }
        }
        broker.sweep_push();
        broker.measure();
        self.tell_problems();
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<String> {
        self.told.iter().cloned().collect()
    }

    /// Says what has come to be wrong with partitions since the last round, and what no longer is.
    fn tell_problems(&mut self) {
        let problems: BTreeSet<_> = self.broker.partition_problems().collect();
        for problem in problems.difference(&self.told) {
            tracing::error!("{problem}");
        }
        for problem in self.told.difference(&problems) {
            tracing::info!("no longer so: {problem}");
        }
        self.told = problems;
    }
}

impl Broker {
    /// Ends the broker's work: everything that was accepted is synced and checkpointed.
    pub fn close(&self) {
        for topic in self.all_topics() {
            for partition in topic.partitions().iter() {
                for kind in LOGS {
                    if let Err(error) = sync_all(partition, kind) {
                        tracing::error!(partition = partition.number().0, error = %Causes(&error), "the last sync failed");
                    }
                    partition.notify(kind);
                }
            }
        }
        if let Err(error) = self.store_checkpoints() {
            tracing::warn!(error = %Causes(&error), "checkpoints are not stored; a restart takes longer");
        }
    }

    /// Says what keeps the broker from being ready for everything.
    #[must_use]
    pub fn health(&self) -> Health {
        let mut problems = Vec::new();
        if self.shutdown.is_triggered() {
            problems.push("the broker is shutting down".to_owned());
        }
        problems.extend(self.space.problem(self.clock.monotonic()));
        problems.extend(self.partition_problems());
        if let Some(cause) = self.control.with(|log| log.poison()) {
            let why = because(self.control.with(|log| log.trouble()));
            problems.push(format!("the control log takes no changes: {cause}{why}"));
        }
        let stopped = self.stopped_deliveries().into_iter();
        problems.extend(stopped.map(|what| {
            format!("{what} stand still after a failure inside the broker: restart it")
        }));
        Health { problems }
    }

    /// Returns what is wrong with partitions, a line each.
    fn partition_problems(&self) -> impl Iterator<Item = String> {
        self.all_topics().into_iter().flat_map(|topic| {
            let partitions = topic.partitions();
            let of = |(index, partition): (usize, &Arc<PartitionHandle>)| {
                problems_of(&topic, index, partition)
            };
            partitions
                .iter()
                .enumerate()
                .flat_map(of)
                .collect::<Vec<_>>()
        })
    }

    /// Syncs what was written and gets over failed writes.
    fn keep_up(&self, partition: &Arc<PartitionHandle>) {
        for kind in [LogKind::Main, LogKind::Delivery] {
            let log = partition
                .owner()
                .lock()
                .log_mut(kind)
                .map(|log| log.reader());
            if log.is_some_and(|log| log.durable_end() < log.log_end()) {
                partition.schedule_sync(kind);
            }
        }
        for kind in LOGS {
            match partition.heal(kind) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(partition = partition.number().0, log = %kind, "recovered from a failed write");
                }
                Err(error) => {
                    tracing::warn!(partition = partition.number().0, log = %kind, error = %Causes(&error), "still not recovered from a failed write");
                }
            }
        }
        if let Err(error) = resolve::finish_due(self, partition) {
            tracing::warn!(partition = partition.number().0, error = %Causes(&error), "markers of republished letters come later");
        }
    }

    /// Stores the checkpoints of everything that has changed.
    pub(super) fn store_checkpoints(&self) -> Result<(), LogError> {
        let mut checkpoints = self.checkpoints.lock();
        for topic in self.all_topics() {
            for partition in topic.partitions().iter() {
                for kind in LOGS {
                    let stored = checkpoints.get(LogId::new(partition.number(), kind));
                    if let Some(entry) = due_checkpoint(partition, kind, stored) {
                        checkpoints.put(entry);
                    }
                }
            }
        }
        let control = self.control.with(|log| {
            let entry = log.checkpoint();
            (log.reader().durable_end() >= entry.durable_end).then_some(entry)
        });
        // After a failed sync the log ends behind what is durable: a checkpoint would call what a crash may take damage.
        if let Some(entry) = control {
            checkpoints.put(entry);
        }
        checkpoints.write()
    }

    /// Gets the control log over a failed write, and deletes its head up to the newest snapshot.
    fn keep_control(&self) {
        self.control.with(|log| {
            if log.poison() == Some(PoisonCause::WriteFailed)
                && let Err(error) = log.heal()
            {
                tracing::warn!(error = %Causes(&error), "the control log has not recovered from a failed write");
            }
            let Some(start) = log.head_to_delete() else {
                return;
            };
            let stored = self
                .checkpoints
                .lock()
                .raise_log_start(LogId::CONTROL, start);
            let deleted = stored.and_then(|()| log.apply_log_start(start).run());
            if let Err(error) = deleted {
                tracing::warn!(error = %Causes(&error), "the head of the control log stays for now");
            }
        });
    }
}

/// Returns the checkpoint of a log that has changed since the stored one, once everything in it is durable.
pub(super) fn due_checkpoint(
    partition: &PartitionHandle,
    kind: LogKind,
    stored: Option<&LogCheckpoint>,
) -> Option<LogCheckpoint> {
    let entry = {
        let mut owner = partition.owner().lock();
        let log = owner.log_mut(kind)?;
        let is_same = stored.is_some_and(|stored| {
            stored.durable_end == log.next_offset() && stored.log_start == log.reader().log_start()
        });
        if is_same
            || matches!(
                log.poison(),
                Some(PoisonCause::SyncFailed | PoisonCause::Damaged)
            )
        {
            return None;
        }
        match kind {
            LogKind::Main => owner.main_checkpoint(),
            LogKind::Delivery => owner.delivery_checkpoint()?,
            LogKind::DeadLetter | LogKind::Control => owner.dead_letter_checkpoint()?,
        }
    };
    sync_all(partition, kind).ok()?;
    let reader = partition.owner().lock().log_mut(kind)?.reader();
    (reader.durable_end() >= entry.durable_end).then_some(entry)
}

/// Syncs everything written to one of a partition's logs, on this thread.
pub(super) fn sync_all(partition: &PartitionHandle, kind: LogKind) -> Result<(), LogError> {
    let task = partition
        .owner()
        .lock()
        .log_mut(kind)
        .and_then(Log::begin_sync);
    if let Some(task) = task {
        let synced = task.run();
        partition.after_sync(kind);
        // Also after a failure: producers wait for this log, and no other sync of it will tell them.
        partition.notify(kind);
        synced?;
    }
    Ok(())
}

fn problems_of(topic: &Topic, index: usize, partition: &PartitionHandle) -> Vec<String> {
    // `verify` and `repair` take the number, everything else the topic and the index.
    let number = partition.number();
    let name = format!(
        "partition {index} of topic {} (number {number})",
        topic.name()
    );
    let mut problems = Vec::new();
    for (kind, log) in partition.readers() {
        let (takes_none, begins_none, what) = match kind {
            LogKind::Main => ("takes no appends", "begins no new segment", "offsets"),
            LogKind::DeadLetter => (
                "takes no dead letters",
                "begins no new segment for dead letters",
                "dead letters",
            ),
            // What its damage means is told once, and not for each range.
            LogKind::Delivery | LogKind::Control => continue,
        };
        match (log.poison(), log.trouble()) {
            (Some(cause), why) => {
                problems.push(format!("{name} {takes_none}: {cause}{}", because(why)));
            }
            (None, Some(why)) => problems.push(format!("{name} {begins_none}: {why}")),
            (None, None) => {}
        }
        problems.extend(log.damage().into_iter().map(|range| {
            let (from, to, reason) = (range.from, range.to, range.reason);
            if from == to {
                // It costs no offset: a header, or bytes behind the last batch. `verify` knows what can be done.
                let (path, position) = (range.path.display(), range.position);
                return format!(
                    "{name}: byte {position} of {path} is damaged, and no offset with it; `redrive verify` says what to do: {reason}"
                );
            }
            format!("{name}: {what} {from} to {to} cannot be read: {reason}")
        }));
    }
    problems.extend(delivery_problem(&name, partition));
    problems
}

/// Says why nothing is delivered from a partition, if so.
fn delivery_problem(name: &str, partition: &PartitionHandle) -> Option<String> {
    let owner = partition.owner().lock();
    if let Some(range) = owner.delivery_damage() {
        return Some(format!(
            "{name}: nothing is delivered, its delivery log cannot be read from {} to {}: {}",
            range.from, range.to, range.reason
        ));
    }
    let log = owner.delivery_log()?.log()?;
    let (cause, why) = (log.poison()?, because(log.reader().trouble()));
    Some(format!(
        "{name}: nothing is delivered, its delivery log takes no entries: {cause}{why}"
    ))
}

/// What the system has said, behind what follows from it.
fn because(why: Option<String>) -> String {
    why.map_or_else(String::new, |why| format!(" ({why})"))
}
