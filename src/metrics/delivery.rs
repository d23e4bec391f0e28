//! What is counted of pushed messages.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use storage::dead_letter::{AttemptResult, ErrorClass};
use storage::delivery::DeliveryCounts;

use super::{gauge_value, observe_duration};

/// Queues whose lag is exported, the longest first; the others are counted in `redrive_queue_lag_left_out`.
const QUEUE_SERIES_MAX: usize = 1_000;

/// What an attempt came to, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AttemptLabel {
    /// `2xx`, `3xx`, `4xx`, `5xx`, `other_status`, or the class of the error, such as `timeout`.
    pub outcome: &'static str,
}

/// What became of messages, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MessageLabel {
    /// `accepted`, `pending`, `in_flight`, `delivered`, `cancelled` or `dead_lettered`.
    pub state: &'static str,
}

/// Which queue, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// Its name.
    pub queue: String,
}

/// Label of a partition, by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PartitionLabel {
    partition_number: u32,
}

/// Pushed messages. Accepted = pending + in flight + delivered + cancelled + dead-lettered.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    /// Messages published by requests.
    pub published: Counter,
    /// Publish requests refused for want of room: too many messages wait, or the disk has too little space.
    pub publish_refusals: Counter,
    /// Firings of schedules.
    pub scheduled: Counter,
    /// Callbacks appended.
    pub callbacks: Counter,
    /// Attempts that have ended.
    pub attempts: Family<AttemptLabel, Counter>,
    /// Time of an attempt, from its begin to the end of the answer.
    pub attempt_seconds: Histogram,
    /// Retries set for a later time.
    pub retries: Counter,
    /// Messages ever accepted, and what became of them.
    pub messages: Family<MessageLabel, Gauge>,
    /// Messages whose time has come and that wait for a place.
    pub due_backlog: Gauge,
    /// Seconds since the oldest message was published that has not come to its end; 0 without one.
    pub oldest_pending_age_seconds: Gauge,
    /// Records that were copied because their segment was to go.
    pub carried: Counter,
    /// Histories and records that were copied within delivery logs.
    pub copied: Counter,
    /// Snapshots of states made.
    pub snapshots: Counter,
    held_segments: Family<PartitionLabel, Gauge>,
    queue_lag: Family<QueueLabel, Gauge>,
    queue_lag_left_out: Gauge,
}

impl Default for DeliveryMetrics {
    fn default() -> Self {
        Self {
            published: Counter::default(),
            publish_refusals: Counter::default(),
            scheduled: Counter::default(),
            callbacks: Counter::default(),
            attempts: Family::default(),
            // 250 us to 524 s in doublings: from a destination next door to one that takes its time.
            attempt_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 22)),
            retries: Counter::default(),
            messages: Family::default(),
            due_backlog: Gauge::default(),
            oldest_pending_age_seconds: Gauge::default(),
            carried: Counter::default(),
            copied: Counter::default(),
            snapshots: Counter::default(),
            held_segments: Family::default(),
            queue_lag: Family::default(),
            queue_lag_left_out: Gauge::default(),
        }
    }
}

impl DeliveryMetrics {
    /// Counts an attempt that has ended.
    pub fn count_attempt(&self, result: AttemptResult, duration: Duration) {
        let label = AttemptLabel {
            outcome: outcome(result),
        };
        self.attempts.get_or_create(&label).inc();
        observe_duration(&self.attempt_seconds, duration);
    }

    /// Takes over what became of messages, counted at one moment.
    pub fn set_counts(&self, counts: &DeliveryCounts) {
        for (state, count) in [
            ("accepted", counts.accepted),
            ("pending", counts.pending),
            ("in_flight", counts.in_flight),
            ("delivered", counts.delivered),
            ("cancelled", counts.cancelled),
            ("dead_lettered", counts.dead_lettered),
        ] {
            let label = MessageLabel { state };
            self.messages.get_or_create(&label).set(gauge_value(count));
        }
    }

    /// Takes over how many segments of a partition's main log have had their time and are held.
    pub fn count_held(&self, partition: u32, count: i64) {
        let label = PartitionLabel {
            partition_number: partition,
        };
        self.held_segments.get_or_create(&label).set(count);
    }

    /// Replaces the lag of all queues, the longest first.
    pub fn set_queue_lags(&self, mut lags: Vec<(String, u64)>) {
        lags.sort_unstable_by_key(|(_, lag)| std::cmp::Reverse(*lag));
        let left_out = lags.len().saturating_sub(QUEUE_SERIES_MAX);
        lags.truncate(QUEUE_SERIES_MAX);
        self.queue_lag.clear();
        for (queue, lag) in lags {
            let label = QueueLabel { queue };
            self.queue_lag
                .get_or_create_owned(&label)
                .set(gauge_value(lag));
        }
        let left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
        self.queue_lag_left_out.set(gauge_value(left_out));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "messages_published",
            "Messages published by requests",
            &self.published,
        );
        counter(
            "publish_refusals",
            "Publish requests refused because too many messages wait, or the disk has too little space",
            &self.publish_refusals,
        );
        counter(
            "carried_records",
            "Pushed records copied because their segment was to go",
            &self.carried,
        );
        counter(
            "delivery_copies",
            "Histories and records copied within delivery logs",
            &self.copied,
        );
        counter(
            "delivery_snapshots",
            "Snapshots of delivery states made",
            &self.snapshots,
        );
        counter("schedule_firings", "Firings of schedules", &self.scheduled);
        counter(
            "callbacks",
            "Callbacks appended as messages",
            &self.callbacks,
        );
        counter(
            "delivery_retries",
            "Retries set for a later time",
            &self.retries,
        );
        registry.register(
            "delivery_attempts",
            "Attempts that have ended, by what they came to",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "delivery_attempt",
            "Time of an attempt, from its begin to the end of the answer",
            Unit::Seconds,
            self.attempt_seconds.clone(),
        );
        registry.register(
            "held_segments",
            "Segments of pushed records that have had their time and are held, for much of one of them is still needed",
            self.held_segments.clone(),
        );
        registry.register(
            "messages",
            "Messages ever accepted, and what became of them: accepted = all the others together",
            self.messages.clone(),
        );
        self.register_gauges(registry);
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "delivery_due_backlog",
            "Messages whose time has come and that wait for a place",
            self.due_backlog.clone(),
        );
        registry.register_with_unit(
            "delivery_oldest_pending_age",
            "Since the oldest message was published that has not come to its end, 0 without one",
            Unit::Seconds,
            self.oldest_pending_age_seconds.clone(),
        );
        registry.register(
            "queue_lag",
            "Messages of a queue that have not come to their end",
            self.queue_lag.clone(),
        );
        registry.register(
            "queue_lag_left_out",
            "Queues whose lag is not exported, for want of room",
            self.queue_lag_left_out.clone(),
        );
    }
}

fn outcome(result: AttemptResult) -> &'static str {
    match result {
        AttemptResult::Status(200..=299) => "2xx",
        AttemptResult::Status(300..=399) => "3xx",
        AttemptResult::Status(400..=499) => "4xx",
        AttemptResult::Status(500..=599) => "5xx",
        AttemptResult::Status(_) => "other_status",
        AttemptResult::Error(ErrorClass::RESOLVE) => "resolve",
        AttemptResult::Error(ErrorClass::CONNECT) => "connect",
        AttemptResult::Error(ErrorClass::TLS) => "tls",
        AttemptResult::Error(ErrorClass::TIMEOUT) => "timeout",
        AttemptResult::Error(ErrorClass::BROKEN) => "broken",
        AttemptResult::Error(ErrorClass::PROTOCOL) => "protocol",
        AttemptResult::Error(ErrorClass::FORBIDDEN) => "forbidden",
        AttemptResult::Error(_) => "other_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_messages_is_exported() {
        let metrics = crate::metrics::Metrics::new();
        let deliveries = &metrics.deliveries;
        let timeout = AttemptResult::Error(ErrorClass::TIMEOUT);
        deliveries.count_attempt(timeout, Duration::from_millis(3));
        deliveries.set_counts(&DeliveryCounts {
            accepted: 3,
            in_flight: 1,
            delivered: 2,
            ..DeliveryCounts::default()
        });
        let queues = (0..1_005u64).map(|n| (format!("q{n}"), n)).collect();
        deliveries.set_queue_lags(queues);
        let text = metrics.encode();
        for line in [
            "redrive_delivery_attempts_total{outcome=\"timeout\"} 1",
            "redrive_delivery_attempt_seconds_count 1",
            "redrive_messages{state=\"accepted\"} 3",
            "redrive_messages{state=\"in_flight\"} 1",
            "redrive_queue_lag{queue=\"q1004\"} 1004",
            "redrive_queue_lag_left_out 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("queue=\"q4\""), "the shortest are left out");
    }
}
