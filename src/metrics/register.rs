//! Names, units and help texts under which the metrics are exported.

use prometheus_client::registry::{Registry, Unit};

use super::{ConnectionMetrics, DeadLetterMetrics, LogMetrics, TrafficMetrics};

pub(super) fn traffic(registry: &mut Registry, metrics: &TrafficMetrics) {
    registry.register(
        "produce_requests",
        "Produce requests answered",
        metrics.produce_requests.clone(),
    );
    registry.register(
        "produce_refusals",
        "Produce requests refused",
        metrics.produce_refusals.clone(),
    );
    registry.register(
        "produce_records",
        "Records appended by produce requests",
        metrics.produce_records.clone(),
    );
    registry.register_with_unit(
        "produce",
        "Batches appended by produce requests",
        Unit::Bytes,
        metrics.produce_bytes.clone(),
    );
    registry.register(
        "fetch_requests",
        "Fetch requests answered",
        metrics.fetch_requests.clone(),
    );
    registry.register_with_unit(
        "fetch",
        "Batches sent to consumers",
        Unit::Bytes,
        metrics.fetch_bytes.clone(),
    );
}

pub(super) fn logs(registry: &mut Registry, metrics: &LogMetrics) {
    registry.register_with_unit(
        "write",
        "Time of a write to a file; its count is the number of writes",
        Unit::Seconds,
        metrics.write_seconds.clone(),
    );
    registry.register_with_unit(
        "sync",
        "Time of a sync; its count is the number of syncs",
        Unit::Seconds,
        metrics.sync_seconds.clone(),
    );
    registry.register(
        "sync_failures",
        "Syncs that failed",
        metrics.sync_failures.clone(),
    );
    registry.register("rolls", "Segments sealed", metrics.rolls.clone());
    registry.register(
        "recoveries",
        "Logs recovered while opening",
        metrics.recoveries.clone(),
    );
    registry.register_with_unit(
        "truncated",
        "Cut from torn tails",
        Unit::Bytes,
        metrics.truncated_bytes.clone(),
    );
    registry.register(
        "poisoned_logs",
        "Logs that take no appends since a write or a sync failed",
        metrics.poisoned_logs.clone(),
    );
    registry.register(
        "damaged_ranges",
        "Ranges of offsets that cannot be read",
        metrics.damaged_ranges.clone(),
    );
    registry.register(
        "retention_segments",
        "Segments deleted by retention",
        metrics.retention_segments.clone(),
    );
    registry.register_with_unit(
        "retention",
        "Deleted by retention",
        Unit::Bytes,
        metrics.retention_bytes.clone(),
    );
    registry.register_with_unit(
        "disk_free",
        "Free on the data directory's file system",
        Unit::Bytes,
        metrics.free_bytes.clone(),
    );
    registry.register_with_unit(
        "clock_departure",
        "How far the wall clock is from where it should be, 0 within a minute; otherwise retention by age rests",
        Unit::Seconds,
        metrics.clock_departure_seconds.clone(),
    );
}

pub(super) fn dead_letters(registry: &mut Registry, metrics: &DeadLetterMetrics) {
    registry.register(
        "dead_letters",
        "Dead letters ever: live, republished, deleted and expired",
        metrics.ever.clone(),
    );
    registry.register(
        "dead_letters_appended",
        "Dead letters appended since the broker started",
        metrics.appended.clone(),
    );
    registry.register(
        "dead_letters_republished",
        "Dead letters republished",
        metrics.republished.clone(),
    );
    registry.register(
        "dead_letters_deleted",
        "Dead letters deleted by a person or a program, alone or with their topic",
        metrics.deleted.clone(),
    );
    registry.register(
        "dead_letters_expired",
        "Dead letters deleted by retention before they were resolved",
        metrics.expired.clone(),
    );
    registry.register(
        "dead_letters_left_out",
        "Dead letters that a retry or a deletion over /v2/dlq could not resolve",
        metrics.left_out.clone(),
    );
    registry.register(
        "dead_letters_live",
        "Dead letters not resolved",
        metrics.live.clone(),
    );
    registry.register_with_unit(
        "dead_letters_oldest_age",
        "Since the oldest live dead letter died, 0 without one",
        Unit::Seconds,
        metrics.oldest_age_seconds.clone(),
    );
    registry.register_with_unit(
        "dead_letters_first_expiry",
        "Until retention may delete the first live dead letter, -1 when it deletes none",
        Unit::Seconds,
        metrics.first_expiry_seconds.clone(),
    );
}

pub(super) fn connections(registry: &mut Registry, metrics: &ConnectionMetrics) {
    registry.register("connections", "Open connections", metrics.open.clone());
    registry.register(
        "connections_accepted",
        "Connections accepted",
        metrics.accepted.clone(),
    );
    registry.register(
        "http_responses",
        "HTTP answers",
        metrics.http_responses.clone(),
    );
}
