//! Whether ages can be told by the wall clock.
//!
//! Nothing is deleted by age while the wall clock is more than a minute from where the monotonic clock says it should be, until the
//! two agree again or an operator says that the wall clock is right.

use std::sync::atomic::Ordering;

use storage::offset::TimestampMs;

use super::Broker;
use crate::clock::ClockVerdict;

impl Broker {
    /// Returns the time, and whether ages can be told by it.
    pub(super) fn look_at_clocks(&self) -> (TimestampMs, bool) {
        // Held to the end: what is told is of the newest look.
        let watch = self.clocks.lock();
        let now = self.clock.now();
        let verdict = watch.check(now, self.clock.monotonic());
        let is_right = verdict == ClockVerdict::Agrees;
        let departure_ms = match verdict {
            ClockVerdict::Agrees => 0,
            ClockVerdict::Departed { ahead_ms } => ahead_ms,
        };
        let seconds = departure_ms.div_euclid(1000);
        self.metrics.logs.clock_departure_seconds.set(seconds);
        if is_right == self.is_clock_off.swap(!is_right, Ordering::Relaxed) {
            if is_right {
                tracing::info!("the wall clock is right again; retention by age goes on");
            } else {
                tracing::warn!(
                    departure_ms,
                    "the wall clock has departed from the monotonic clock; retention by age rests until they agree, or `redrive retention confirm-clock`"
                );
            }
        }
        (now, is_right)
    }

    /// Takes the wall clock for right from now on: an operator has looked. Returns how far it was ahead of where it should have
    /// been, in milliseconds, negative when it was behind; 0 when it had not departed.
    pub fn confirm_clock(&self) -> i64 {
        let before = {
            let mut watch = self.clocks.lock();
            let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
            let before = watch.check(now, monotonic);
            watch.confirm(now, monotonic);
            before
        };
        self.look_at_clocks();
        match before {
            ClockVerdict::Agrees => 0,
            ClockVerdict::Departed { ahead_ms } => ahead_ms,
        }
    }
}
