//! See the crate's documentation.

use std::path::{Path, PathBuf};

use crate::log_id::{LogId, LogKind};

/// Returns the directory of a log below the data directory.
#[must_use]
pub fn log_dir(root: &Path, id: LogId) -> PathBuf {
    match id.kind {
        LogKind::Control => root.join(id.kind.name()),
        LogKind::Main | LogKind::DeadLetter | LogKind::Delivery => root
            .join(format!("{:010}", id.partition.0))
            .join(id.kind.name()),
    }
}
