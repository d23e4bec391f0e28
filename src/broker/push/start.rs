//! Making the topic of pushed messages, restoring what its states remember, and starting its tasks.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use storage::control::push::{FlowOverride, PushState, Queue};
use storage::control::{ControlLog, Durability, Entry, TopicSettings};
use storage::delivery::QueueRule;
use storage::limits::{BATCH_BYTES_CEILING, LETTER_OVERHEAD_BYTES};
use storage::offset::TimestampMs;
use storage::partition::RecentBatches;
use tokio::task::JoinSet;

use super::aftermath::Aftermath;
use super::cancel::Why;
use super::desk::Desk;
use super::destinations::Destinations;
use super::dispatch::Dispatcher;
use super::{Firing, Push};
use crate::broker::{Broker, OpenError, PushSettings};
use crate::config::{DeliveryConfig, ServeConfig, TopicDefaults};
use crate::delivery::client::AttemptClient;
use crate::delivery::gates::Pin;
use crate::delivery::window::FirstPublish;
use crate::names::TopicName;
use crate::topic::{PUSH_TOPIC, Topic};

/// Messages that were given up and are called off together.
const GIVEN_UP_PER_BATCH: usize = 5_000;
/// Shortest time between two looks at the ends of periods.
const TICK_MIN: Duration = Duration::from_millis(2);
/// Longest: the wall clock may jump.
const TICK_MAX: Duration = Duration::from_secs(1);

/// Creates the topic of pushed messages when the data directory is first used. Later its settings follow the configuration,
/// but for the partitions: names of queues and schedules lead to them by their count.
pub(in crate::broker) fn ensure_topic(
    control: &mut ControlLog,
    config: &ServeConfig,
    now: TimestampMs,
) -> Result<(), OpenError> {
    let settings = settings(&config.delivery, &config.topic);
    let name = PUSH_TOPIC.to_owned();
    let count = config.delivery.partition_count;
    let entry = match control.state().topic(PUSH_TOPIC) {
        None => Entry::TopicCreated {
            name,
            settings,
            partitions: control.state().next_partitions(count).unwrap_or_default(),
        },
        Some(known) => {
            let have = known.partitions.len();
            if usize::try_from(count).is_ok_and(|count| count != have) {
                tracing::warn!(
                    "delivery.partitions is {count}, and stays {have} in this data directory"
                );
            }
            if known.settings == settings {
                return Ok(());
            }
            Entry::TopicAltered { name, settings }
        }
    };
    control.change(&entry, now)?;
    Ok(())
}

/// Takes over the topic of pushed messages, which is open.
pub(in crate::broker) fn over(
    topics: &BTreeMap<TopicName, Arc<Topic>>,
    config: &ServeConfig,
    now: TimestampMs,
) -> Result<Push, OpenError> {
    let topic = topics.get(PUSH_TOPIC).ok_or_else(|| OpenError::TopicName {
        name: PUSH_TOPIC.to_owned(),
    })?;
    Ok(Push::new(Arc::clone(topic), config.delivery, now))
}

fn settings(config: &DeliveryConfig, defaults: &TopicDefaults) -> TopicSettings {
    TopicSettings {
        durability: Durability::Synced,
        segment_bytes: defaults.segment_bytes,
        segment_ms: defaults.segment_ms,
        retention_ms: config.retention_ms,
        retention_bytes: None,
        dead_letter_retention_ms: defaults.dead_letter_retention_ms,
        dead_letter_retention_bytes: defaults.dead_letter_retention_bytes,
        record_bytes_max: config
            .message_bytes_max
            .saturating_add(LETTER_OVERHEAD_BYTES),
        // A publish to a URL group is one batch: it holds the body once for each endpoint.
        batch_bytes_max: BATCH_BYTES_CEILING,
    }
}

impl Push {
    /// Restores what the states remember: deduplication keys, periods, firings.
    pub(super) fn restore(&self, now: TimestampMs) {
        let mut publishes = Vec::new();
        let mut gates = self.gates.lock();
        let mut fired = self.fired.lock();
        for desk in &self.desks {
            let owner = desk.partition.owner().lock();
            let Some(state) = owner.delivery() else {
                continue;
            };
            publishes.extend(state.duplicates().map(|duplicate| {
                let first = FirstPublish {
                    partition: desk.index,
                    base: duplicate.base,
                    count: duplicate.count,
                    time: duplicate.time,
                };
                (duplicate.key, first)
            }));
            for (key, _) in state.flow_keys() {
                gates.know(key);
            }
            for (key, period) in state.periods() {
                gates.restore_period(key, period.start, period.count, now);
            }
            for (id, one) in state.fired() {
                let firing = Firing {
                    due: one.due,
                    partition: desk.index,
                    base: one.base,
                    count: one.count,
                };
                let known = fired.entry(id.to_owned()).or_insert_with(|| firing.clone());
                // One that lies ahead is from before the clock was set back.
                let rank = |firing: &Firing| (firing.due <= now, firing.due);
                if rank(known) < rank(&firing) {
                    *known = firing;
                }
            }
        }
        publishes.sort_by_key(|(_, first)| first.time);
        self.window.restore(publishes.into_iter());
    }

    /// Puts queues and decisions about flow-control keys in force, as far as they differ from those that are.
    fn follow(&self, newest: impl FnOnce() -> PushSettings, now: TimestampMs) {
        // One at a time, and read behind the lock, so that an older change never comes behind a newer one.
        let mut followed = self.followed.lock();
        let settings = newest();
        let none = PushState::default();
        let is_restored = followed.is_none();
        let before = followed.as_ref().map_or(&none, |known| &known.state);
        let rules = changed_queues(before, &settings.state);
        let pins = changed_pins(before, &settings.state);
        if !rules.is_empty() {
            for desk in &self.desks {
                let mut owner = desk.partition.owner().lock();
                if let Some(state) = owner.delivery_mut() {
                    for (name, rule) in &rules {
                        state.set_queue_rule(name, *rule);
                    }
                }
                drop(owner);
                desk.arrived.notify_one();
            }
        }
        let mut passes = Vec::new();
        let mut gates = self.gates.lock();
        for (key, pin) in &pins {
            if let (true, Some(pin)) = (is_restored, pin) {
                // Nothing is pinned anew: the period before the restart goes on.
                gates.restore_pin(key, pin);
            }
            passes.extend(gates.set_pin(key, pin.as_ref(), now));
        }
        *followed = Some(settings);
        drop(followed);
        self.hand_out(gates, passes, now);
        self.ticks.notify_one();
    }
}

/// Returns the queues whose rules differ, with the new ones; `None` for a queue that is gone.
fn changed_queues(before: &PushState, after: &PushState) -> Vec<(String, Option<QueueRule>)> {
    let gone = before
        .queues()
        .filter(|(name, _)| after.queue(name).is_none());
    let set = after
        .queues()
        .filter(|(name, queue)| before.queue(name) != Some(*queue));
    let rule = |queue: Queue| QueueRule {
        parallelism: queue.parallelism,
        is_paused: queue.is_paused,
    };
    gone.map(|(name, _)| (name.to_owned(), None))
        .chain(set.map(|(name, queue)| (name.to_owned(), Some(rule(queue)))))
        .collect()
}

/// Returns the flow-control keys of which something else is decided; `None` for one of which nothing is any more.
fn changed_pins(before: &PushState, after: &PushState) -> Vec<(String, Option<Pin>)> {
    let gone = before
        .flow_keys()
        .filter(|(key, _)| after.flow_key(key).is_none());
    let set = after
        .flow_keys()
        .filter(|(key, flow)| before.flow_key(key) != Some(*flow));
    let pin = |flow: FlowOverride| Pin {
        is_paused: flow.is_paused,
        parallelism: flow.parallelism,
        rate: flow.rate,
        period_ms: flow.period_ms,
    };
    gone.map(|(key, _)| (key.to_owned(), None))
        .chain(set.map(|(key, flow)| (key.to_owned(), Some(pin(flow)))))
        .collect()
}

/// Runs a task; returns its name if it fails.
pub(super) async fn watched(what: String, task: impl Future<Output = ()>) -> Option<String> {
    let ended = AssertUnwindSafe(task).catch_unwind().await;
    ended.is_err().then_some(what)
}

/// A share of the deliveries: that of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which one, from 0.
    pub at: usize,
    /// Of how many, at least 1.
    pub of: usize,
}

impl Share {
    fn of(self, desks: &[Arc<Desk>]) -> impl Iterator<Item = &Arc<Desk>> {
        desks.iter().skip(self.at).step_by(self.of.max(1))
    }
}

impl Broker {
    /// Delivers messages until the broker shuts down and the attempts under way have ended, or have had their time.
    pub async fn deliver(self: Arc<Self>, client: Arc<dyn AttemptClient>) {
        self.deliver_share(client, Share { at: 0, of: 1 }).await;
    }

    /// Returns into how many shares deliveries may be cut.
    #[must_use]
    pub fn delivery_shares(&self) -> usize {
        self.push().desks.len()
    }

    /// As [`Broker::deliver`], for one share of the partitions; the first one fires schedules as well.
    pub async fn deliver_share(self: Arc<Self>, client: Arc<dyn AttemptClient>, share: Share) {
        let mut tasks = JoinSet::new();
        self.follow_push_settings();
        self.cancel_given_up(share).await;
        if share.at == 0 {
            let ticks = Arc::clone(&self).tick();
            tasks.spawn(watched("flow control".to_owned(), ticks));
            let schedules = Arc::clone(&self).fire_schedules();
            tasks.spawn(watched("schedules".to_owned(), schedules));
        }
        for desk in share.of(&self.push().desks) {
            let aftermath = Aftermath::new(Arc::clone(&self), Arc::clone(desk));
            let what = format!("dead letters and callbacks of {PUSH_TOPIC}/{}", desk.index);
            tasks.spawn(watched(what, aftermath.run()));
            let dispatcher = Dispatcher {
                broker: Arc::clone(&self),
                desk: Arc::clone(desk),
                client: Arc::clone(&client),
                recent: RecentBatches::default(),
                destinations: Destinations::default(),
                is_stuck: false,
            };
            let (broker, desk) = (Arc::clone(&self), Arc::clone(desk));
            tasks.spawn(async move { broker.watch_deliveries(&desk, dispatcher.run()).await });
        }
        self.supervise(tasks).await;
    }

    /// Calls off the messages whose records an operator has given up: they would wait for ever to be read.
    async fn cancel_given_up(&self, share: Share) {
        for desk in share.of(&self.push().desks) {
            let partition = desk.partition.number().0;
            for lost in desk.given_up().chunks(GIVEN_UP_PER_BATCH) {
                match self.call_off(desk, lost, Why::GivenUp).await {
                    Ok(count) => {
                        tracing::warn!(
                            partition,
                            count,
                            "messages were given up with their records; those that had not come to their end count as cancelled"
                        );
                    }
                    Err(refusal) => {
                        let error = refusal.message;
                        tracing::warn!(
                            partition,
                            error,
                            "messages that were given up stay until the next start"
                        );
                        break;
                    }
                }
            }
        }
    }

    /// Runs what delivers the messages of a partition; returns its name if it fails. What lay before it then goes back.
    pub(super) async fn watch_deliveries(
        &self,
        desk: &Desk,
        task: impl Future<Output = ()>,
    ) -> Option<String> {
        let what = format!("deliveries of {PUSH_TOPIC}/{}", desk.index);
        let failed = watched(what, task).await?;
        self.push().stop(desk, self.clock.now());
        Some(failed)
    }

    /// Waits for the tasks to end. What has failed is a problem of the broker until a restart, which does again what was not
    /// written down: begun anew at once it would meet the same thing.
    pub(super) async fn supervise(&self, mut tasks: JoinSet<Option<String>>) {
        while let Some(ended) = tasks.join_next().await {
            if let Ok(Some(what)) = ended {
                tracing::error!(what, "a task of the deliveries has failed");
                self.push().stopped.lock().push(what);
            }
        }
    }

    /// Returns what has stopped because of a failure inside the broker.
    pub(in crate::broker) fn stopped_deliveries(&self) -> Vec<String> {
        self.push().stopped.lock().clone()
    }

    /// Puts what deliveries go by in force as it is now. Called before a change of it is answered.
    pub(in crate::broker) fn follow_push_settings(&self) {
        let push = self.push();
        push.follow(|| self.push_settings(), self.clock.now());
    }

    /// Lets messages through whose flow-control period has ended.
    async fn tick(self: Arc<Self>) {
        let push = self.push();
        loop {
            let now = self.clock.now();
            let wait = push.tick(now).map_or(TICK_MAX, |next| {
                Duration::from_millis(next.since(now).max(0).unsigned_abs())
            });
            tokio::select! {
                () = tokio::time::sleep(wait.clamp(TICK_MIN, TICK_MAX)) => {}
                () = push.ticks.notified() => tokio::time::sleep(TICK_MIN).await,
                () = self.shutdown.wait() => return,
            }
        }
    }
}
