//! Making the topic of pushed messages, restoring what its states remember, and starting its tasks.

use std::sync::Arc;
use std::time::Duration;

use storage::control::push::Queue;
use storage::control::{ControlState, Durability, TopicSettings};
use storage::delivery::QueueRule;
use storage::limits::{BATCH_BYTES_CEILING, LETTER_OVERHEAD_BYTES};
use storage::offset::TimestampMs;
use tokio::task::JoinSet;

use super::aftermath::Aftermath;
use super::dispatch::Dispatcher;
use super::{Firing, Push};
use crate::broker::{Broker, PushSettings};
use crate::config::{DeliveryConfig, TopicDefaults};
use crate::delivery::client::AttemptClient;
use crate::delivery::gates::Pin;
use crate::delivery::window::FirstPublish;
use crate::topic::PUSH_TOPIC;

/// Shortest time between two looks at the ends of periods.
const TICK_MIN: Duration = Duration::from_millis(2);
/// Longest: the wall clock may jump.
const TICK_MAX: Duration = Duration::from_secs(1);

/// Returns whether the topic is still to be created.
pub(in crate::broker) fn topic_is_missing(state: &ControlState) -> bool {
    state.topic(PUSH_TOPIC).is_none()
}

/// Returns the settings of the topic.
pub(in crate::broker) fn settings(
    config: &DeliveryConfig,
    defaults: &TopicDefaults,
) -> TopicSettings {
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
    pub(super) fn restore(&self) {
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
                gates.restore_period(key, period.start, period.count);
            }
            for (id, one) in state.fired() {
                let firing = Firing {
                    due: one.due,
                    partition: desk.index,
                    base: one.base,
                    count: one.count,
                };
                let known = fired.entry(id.to_owned()).or_insert_with(|| firing.clone());
                if known.due < firing.due {
                    *known = firing;
                }
            }
        }
        publishes.sort_by_key(|(_, first)| first.time);
        self.window.restore(publishes.into_iter());
    }

    /// Takes over queues and decisions about flow-control keys, as far as they differ from `before`, which was in force.
    fn follow(&self, before: Option<&PushSettings>, settings: &PushSettings, now: TimestampMs) {
        let rules = changed_rules(before, settings);
        for desk in self.desks.iter().filter(|_| !rules.is_empty()) {
            let mut owner = desk.partition.owner().lock();
            let Some(state) = owner.delivery_mut() else {
                continue;
            };
            for (name, rule) in &rules {
                state.set_queue_rule(name, *rule);
            }
            drop(owner);
            desk.arrived.notify_one();
        }
        let mut passes = Vec::new();
        let mut gates = self.gates.lock();
        for (key, _) in before.iter().flat_map(|before| before.state.flow_keys()) {
            if settings.state.flow_key(key).is_none() {
                passes.extend(gates.set_pin(key, None, now));
            }
        }
        let was = |key: &str| before.and_then(|before| before.state.flow_key(key));
        for (key, decided) in settings.state.flow_keys() {
            if was(key) == Some(decided) {
                continue;
            }
            let pin = Pin {
                is_paused: decided.is_paused,
                parallelism: decided.parallelism,
                rate: decided.rate,
                period_ms: decided.period_ms,
            };
            passes.extend(gates.set_pin(key, Some(&pin), now));
        }
        drop(gates);
        self.hand_out(passes);
        self.ticks.notify_one();
    }
}

/// Returns the rules of queues that are other than before, `None` for the default again.
fn changed_rules<'a>(
    before: Option<&'a PushSettings>,
    settings: &'a PushSettings,
) -> Vec<(&'a str, Option<QueueRule>)> {
    let rule = |queue: Queue| QueueRule {
        parallelism: queue.parallelism,
        is_paused: queue.is_paused,
    };
    let was = |name: &str| before.and_then(|before| before.state.queue(name));
    let set = settings.state.queues();
    let set = set.map(|(name, queue)| (name, rule(queue)));
    let mut rules: Vec<_> = set
        .filter(|(name, now)| was(name).map(rule) != Some(*now))
        .map(|(name, now)| (name, Some(now)))
        .collect();
    let gone = before.iter().flat_map(|before| before.state.queues());
    let gone = gone.filter(|(name, _)| settings.state.queue(name).is_none());
    rules.extend(gone.map(|(name, _)| (name, None)));
    rules
}

impl Broker {
    /// Delivers messages until the broker shuts down and the attempts under way have ended, or have had their time.
    pub async fn deliver(self: Arc<Self>, client: Arc<dyn AttemptClient>) {
        let mut tasks = JoinSet::new();
        let mut settings = self.subscribe_push_settings();
        let first = settings.borrow_and_update().clone();
        self.push().follow(None, &first, self.clock.now());
        tasks.spawn(Arc::clone(&self).follow_settings(first, settings));
        tasks.spawn(Arc::clone(&self).tick());
        tasks.spawn(Arc::clone(&self).fire_schedules());
        for desk in &self.push().desks {
            let aftermath = Aftermath::new(Arc::clone(&self), Arc::clone(desk));
            tasks.spawn(aftermath.run());
            let dispatcher = Dispatcher {
                broker: Arc::clone(&self),
                desk: Arc::clone(desk),
                client: Arc::clone(&client),
            };
            tasks.spawn(dispatcher.run());
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(panic) = ended {
                // What it had not written down is done again at the next start.
                tracing::error!(%panic, "a delivery task has failed; its partition delivers nothing until a restart");
            }
        }
    }

    async fn follow_settings(
        self: Arc<Self>,
        mut before: PushSettings,
        mut changes: tokio::sync::watch::Receiver<PushSettings>,
    ) {
        loop {
            tokio::select! {
                told = changes.changed() => if told.is_err() { return },
                () = self.shutdown.wait() => return,
            }
            let settings = changes.borrow_and_update().clone();
            self.push()
                .follow(Some(&before), &settings, self.clock.now());
            before = settings;
        }
    }

    /// Lets messages through whose flow-control period has ended.
    async fn tick(self: Arc<Self>) {
        let push = self.push();
        loop {
            let now = self.clock.now();
            let passes = push.gates.lock().tick(now);
            push.hand_out(passes);
            let next = push.gates.lock().next_tick();
            let wait = next.map_or(TICK_MAX, |next| {
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
