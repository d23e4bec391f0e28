//! The broker's counters, gauges and histograms, in one struct that is handed down from `run`.
//!
//! What the produce and fetch paths touch is a plain atomic: no lock, no lookup. Labelled families take a read lock and are
//! for rarer things; every label has a bounded set of values (dispositions are one byte; lag is replaced as a whole and
//! capped), so that a scrape stays small whatever clients name their groups.

mod delivery;
mod disk;
mod register;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use delivery::{AttemptLabel, DeliveryMetrics, MessageLabel, QueueLabel};
pub(crate) use disk::MeasuredDisk;

/// Content type of what [`Metrics::encode`] returns.
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Largest number of (group, topic, partition) triples whose lag is exported; the rest is counted in
/// `redrive_consumer_lag_left_out`.
pub const LAG_SERIES_MAX: usize = 10_000;

/// Why a dead letter died, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DispositionLabel {
    /// `retries_exhausted`, `not_retryable`, `rejected`, `destination_forbidden` or `unknown`.
    pub disposition: &'static str,
}

impl DispositionLabel {
    /// Returns the label of a disposition byte; those that this version does not know share one.
    pub fn new(disposition: u8) -> Self {
        let disposition = match disposition {
            1 => "retries_exhausted",
            2 => "not_retryable",
            3 => "rejected",
            4 => "destination_forbidden",
            _ => "unknown",
        };
        Self { disposition }
    }
}

/// Which surface a connection or request came by, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SurfaceLabel {
    /// `http` or `protocol`.
    pub surface: &'static str,
}

/// Class of an HTTP answer, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// `2xx`, `3xx`, `4xx` or `5xx`.
    pub class: &'static str,
}

/// Whose lag, as labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LagLabel {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Index of the partition in its topic.
    pub partition: u32,
}

/// Produce and fetch.
#[derive(Debug, Clone, Default)]
pub struct TrafficMetrics {
    /// Produce requests answered.
    pub produce_requests: Counter,
    /// Produce requests refused.
    pub produce_refusals: Counter,
    /// Records appended by produce requests.
    pub produce_records: Counter,
    /// Bytes of batches appended by produce requests.
    pub produce_bytes: Counter,
    /// Fetch requests answered.
    pub fetch_requests: Counter,
    /// Bytes of batches sent to consumers.
    pub fetch_bytes: Counter,
}

/// Logs and their disk.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    /// Seconds that a write to a file took.
    pub write_seconds: Histogram,
    /// Seconds that a sync took.
    pub sync_seconds: Histogram,
    /// Syncs that failed.
    pub sync_failures: Counter,
    /// Segments sealed.
    pub rolls: Counter,
    /// Logs recovered while opening.
    pub recoveries: Counter,
    /// Bytes cut from torn tails.
    pub truncated_bytes: Counter,
    /// Logs that take no appends since a write or a sync failed.
    pub poisoned_logs: Gauge,
    /// Ranges of offsets that cannot be read.
    pub damaged_ranges: Gauge,
    /// Segments deleted by retention.
    pub retention_segments: Counter,
    /// Bytes deleted by retention.
    pub retention_bytes: Counter,
    /// Free bytes of the data directory's file system.
    pub free_bytes: Gauge,
    /// How far the wall clock is from where the monotonic clock says it should be, in seconds; 0 within a minute.
    pub clock_departure_seconds: Gauge,
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self {
            write_seconds: latency_histogram(),
            sync_seconds: latency_histogram(),
            sync_failures: Counter::default(),
            rolls: Counter::default(),
            recoveries: Counter::default(),
            truncated_bytes: Counter::default(),
            poisoned_logs: Gauge::default(),
            damaged_ranges: Gauge::default(),
            retention_segments: Counter::default(),
            retention_bytes: Counter::default(),
            free_bytes: Gauge::default(),
            clock_departure_seconds: Gauge::default(),
        }
    }
}

/// Dead letters. Letters ever = live + republished + deleted + expired, as the logs have them, also from before a restart:
/// [`Metrics::set_letters`] sets these five.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterMetrics {
    /// Letters appended since the start, by disposition.
    pub appended: Family<DispositionLabel, Counter>,
    ever: Counter,
    republished: Counter,
    deleted: Counter,
    expired: Counter,
    live: Gauge,
    /// Letters that a retry or a deletion over `/v2/dlq` could not resolve.
    pub left_out: Counter,
    /// Seconds since the oldest live letter died; 0 without one.
    pub oldest_age_seconds: Gauge,
    /// Seconds until retention may take the first live letter; -1 when it takes none.
    pub first_expiry_seconds: Gauge,
}

/// How many dead letters there are, and what became of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LetterTotals {
    /// Neither resolved nor expired.
    pub live: u64,
    /// Resolved by republish.
    pub republished: u64,
    /// Resolved by delete.
    pub deleted: u64,
    /// Live letters that retention deleted.
    pub expired: u64,
}

/// Connections and HTTP answers.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMetrics {
    /// Open connections, by surface.
    pub open: Family<SurfaceLabel, Gauge>,
    /// Connections accepted, by surface.
    pub accepted: Family<SurfaceLabel, Counter>,
    /// HTTP answers, by class of status.
    pub http_responses: Family<StatusLabel, Counter>,
}

/// Everything that is counted. Cloning shares the counters.
pub struct Metrics {
    /// Produce and fetch.
    pub traffic: TrafficMetrics,
    /// Logs and their disk.
    pub logs: LogMetrics,
    /// Dead letters.
    pub dead_letters: DeadLetterMetrics,
    /// Connections and HTTP answers.
    pub connections: ConnectionMetrics,
    /// Pushed messages.
    pub deliveries: DeliveryMetrics,
    lag: Family<LagLabel, Gauge>,
    lag_left_out: Gauge,
    /// Held while lag is replaced and while everything is encoded, so that a scrape never sees half a table.
    registry: Mutex<Registry>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything under the prefix `redrive`.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("redrive");
        let traffic = TrafficMetrics::default();
        let logs = LogMetrics::default();
        let dead_letters = DeadLetterMetrics::default();
        let connections = ConnectionMetrics::default();
        let deliveries = DeliveryMetrics::default();
        let lag = Family::default();
        let lag_left_out = Gauge::default();
        register::traffic(&mut registry, &traffic);
        register::logs(&mut registry, &logs);
        register::dead_letters(&mut registry, &dead_letters);
        register::connections(&mut registry, &connections);
        deliveries.register(&mut registry);
        registry.register(
            "consumer_lag",
            "Records from a group's committed offset to the high watermark",
            lag.clone(),
        );
        registry.register(
            "consumer_lag_left_out",
            "Committed offsets whose lag is not exported, for want of room",
            lag_left_out.clone(),
        );
        Self {
            traffic,
            logs,
            dead_letters,
            connections,
            deliveries,
            lag,
            lag_left_out,
            registry: Mutex::new(registry),
        }
    }

    /// Replaces the lag of all groups: series that are not in `lags` are gone from the next scrape. At most
    /// [`LAG_SERIES_MAX`] are kept, the largest lags first.
    pub fn replace_lags(&self, lags: HashMap<LagLabel, u64>) {
        let mut lags: Vec<(LagLabel, u64)> = lags.into_iter().collect();
        let left_out = lags.len().saturating_sub(LAG_SERIES_MAX);
        if left_out > 0 {
            lags.sort_unstable_by_key(|(_, lag)| std::cmp::Reverse(*lag));
            lags.truncate(LAG_SERIES_MAX);
        }
        let registry = self.registry.lock();
        self.lag.clear();
        for (label, lag) in lags {
            self.lag.get_or_create_owned(&label).set(gauge_value(lag));
        }
        self.lag_left_out
            .set(gauge_value(u64::try_from(left_out).unwrap_or(u64::MAX)));
        drop(registry);
    }

    /// Sets how many dead letters there are and what became of the others, all at once: a scrape finds that they add up.
    pub fn set_letters(&self, counts: LetterTotals) {
        let letters = &self.dead_letters;
        let gone = [
            (&letters.republished, counts.republished),
            (&letters.deleted, counts.deleted),
            (&letters.expired, counts.expired),
        ];
        let ever = gone
            .iter()
            .fold(counts.live, |sum, (_, count)| sum.saturating_add(*count));
        let registry = self.registry.lock();
        for (counter, count) in gone {
            counter.inner().store(count, Ordering::Relaxed);
        }
        letters.ever.inner().store(ever, Ordering::Relaxed);
        letters.live.set(gauge_value(counts.live));
        drop(registry);
    }

    /// Returns everything as `OpenMetrics` text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock();
        // Writing to a string cannot fail.
        let _ok = encode(&mut text, &registry);
        text
    }
}

/// Records a duration in a histogram of seconds.
pub fn observe_duration(histogram: &Histogram, duration: Duration) {
    histogram.observe(duration.as_secs_f64());
}

/// Returns a count as a gauge's value, held at the largest one.
pub fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// 10 us to 10.5 s in doublings: from a cached write to a disk that is failing.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 2.0, 21))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn what_was_counted_is_encoded() {
        let metrics = Metrics::new();
        metrics.traffic.produce_records.inc_by(1000);
        metrics.traffic.produce_bytes.inc_by(5);
        metrics.logs.free_bytes.set(77);
        observe_duration(&metrics.logs.sync_seconds, Duration::from_micros(15));
        metrics
            .dead_letters
            .appended
            .get_or_create(&DispositionLabel::new(3))
            .inc();
        metrics.set_letters(LetterTotals {
            live: 4,
            republished: 3,
            deleted: 2,
            expired: 1,
        });
        let text = metrics.encode();
        for line in [
            "redrive_produce_records_total 1000",
            "redrive_produce_bytes_total 5",
            "redrive_disk_free_bytes 77",
            "redrive_sync_seconds_bucket{le=\"0.00002\"} 1",
            "redrive_sync_seconds_count 1",
            "redrive_dead_letters_appended_total{disposition=\"rejected\"} 1",
            "redrive_dead_letters_total 10",
            "redrive_dead_letters_live 4",
            "redrive_dead_letters_republished_total 3",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn lag_is_replaced_as_a_whole_and_bounded() {
        let metrics = Metrics::new();
        let label = |partition| LagLabel {
            group: "g\"\n".to_owned(),
            topic: "t".to_owned(),
            partition,
        };
        metrics.replace_lags(HashMap::from([(label(0), 7), (label(1), u64::MAX)]));
        let text = metrics.encode();
        assert!(
            text.contains("redrive_consumer_lag{group=\"g\\\"\\n\",topic=\"t\",partition=\"0\"} 7"),
            "{text}"
        );
        assert!(
            text.contains(&format!("partition=\"1\"}} {}", i64::MAX)),
            "{text}"
        );

        let count = u32::try_from(LAG_SERIES_MAX).unwrap() + 5;
        metrics.replace_lags((0..count).map(|n| (label(n), u64::from(n))).collect());
        let text = metrics.encode();
        assert_eq!(
            text.matches("redrive_consumer_lag{").count(),
            LAG_SERIES_MAX
        );
        assert!(text.contains("redrive_consumer_lag_left_out 5\n"));
        assert!(
            !text.contains("partition=\"4\"}"),
            "the smallest lags are left out"
        );
    }
}
