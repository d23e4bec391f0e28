//! What becomes of records, told once for a whole batch: each record holds the batch and its place in it.

use std::sync::{Arc, OnceLock};

use storage::offset::{Offset, TimestampMs};
use tokio::sync::Notify;

use super::super::error::ClientError;
use crate::protocol::produce::Appended;

/// The outcome of a batch, to come or known.
#[derive(Debug, Default)]
pub(super) struct Completion {
    outcome: OnceLock<Result<Appended, ClientError>>,
    settled: Notify,
}

impl Completion {
    /// Tells the outcome. Only the first one counts.
    pub(super) fn settle(&self, outcome: Result<Appended, ClientError>) {
        if self.outcome.set(outcome).is_ok() {
            self.settled.notify_waiters();
        }
    }

    /// Waits for the outcome.
    pub(super) async fn outcome(&self) -> &Result<Appended, ClientError> {
        loop {
            let settled = self.settled.notified();
            // Made before the look: an outcome that is told in between wakes it.
            if let Some(outcome) = self.outcome.get() {
                return outcome;
            }
            settled.await;
        }
    }
}

/// A record that was handed to a producer. Cheap to hold and to drop.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub(super) batch: Arc<Completion>,
    pub(super) partition: u32,
    pub(super) index: u32,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Index of the partition within the topic.
    pub partition: u32,
    /// Offset of the record.
    pub offset: Offset,
    /// When it was appended, by the broker's clock.
    pub append_time: TimestampMs,
}

impl Delivery {
    /// Returns the index of the partition that the record goes to.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Waits until the record is acknowledged.
    ///
    /// # Errors
    /// Why its batch was given up; [`ClientError::is_outcome_unknown`] says whether it may stand in the log all the same.
    pub async fn wait(&self) -> Result<Delivered, ClientError> {
        self.place(self.batch.outcome().await)
    }

    /// Returns what became of the record, `None` while that is open.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<Delivered, ClientError>> {
        Some(self.place(self.batch.outcome.get()?))
    }

    fn place(&self, outcome: &Result<Appended, ClientError>) -> Result<Delivered, ClientError> {
        let appended = outcome.as_ref().map_err(ClientError::clone)?;
        let offset = appended.base_offset.checked_add(u64::from(self.index));
        Ok(Delivered {
            partition: self.partition,
            offset: offset.unwrap_or(appended.base_offset),
            append_time: appended.append_time,
        })
    }
}
