//! Making what was written durable, without the owner.

use std::sync::Arc;

use super::shared::Shared;
use crate::disk::{DiskFile, Site};
use crate::error::{LogError, PoisonCause};
use crate::offset::Offset;

/// A sync of everything that was written when it was begun. Run it on any thread.
#[derive(Debug)]
#[must_use = "nothing is durable until the task is run"]
pub struct SyncTask {
    pub(super) shared: Arc<Shared>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) end: Offset,
}

impl SyncTask {
    /// Syncs, and raises the durable end for all readers. Returns the durable end.
    ///
    /// # Errors
    /// [`LogError::Io`] of the sync, which poisons the log, or [`LogError::Poisoned`] when an earlier one had failed.
    pub fn run(self) -> Result<Offset, LogError> {
        let _one_at_a_time = self.shared.sync_lock.lock();
        if self.shared.durable_end() >= self.end {
            return Ok(self.shared.durable_end());
        }
        // An earlier sync may have failed while this one waited: then the pages may be marked clean, and a sync would lie.
        if self.shared.poison() == Some(PoisonCause::SyncFailed) {
            self.shared.check_poison()?;
        }
        if let Err(source) = self.file.sync(Site::Append) {
            self.shared.set_poison(PoisonCause::SyncFailed);
            let error = LogError::io("sync", &self.shared.place.dir, source);
            self.shared.trouble.note(&error);
            return Err(error);
        }
        self.shared.raise_durable_end(self.end);
        Ok(self.shared.durable_end())
    }
}
