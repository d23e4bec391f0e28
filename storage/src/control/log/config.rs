//! The sizes of a control log.

use crate::limits::{CONTROL_SEGMENT_BYTES, CONTROL_SNAPSHOT_BYTES};

/// How a control log behaves. The defaults are right for a broker; tests make segments and snapshots small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlConfig {
    /// Size at which a segment is full, in bytes.
    pub segment_bytes: u32,
    /// Growth since the last snapshot at which the next one is due, in bytes. A snapshot larger than this is followed by
    /// at least its own size, so that snapshots never are the greater part of what is written.
    pub snapshot_bytes: u64,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            segment_bytes: CONTROL_SEGMENT_BYTES,
            snapshot_bytes: CONTROL_SNAPSHOT_BYTES,
        }
    }
}
