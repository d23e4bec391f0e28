//! Taking over what was known of flow-control keys before a restart, or before they were forgotten here.

use storage::delivery::FlowLimits;
use storage::offset::TimestampMs;

use super::{Gates, Pin};

impl Gates {
    /// Takes over a key that messages had before a restart.
    pub fn know(&mut self, key: &str) {
        self.key_mut(key);
    }

    /// Takes over what was decided about a key before a restart: its period goes on.
    pub fn restore_pin(&mut self, key: &str, pin: &Pin) {
        self.key_mut(key).restore_pin(pin);
    }

    /// Returns whether the limits of a key are still to be learnt: nobody has named them since it was last forgotten here.
    #[must_use]
    pub fn needs_limits(&self, key: &str) -> bool {
        self.keys.get(key).is_none_or(|key| !key.has_learnt())
    }

    /// Takes the limits of a key that the logs know, if they know any.
    pub fn learn(&mut self, key: &str, limits: Option<FlowLimits>) {
        self.key_mut(key).learn(limits);
    }

    /// Takes over attempts that were begun in a period before a restart.
    pub fn restore_period(&mut self, key: &str, start: TimestampMs, count: u32, now: TimestampMs) {
        self.key_mut(key).restore(start, count, now);
    }
}
