//! What a measurement found.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::output::Output;
use super::LoadArgs;

/// Latencies above this count as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Latencies of batches.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Result<Self, CliError> {
        let histogram = Histogram::new_with_max(LATENCY_NS_MAX, 3)
            .map_err(|error| CliError::failed(format!("no histogram: {error}"), None))?;
        Ok(Self(histogram))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(ns);
    }

    /// Takes over what another has recorded.
    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so that everything has its place.
        self.0.add(&other.0).ok();
    }

    /// Returns a quantile in microseconds.
    pub(super) fn us(&self, quantile: f64) -> f64 {
        let ns = u32::try_from(self.0.value_at_quantile(quantile)).map_or(f64::MAX, f64::from);
        if ns < f64::MAX {
            return ns / 1000.0;
        }
        let us = self.0.value_at_quantile(quantile) / 1000;
        u32::try_from(us).map_or(f64::MAX, f64::from)
    }
}

/// What a measurement found.
#[derive(Debug)]
pub(super) struct Report {
    /// The command, as in "produce".
    pub what: &'static str,
    /// What a latency is of.
    pub latency_of: &'static str,
    pub elapsed: Duration,
    pub latencies: Latencies,
    /// The settings that were in force, as the broker says.
    pub effective: Value,
}

impl Report {
    pub(super) fn write(&self, load: &LoadArgs, output: &mut Output) -> Result<(), CliError> {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let bytes = load.records.saturating_mul(u64::from(load.size));
        let records_per_second = float(load.records) / seconds;
        let bytes_per_second = float(bytes) / seconds;
        let [p50, p99, p999, max] =
            [0.5, 0.99, 0.999, 1.0].map(|quantile| self.latencies.us(quantile));
        if output.is_json() {
            return output.json(&json!({
                "bench": self.what,
                "records": load.records,
                "record_bytes": load.size,
                "batch_records": load.batch,
                "connections": load.connections,
                "seconds": seconds,
                "records_per_second": records_per_second.round(),
                "bytes_per_second": bytes_per_second.round(),
                "p50_us": p50,
                "p99_us": p99,
                "p999_us": p999,
                "max_us": max,
                "effective": self.effective,
            }));
        }
        output.line(&format!("effective    {}", self.effective))?;
        output.line(&format!("records/s    {records_per_second:.0}"))?;
        output.line(&format!("MB/s         {:.1}", bytes_per_second / 1e6))?;
        output.line(&format!(
            "{}: p50 {p50:.1} us, p99 {p99:.1} us, p999 {p999:.1} us, max {max:.1} us",
            self.latency_of
        ))
    }
}

/// Returns a count as a float; above 2^53 the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
