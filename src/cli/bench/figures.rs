//! Figures with their names and units, for measurements that find more than one rate: each with the values of all runs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::error::CliError;
use super::super::output::Output;
use super::report::{Latencies, float};
use super::spread::Spread;

/// What a measurement found, in the order in which it is shown.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<Figure>);

/// One figure of one or several runs.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    values: Spread,
}

impl Figures {
    /// Adds one run's value of a figure.
    pub(super) fn add(&mut self, name: &'static str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.add(value),
            None => self.0.push(Figure {
                name,
                unit,
                values: Spread::of([value]),
            }),
        }
    }

    /// Adds one run's latencies in microseconds; the names are those of p50, p99, p99.9 and the largest, or of the first of these.
    pub(super) fn add_latencies<const N: usize>(
        &mut self,
        names: [&'static str; N],
        latencies: &Latencies,
    ) {
        for (name, quantile) in names.into_iter().zip([0.5, 0.99, 0.999, 1.0]) {
            self.add(name, "us", latencies.us(quantile));
        }
    }

    /// Returns the median of a figure; 0 without one.
    pub(super) fn median(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|figure| figure.name == name);
        found.map_or(0.0, |figure| figure.values.median())
    }

    /// Writes them: as lines, or as an object with an object for each figure.
    pub(super) fn write(
        &self,
        what: &str,
        effective: &Value,
        output: &mut Output,
    ) -> Result<(), CliError> {
        if output.is_json() {
            let figures: Map<String, Value> = self.0.iter().map(Figure::view).collect();
            return output
                .json(&json!({"bench": what, "effective": effective, "figures": figures}));
        }
        output.line(&format!("effective    {effective}"))?;
        for figure in &self.0 {
            output.line(&figure.line())?;
        }
        Ok(())
    }
}

impl Figure {
    fn view(&self) -> (String, Value) {
        let mut view = self.values.view();
        if let Some(view) = view.as_object_mut() {
            view.insert("unit".to_owned(), json!(self.unit));
        }
        (self.name.to_owned(), view)
    }

    fn line(&self) -> String {
        let name = self.name.replace('_', " ");
        let line = format!("{name:<44} {:>14.2} {}", self.values.median(), self.unit);
        if self.values.count() == 1 {
            return line;
        }
        let (min, max) = (self.values.min(), self.values.max());
        let count = self.values.count();
        format!("{line} (min {min:.2}, max {max:.2}, runs {count})")
    }
}

/// Returns how many there were in a second.
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    float(count) / elapsed.as_secs_f64().max(1e-9)
}
