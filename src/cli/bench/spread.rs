//! The values of one figure in several runs: their middle, and how far apart they are.

use serde_json::{Value, json};

/// Values in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    /// Makes one of values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Adds a run's value.
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Returns the values, the first run's first.
    pub(super) fn values(&self) -> &[f64] {
        &self.0
    }

    /// Returns how many runs there were.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the smallest value; 0 without one.
    pub(super) fn min(&self) -> f64 {
        self.at(0)
    }

    /// Returns the value in the middle, of an even number the one behind the middle; 0 without one.
    pub(super) fn median(&self) -> f64 {
        self.at(self.0.len() / 2)
    }

    /// Returns the largest value; 0 without one.
    pub(super) fn max(&self) -> f64 {
        self.at(self.0.len().saturating_sub(1))
    }

    /// Returns it as it stands in JSON.
    pub(super) fn view(&self) -> Value {
        json!({"min": self.min(), "median": self.median(), "max": self.max(), "runs": self.0})
    }

    fn at(&self, index: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_one_of_the_values_whatever_their_order() {
        let spread = Spread::of([5.0, 1.0, 3.0]);
        assert_eq!(
            (spread.min(), spread.median(), spread.max()),
            (1.0, 3.0, 5.0)
        );
        let (even, none) = (Spread::of([2.0, 1.0]), Spread::default());
        assert_eq!((even.median(), none.median()), (2.0, 0.0));
        assert_eq!(
            spread.values(),
            [5.0, 1.0, 3.0],
            "the runs keep their order"
        );
    }
}
