//! The places in the code that make something durable or change the order of what is: one name each.
//!
//! A test disk can lie at one of them. The crash suite goes through [`Site::ALL`], lies at each in turn and must see a
//! promise broken; a site that no test misses would be a sync that nobody needs, or a promise that nobody checks.

/// One sync, directory sync, truncation or rename in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// The sync that lets an append be acknowledged.
    Append,
    /// The sync of a full segment before the first write to its successor.
    RollSealed,
    /// The truncation of a full segment to its data when it is sealed.
    RollTruncate,
    /// The sync of a new segment's header.
    SegmentHeader,
    /// The sync of a log's directory after a new segment's name.
    SegmentName,
    /// The sync of the directory that holds a new log's directory.
    LogName,
    /// The sync of what recovery accepts and cuts, before anything is served.
    RecoveryAccepted,
    /// The truncation of a torn tail, or of what a failed write left.
    RecoveryCut,
    /// The sync of the cut of what a failed write left, before the next append.
    RecoveryZeroed,
    /// The sync of the directory before the next segment is removed, and after recovery has finished.
    RecoveryNames,
    /// The sync of a checkpoint slot.
    Checkpoint,
    /// The sync of the directory after a new checkpoint file's name.
    CheckpointName,
    /// The sync of the data directory's own files (lock, format).
    DataDir,
}

impl Site {
    /// Every site, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::Append,
        Self::RollSealed,
        Self::RollTruncate,
        Self::SegmentHeader,
        Self::SegmentName,
        Self::LogName,
        Self::RecoveryAccepted,
        Self::RecoveryCut,
        Self::RecoveryZeroed,
        Self::RecoveryNames,
        Self::Checkpoint,
        Self::CheckpointName,
        Self::DataDir,
    ];
}
