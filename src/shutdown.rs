//! The one cancellation token, handed down from where the broker runs to every task that it starts.
//!
//! It is triggered once and never taken back. A task that waits for it stops accepting and finishes what it accepted.

use tokio::sync::watch;

/// The token. Clones are the same token.
#[derive(Debug, Clone)]
pub struct Shutdown {
    state: watch::Sender<bool>,
}

impl Shutdown {
    /// Makes a token that has not been triggered.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: watch::Sender::new(false),
        }
    }

    /// Triggers it, for all clones.
    pub fn trigger(&self) {
        self.state.send_replace(true);
    }

    /// Returns whether it has been triggered.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.state.borrow()
    }

    /// Waits until it is triggered; returns at once when it has been. Dropping the future loses nothing.
    pub async fn wait(&self) {
        let mut state = self.state.subscribe();
        // The sender cannot be gone: `self` holds it.
        let _ended = state.wait_for(|is_triggered| *is_triggered).await.is_ok();
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_waiter_wakes_and_late_ones_do_not_wait() {
        let shutdown = Shutdown::new();
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let shutdown = shutdown.clone();
                tokio::spawn(async move { shutdown.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(!shutdown.is_triggered());
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        shutdown.clone().trigger();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert!(shutdown.is_triggered());
        shutdown.wait().await;
        shutdown.trigger();
        assert!(shutdown.is_triggered());
    }
}
