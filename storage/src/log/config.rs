//! Where a log stands and how it behaves. The values are validated by whoever reads the broker's configuration.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::LogError;
use crate::limits;
use crate::log_id::LogId;
use crate::offset::Offset;

/// When readers see a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// When it is durable. What was served survives any crash.
    Synced,
    /// When it is written. What was served survives a crash of the process, not of the machine.
    Written,
}

/// Offsets that an operator has given up: recovery and readers pass over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First offset given up.
    pub from: Offset,
    /// First offset behind the gap (exclusive end).
    pub to: Offset,
}

/// How a log behaves.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Size at which a segment is full, in bytes; one batch that is larger gets a segment of its own.
    pub segment_bytes: u32,
    /// Age of its first batch at which a segment is full, in milliseconds.
    pub segment_ms: i64,
    /// Largest batch, in bytes.
    pub batch_bytes_max: u32,
    /// When readers see a batch.
    pub visibility: Visibility,
    /// What an operator has given up, in order and apart.
    pub gaps: Vec<Gap>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            segment_ms: 24 * 3600 * 1000,
            batch_bytes_max: limits::BATCH_BYTES_DEFAULT,
            visibility: Visibility::Synced,
            gaps: Vec::new(),
        }
    }
}

/// Where a log stands.
#[derive(Debug, Clone)]
pub struct LogPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The data directory, which exists; what lies between it and `dir` is created where it is missing.
    pub root: PathBuf,
    /// The log's own directory, below `root`.
    pub dir: PathBuf,
    /// The log.
    pub id: LogId,
}

impl LogPlace {
    /// Returns whether the log has a directory.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn exists(&self) -> Result<bool, LogError> {
        match self.disk.list(&self.dir) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(LogError::io("list", &self.dir, source)),
        }
    }
}
