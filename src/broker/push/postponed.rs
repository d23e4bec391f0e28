//! What could not be read, and is not looked at for a while: one damaged place must not hold up what lies behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use storage::offset::Offset;
use tokio::time::Instant;

/// When it is looked at again: its copy may have moved, or its disk have recovered.
const WAIT: Duration = Duration::from_secs(30);

/// Offsets of one log that wait.
#[derive(Debug, Default)]
pub(super) struct Postponed(BTreeMap<Offset, Instant>);

impl Postponed {
    /// Takes note of what could not be read.
    pub(super) fn add(&mut self, at: Offset) {
        self.0.insert(at, Instant::now() + WAIT);
    }

    /// Returns whether it still waits.
    pub(super) fn holds(&self, at: Offset) -> bool {
        self.0.contains_key(&at)
    }

    /// Forgets what has waited long enough.
    pub(super) fn release(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, until| *until > now);
    }
}
