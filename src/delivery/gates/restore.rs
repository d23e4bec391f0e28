//! Taking over what was known of flow-control keys before a restart.

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

    /// Takes over the limits that a message had named before a restart.
    pub fn restore_limits(&mut self, key: &str, limits: FlowLimits) {
        self.key_mut(key).take(&limits);
    }

    /// Takes over attempts that were begun in a period before a restart.
    pub fn restore_period(&mut self, key: &str, start: TimestampMs, count: u32, now: TimestampMs) {
        self.key_mut(key).restore(start, count, now);
    }
}
