//! Time, passed in: nothing else in the broker asks the machine what time it is.
//!
//! There are two clocks. The wall clock gives records their append time and may jump; the monotonic clock never falls and
//! says only how much time has passed. [`ClockWatch`] compares them: while they disagree by more than a minute, nothing is
//! deleted by age.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use storage::offset::TimestampMs;

use crate::limits::CLOCK_DEPARTURE_MS_MAX;

/// Where the broker gets its time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the wall clock's time.
    fn now(&self) -> TimestampMs;

    /// Returns the time since some fixed moment. It never falls and does not jump.
    fn monotonic(&self) -> Duration;
}

/// A clock that is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks. The monotonic one counts while the machine sleeps as well: the wall clock does.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// Starts the monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: since_boot(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the machine for the time"
    )]
    fn now(&self) -> TimestampMs {
        // A machine whose clock stands before 1970 gets negative times.
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => TimestampMs(millis(since)),
            Err(before) => TimestampMs(millis(before.duration()).saturating_neg()),
        }
    }

    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.start)
    }
}

/// Returns the time since the machine was started.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

/// A clock that stands until somebody moves it.
#[derive(Debug)]
pub struct ManualClock {
    hands: Mutex<(TimestampMs, Duration)>,
}

impl ManualClock {
    /// Sets the wall clock, and the monotonic clock to zero.
    #[must_use]
    pub fn new(now: TimestampMs) -> Self {
        Self {
            hands: Mutex::new((now, Duration::ZERO)),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands.lock();
        hands.0 = hands.0.saturating_add(millis(by));
        hands.1 = hands.1.saturating_add(by);
    }

    /// Lets the wall clock jump; the monotonic clock knows nothing of it.
    pub fn jump_to(&self, now: TimestampMs) {
        self.hands.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimestampMs {
        self.hands.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.hands.lock().1
    }
}

/// Notices when the wall clock departs from the monotonic clock while the broker runs.
///
/// The two are compared with the moment when they last were known to agree, so a slow drift counts as much as a jump. A
/// departure ends by itself when the clocks agree again, or when an operator says that the wall clock is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockWatch {
    agreed_wall: TimestampMs,
    agreed_monotonic: Duration,
}

/// What the comparison of the clocks says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockVerdict {
    /// Ages can be told.
    Agrees,
    /// The wall clock is off: nothing may be deleted by age.
    Departed {
        /// How far the wall clock is ahead of where it should be, in milliseconds; negative when it is behind.
        ahead_ms: i64,
    },
}

impl ClockWatch {
    /// Takes both clocks as they are for right.
    #[must_use]
    pub fn new(clock: &dyn Clock) -> Self {
        Self {
            agreed_wall: clock.now(),
            agreed_monotonic: clock.monotonic(),
        }
    }

    /// Compares a wall time with the monotonic time of the same moment.
    #[must_use]
    pub fn check(&self, wall: TimestampMs, monotonic: Duration) -> ClockVerdict {
        let passed = millis(monotonic.saturating_sub(self.agreed_monotonic));
        let ahead_ms = wall.since(self.agreed_wall).saturating_sub(passed);
        if ahead_ms.saturating_abs() > CLOCK_DEPARTURE_MS_MAX {
            ClockVerdict::Departed { ahead_ms }
        } else {
            ClockVerdict::Agrees
        }
    }

    /// Takes both clocks for right from now on: an operator has looked.
    pub fn confirm(&mut self, wall: TimestampMs, monotonic: Duration) {
        self.agreed_wall = wall;
        self.agreed_monotonic = monotonic;
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TimestampMs = TimestampMs(1_700_000_000_000);

    fn check(watch: &ClockWatch, clock: &ManualClock) -> ClockVerdict {
        watch.check(clock.now(), clock.monotonic())
    }

    #[test]
    fn clocks_that_pass_together_agree() {
        let clock = ManualClock::new(START);
        let watch = ClockWatch::new(&clock);
        clock.advance(Duration::from_hours(24 * 365));
        assert_eq!(check(&watch, &clock), ClockVerdict::Agrees);
    }

    #[test]
    fn a_minute_is_borne_and_more_is_not_in_both_directions() {
        let clock = ManualClock::new(START);
        let watch = ClockWatch::new(&clock);
        for (jump, departed) in [
            (60_000, None),
            (-60_000, None),
            (60_001, Some(60_001)),
            (-60_001, Some(-60_001)),
            (i64::MAX, Some(i64::MAX - START.0)),
        ] {
            clock.jump_to(START.saturating_add(jump));
            let expected = departed.map_or(ClockVerdict::Agrees, |ahead_ms| {
                ClockVerdict::Departed { ahead_ms }
            });
            assert_eq!(check(&watch, &clock), expected, "jump of {jump} ms");
        }
    }

    #[test]
    fn a_departure_ends_when_the_clocks_agree_again_or_an_operator_confirms() {
        let clock = ManualClock::new(START);
        let mut watch = ClockWatch::new(&clock);
        clock.jump_to(START.saturating_add(600_000));
        let departed = ClockVerdict::Departed { ahead_ms: 600_000 };
        assert_eq!(check(&watch, &clock), departed);
        clock.jump_to(START);
        assert_eq!(check(&watch, &clock), ClockVerdict::Agrees);
        clock.jump_to(START.saturating_add(600_000));
        watch.confirm(clock.now(), clock.monotonic());
        assert_eq!(check(&watch, &clock), ClockVerdict::Agrees);
    }

    #[test]
    fn slow_drift_counts_as_much_as_a_jump() {
        let clock = ManualClock::new(START);
        let watch = ClockWatch::new(&clock);
        for _ in 0..61 {
            clock.advance(Duration::from_secs(10));
            clock.jump_to(clock.now().saturating_add(1_000));
        }
        assert_eq!(
            check(&watch, &clock),
            ClockVerdict::Departed { ahead_ms: 61_000 }
        );
    }

    #[test]
    fn the_machines_clock_is_after_2020_and_its_monotonic_clock_does_not_fall() {
        let clock = SystemClock::new();
        assert!(clock.now() > TimestampMs(1_577_836_800_000));
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }
}
