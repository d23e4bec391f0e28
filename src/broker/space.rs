//! Free space: producers and publishers wait while there is less than the minimum, and what the system has refused is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage::reserve::Reserve;

use super::Broker;
use crate::metrics::gauge_value;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// How long it is told that an append found no space when nothing has shown that there is some again: longer than a producer
/// waits before it asks again.
const TOLD_FOR: Duration = Duration::from_secs(30);

/// What is known of the space on the disk.
#[derive(Debug)]
pub(super) struct Space {
    /// Free bytes below which producers are asked to wait.
    reserve: Arc<Reserve>,
    /// There are fewer.
    is_low: AtomicBool,
    /// The last append that the system had no space for: when, and what was said.
    refused: Mutex<Option<(Duration, String)>>,
}

impl Space {
    pub(super) fn new(reserve: Arc<Reserve>) -> Self {
        Self {
            reserve,
            is_low: AtomicBool::new(false),
            refused: Mutex::new(None),
        }
    }

    /// Returns what producers and publishers leave free.
    pub(super) fn reserve(&self) -> Arc<Reserve> {
        Arc::clone(&self.reserve)
    }

    /// Says whether producers and publishers may go on.
    ///
    /// # Errors
    /// [`ErrorCode::StorageFull`].
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.is_low.load(Ordering::Relaxed) {
            let message = format!(
                "fewer than {} bytes are free on the disk",
                self.reserve.bytes()
            );
            return Err(Refusal::new(ErrorCode::StorageFull, message));
        }
        Ok(())
    }

    /// Returns what is wrong. `now` is the monotonic time.
    pub(super) fn problem(&self, now: Duration) -> Option<String> {
        if self.is_low.load(Ordering::Relaxed) {
            return Some(format!(
                "fewer than {} bytes are free on the disk: produce and publish are refused",
                self.reserve.bytes()
            ));
        }
        let refused = self.refused.lock();
        let (at, said) = refused.as_ref()?;
        (now.saturating_sub(*at) < TOLD_FOR)
            .then(|| format!("appends are refused for want of space: {said}"))
    }
}

impl Broker {
    /// Measures the free space, and asks producers to wait or lets them go on.
    pub(super) fn measure_space(&self) {
        let Ok(free) = self.space.reserve.measure() else {
            return;
        };
        self.metrics.logs.free_bytes.set(gauge_value(free));
        if !self.space.reserve.is_lacking() {
            *self.space.refused.lock() = None;
        }
        let min = self.space.reserve.bytes();
        let is_low = free < min;
        if is_low != self.space.is_low.swap(is_low, Ordering::Relaxed) {
            if is_low {
                tracing::warn!(
                    free,
                    min,
                    "the disk is nearly full: produce is refused until space is freed"
                );
            } else {
                tracing::info!(free, "there is space again: produce goes on");
            }
        }
    }

    /// Notes an append that was refused, if it was for want of space.
    pub(super) fn note_refusal(&self, refusal: &Refusal) {
        if refusal.code == ErrorCode::StorageFull {
            self.space.reserve.note_lack();
            let now = self.clock.monotonic();
            *self.space.refused.lock() = Some((now, refusal.message.clone()));
        }
    }
}
