//! Figures with their names and units, for measurements that find more than one rate.

use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::output::Output;
use super::report::Latencies;

/// What one measurement found, in the order in which it is shown.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<(&'static str, &'static str, f64)>);

impl Figures {
    /// Adds a figure.
    pub(super) fn add(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.0.push((name, unit, value));
    }

    /// Adds latencies; the names are those of p50, p99, p99.9 and the largest.
    pub(super) fn add_latencies(&mut self, names: [&'static str; 4], latencies: &Latencies) {
        for (name, quantile) in names.into_iter().zip([0.5, 0.99, 0.999, 1.0]) {
            self.add(name, "us", latencies.us(quantile));
        }
    }

    /// Writes them: as lines, or as an object.
    pub(super) fn write(
        &self,
        what: &str,
        effective: &Value,
        output: &mut Output,
    ) -> Result<(), CliError> {
        if output.is_json() {
            let figures = self.0.iter();
            let figures: Map<String, Value> = figures
                .map(|(name, _, value)| ((*name).to_owned(), json!(value)))
                .collect();
            return output
                .json(&json!({"bench": what, "effective": effective, "figures": figures}));
        }
        output.line(&format!("effective    {effective}"))?;
        for (name, unit, value) in &self.0 {
            let name = name.replace('_', " ");
            output.line(&format!("{name:<36} {value:>14.2} {unit}"))?;
        }
        Ok(())
    }
}
