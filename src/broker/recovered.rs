//! Telling what the recovery of a partition has found and done.

use storage::log_id::LogKind;
use storage::partition::{Partition, PartitionReport};

use crate::metrics::Metrics;

/// Logs and counts what opening a partition came to.
pub(super) fn tell(partition: &Partition, report: &PartitionReport, metrics: &Metrics) {
    let number = partition.number();
    for (kind, report) in [
        (LogKind::Main, &report.main),
        (LogKind::DeadLetter, &report.dead_letters),
        (LogKind::Delivery, &report.delivery),
    ] {
        metrics.logs.recoveries.inc();
        if let Some(cut) = report.cut {
            metrics.logs.truncated_bytes.inc_by(cut.bytes);
            tracing::warn!(partition = number.0, log = %kind, offset = cut.offset.0, bytes = cut.bytes, "cut a torn tail");
        }
        for range in &report.damage {
            tracing::error!(partition = number.0, log = %kind, from = range.from.0, to = range.to.0, file = %range.path.display(), reason = %range.reason, "damaged");
        }
    }
    if let Some(range) = partition.delivery_damage() {
        tracing::error!(partition = number.0, from = range.from.0, to = range.to.0, file = %range.path.display(), reason = %range.reason, "nothing is delivered: the delivery log is damaged");
    }
    if report.dead_count > 0 {
        let count = report.dead_count;
        tracing::info!(partition = number.0, count, "finished interrupted deaths");
    }
    if report.finished_count > 0 {
        tracing::info!(
            partition = number.0,
            count = report.finished_count,
            "finished interrupted republishes"
        );
    }
}
