//! Repeating what failed for a reason that may pass.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, random};
use super::error::ClientError;

/// Counts the attempts at one thing and pauses between them, until its time is over.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    deadline: Option<Instant>,
    failed: u32,
}

impl Retry {
    /// Begins with the first attempt; a time too far to be represented never ends.
    pub(super) fn new(backoff: Backoff, retry_for: Duration) -> Self {
        Self {
            backoff,
            deadline: Instant::now().checked_add(retry_for),
            failed: 0,
        }
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The error of the attempt when another one is no use; [`ClientError::GaveUp`] when the time is over.
    pub(super) async fn pause(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retryable() {
            return Err(error);
        }
        self.failed = self.failed.saturating_add(1);
        let pause = self.backoff.pause(self.failed, random());
        let next = Instant::now() + pause;
        if self.deadline.is_some_and(|deadline| next > deadline) {
            return Err(ClientError::GaveUp {
                attempts: self.failed,
                source: Box::new(error),
            });
        }
        tokio::time::sleep_until(next).await;
        Ok(())
    }
}
