//! The broker's clocks: both go with the runtime's simulated time, and the wall clock jumps when it is told to.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redrive::clock::Clock;
use storage::offset::TimestampMs;
use tokio::time::Instant;

/// The clocks of one life.
#[derive(Debug)]
pub(crate) struct SimClock {
    begun: Instant,
    /// The wall clock's time when the life began, with every jump since.
    wall_ms: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(wall_ms: i64) -> Self {
        Self {
            begun: Instant::now(),
            wall_ms: AtomicI64::new(wall_ms),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn jump(&self, by_ms: i64) {
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> TimestampMs {
        let passed = i64::try_from(self.elapsed().as_millis()).unwrap();
        TimestampMs(self.wall_ms.load(Ordering::SeqCst) + passed)
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }
}
