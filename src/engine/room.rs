//! Appending with rolls where they are needed, for those who append to a partition by themselves.

use std::sync::Arc;

use storage::error::LogError;
use storage::log::LogReader;
use storage::log_id::LogKind;
use storage::offset::TimestampMs;
use storage::partition::Partition;

use super::PartitionHandle;

impl PartitionHandle {
    /// Calls `append` under the owner's lock with the time, and again behind a roll of the log of this kind as often as it asks
    /// for one. The caller then schedules the sync that it needs.
    ///
    /// # Errors
    /// Those of `append`, and of the roll.
    pub async fn with_room<T>(
        self: &Arc<Self>,
        kind: LogKind,
        now: &(dyn Fn() -> TimestampMs + Sync),
        mut append: impl FnMut(&mut Partition, TimestampMs) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let time = now();
            let appended = append(&mut self.owner().lock(), time);
            match appended {
                Err(LogError::Rolling { .. }) => self.roll_of(kind, time).await?,
                appended => return appended,
            }
        }
    }

    /// Returns the reader of the delivery log; `None` before its first entry.
    #[must_use]
    pub fn delivery_reader(&self) -> Option<LogReader> {
        let owner = self.owner().lock();
        let log = owner.delivery_log()?.log()?;
        Some(log.reader())
    }
}
