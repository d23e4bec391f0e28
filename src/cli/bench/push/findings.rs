//! What several runs found, as medians.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::super::error::CliError;
use super::super::super::output::Output;
use super::super::report::Latencies;

/// One figure of several runs.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    values: Vec<f64>,
}

/// The figures of a measurement, in the order in which they are shown.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Figure>);

impl Findings {
    /// Adds one run's value of a figure.
    pub(super) fn add(&mut self, name: &'static str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure {
                name,
                unit,
                values: vec![value],
            }),
        }
    }

    /// Adds one run's latencies; the names are those of p50, p99 and p99.9.
    pub(super) fn add_latencies(&mut self, names: [&'static str; 3], latencies: &Latencies) {
        for (name, quantile) in names.into_iter().zip([0.5, 0.99, 0.999]) {
            self.add(name, "ms", latencies.us(quantile) / 1000.0);
        }
    }

    /// Returns the median of a figure; 0 without one.
    pub(super) fn median(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|figure| figure.name == name);
        found.map_or(0.0, |figure| figure.sorted().1)
    }

    /// Writes the figures: as a table, or as an object with an object for each figure.
    pub(super) fn write(
        &self,
        what: &str,
        load: &Value,
        output: &mut Output,
    ) -> Result<(), CliError> {
        if output.is_json() {
            let figures: serde_json::Map<_, _> = self
                .0
                .iter()
                .map(|figure| (figure.name.to_owned(), figure.view()))
                .collect();
            return output.json(&json!({"bench": what, "load": load, "figures": figures}));
        }
        output.line(&format!("load  {load}"))?;
        for figure in &self.0 {
            let (min, median, max) = figure.sorted();
            output.line(&format!(
                "{:<44} {median:>10.2} {:<6} (min {min:.2}, max {max:.2}, runs {})",
                figure.name.replace('_', " "),
                figure.unit,
                figure.values.len()
            ))?;
        }
        Ok(())
    }
}

impl Figure {
    /// Returns the least, the middle and the greatest value.
    fn sorted(&self) -> (f64, f64, f64) {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        (
            at(0),
            at(values.len() / 2),
            at(values.len().saturating_sub(1)),
        )
    }

    fn view(&self) -> Value {
        let (min, median, max) = self.sorted();
        json!({"unit": self.unit, "min": min, "median": median, "max": max, "runs": self.values})
    }
}

/// Returns how many there were in a second.
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    float(count) / elapsed.as_secs_f64().max(1e-9)
}

/// Returns a count as a float; above 2^53 the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
