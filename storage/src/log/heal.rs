//! Getting over a failed write (a full disk) while the broker runs: cut what the write left behind, and go on.

use std::sync::Arc;

use super::shared::Shared;
use crate::disk::{DiskFile, Site};
use crate::error::{LogError, PoisonCause};
use crate::offset::{FilePosition, Offset};

/// The cut of what a failed write left behind the log's end. Run it on any thread; appends stay refused meanwhile.
#[derive(Debug)]
#[must_use = "the log stays poisoned until the task is run"]
pub struct HealTask {
    pub(super) shared: Arc<Shared>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) segment_base: Offset,
    pub(super) position: FilePosition,
    pub(super) end: Offset,
}

impl HealTask {
    /// Cuts and syncs. On success the log takes appends again, and everything written before is durable.
    ///
    /// # Errors
    /// [`LogError::Io`]. After a failed cut the log can be healed later; after a failed sync only opening it again helps.
    /// [`LogError::Poisoned`] when another heal came first and the log is poisoned anew: that needs a heal of its own.
    pub fn run(self) -> Result<(), LogError> {
        let _one_at_a_time = self.shared.sync_lock.lock();
        // A heal that was begun for an earlier failed write would cut what was written since: what it takes for the end
        // of the log is not the end any more.
        if self.shared.poison() != Some(PoisonCause::WriteFailed) || !self.is_at_the_end() {
            return self.shared.check_poison();
        }
        let path = self.shared.segment_path(self.segment_base);
        self.file
            .set_len(self.position.0, Site::RecoveryCut)
            .map_err(|source| LogError::io("truncate", &path, source))?;
        if let Err(source) = self.file.sync(Site::RecoveryZeroed) {
            self.shared.set_poison(PoisonCause::SyncFailed);
            return Err(LogError::io("sync", &path, source));
        }
        self.shared.raise_durable_end(self.end);
        self.shared.clear_write_poison();
        self.shared.trouble.is_over();
        Ok(())
    }

    /// While a failed write poisons the log, its end and its last segment stay as they are.
    fn is_at_the_end(&self) -> bool {
        let segments = self.shared.segments();
        let active = segments.last().map(|segment| segment.base);
        (self.shared.log_end(), active) == (self.end, Some(self.segment_base))
    }
}
