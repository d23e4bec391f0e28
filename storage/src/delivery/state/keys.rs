//! What messages have last said of their flow-control keys: remembered for those who name a key alone, also when every message
//! that has named a limit has come to its end.

use std::collections::HashMap;

use crate::delivery::envelope::FlowControl;
use crate::offset::TimestampMs;

/// Keys whose limits a partition remembers. When there are more, the half of them that was named longest ago is forgotten.
pub(super) const KEYS_MAX: usize = 100_000;

/// The limits of a flow-control key, as a message has named them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowLimits {
    /// Attempts under way at a time; `None` is any number.
    pub parallelism: Option<u32>,
    /// Attempts begun in one period; `None` is any number.
    pub rate: Option<u32>,
    /// Length of a period, in milliseconds; `None` is one second.
    pub period_ms: Option<u64>,
    /// When the main log took the message.
    pub since: TimestampMs,
}

impl FlowLimits {
    /// Returns the limits that a message names; `None` when it names the key alone.
    #[must_use]
    pub fn of(flow: &FlowControl, since: TimestampMs) -> Option<Self> {
        let has_limit = flow.parallelism.is_some() || flow.rate.is_some();
        has_limit.then_some(Self {
            parallelism: flow.parallelism,
            rate: flow.rate,
            period_ms: flow.period_ms,
            since,
        })
    }
}

/// The limits of all keys that are remembered.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(HashMap<String, FlowLimits>);

impl Keys {
    /// Takes in what a message says; the newest one that names a limit counts.
    pub(super) fn note(&mut self, flow: &FlowControl, append_time: TimestampMs) {
        let Some(limits) = FlowLimits::of(flow, append_time) else {
            return;
        };
        if let Some(known) = self.0.get_mut(&flow.key) {
            *known = limits;
            return;
        }
        if self.0.len() >= KEYS_MAX {
            self.forget_half();
        }
        self.0.insert(flow.key.clone(), limits);
    }

    /// Takes over what a snapshot holds.
    pub(super) fn restore(&mut self, key: String, limits: FlowLimits) {
        self.0.insert(key, limits);
    }

    pub(super) fn retain(&mut self, is_needed: impl Fn(&str, &FlowLimits) -> bool) {
        self.0.retain(|key, limits| is_needed(key, limits));
    }

    pub(super) fn get(&self, key: &str) -> Option<FlowLimits> {
        self.0.get(key).copied()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, FlowLimits)> {
        self.0.iter().map(|(key, limits)| (key.as_str(), *limits))
    }

    fn forget_half(&mut self) {
        let mut by_age: Vec<_> = self
            .0
            .iter()
            .map(|(key, limits)| (limits.since, key.clone()))
            .collect();
        // By the key as well: which ones go does not depend on the order in a map.
        by_age.sort_unstable();
        by_age.truncate(by_age.len() / 2);
        for (_, key) in by_age {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn flow(key: &str, rate: Option<u32>) -> FlowControl {
        FlowControl {
            key: key.to_owned(),
            parallelism: None,
            rate,
            period_ms: Some(7),
        }
    }

    #[test]
    fn the_newest_message_that_names_a_limit_counts() {
        let mut keys = Keys::default();
        keys.note(&flow("a", None), TimestampMs(1));
        assert_eq!(keys.iter().count(), 0, "it names none");
        for (rate, time) in [(Some(5), 2), (Some(6), 3), (None, 4)] {
            keys.note(&flow("a", rate), TimestampMs(time));
        }
        let (key, limits) = keys.iter().next().unwrap();
        assert_eq!((key, limits.rate), ("a", Some(6)));
        assert_eq!((limits.since, limits.period_ms), (TimestampMs(3), Some(7)));
    }

    #[test]
    fn the_older_half_goes_when_there_are_too_many() {
        let mut keys = Keys::default();
        for at in 0..=KEYS_MAX {
            let time = TimestampMs(i64::try_from(at / 2).unwrap());
            keys.note(&flow(&format!("k{at:06}"), Some(1)), time);
        }
        let mut left: Vec<_> = keys.iter().map(|(key, _)| key.to_owned()).collect();
        left.sort_unstable();
        assert_eq!(left.len(), KEYS_MAX / 2 + 1);
        assert_eq!(left.first().unwrap(), &format!("k{:06}", KEYS_MAX / 2));
    }
}
