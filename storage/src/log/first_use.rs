//! Logs that come into being with their first entry: what a failed sync means for one that does not exist yet.
//!
//! Creating a log syncs the names of its directories. When one of these syncs fails, a later one may report success for a name
//! that never reached the disk: so the log is not tried again before the next start, which finds out what is there.

use crate::error::{LogError, PoisonCause};
use crate::log_id::LogId;

/// Whether a log may still be created.
#[derive(Debug, Default)]
pub(crate) struct FirstUse {
    has_sync_failed: bool,
}

impl FirstUse {
    /// Creates the log of `id` by `open`.
    ///
    /// # Errors
    /// That of `open`; [`LogError::Poisoned`] after one whose sync had failed.
    pub(crate) fn create<T>(
        &mut self,
        id: LogId,
        open: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        if self.has_sync_failed {
            let cause = PoisonCause::SyncFailed;
            return Err(LogError::Poisoned { log: id, cause });
        }
        let opened = open();
        self.has_sync_failed = matches!(opened, Err(LogError::Io { op: "sync", .. }));
        opened
    }
}
