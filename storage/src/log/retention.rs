//! Retention: which segments at the head of a log have had their time, and how they go.
//!
//! Whole sealed segments go, oldest first, by age or by bytes, whichever comes first. The order is what keeps readers
//! right: the caller makes the new log start durable in the checkpoint, the map of segments is swapped, then the files are
//! unlinked. An unlink that a crash undoes is done again when the log is opened, because the log start says so.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, Site};
use crate::error::LogError;
use crate::offset::{Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};

/// How long a log keeps what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionPolicy {
    /// Age of a segment's last batch at which the segment goes, in milliseconds; `None` keeps it whatever its age.
    pub retention_ms: Option<i64>,
    /// Largest size of the whole log, in bytes; `None` for any size. The active segment stays all the same.
    pub retention_bytes: Option<u64>,
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentStats {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// First offset behind the segment (exclusive end).
    pub end_offset: Offset,
    /// Bytes of batches and header.
    pub bytes: u64,
    /// Append time of the first batch.
    pub first_append_time: TimestampMs,
    /// Append time of the last batch.
    pub last_append_time: TimestampMs,
    /// Whether it takes no more batches.
    pub is_sealed: bool,
}

/// Returns how many segments at the head have had their time. None that ends above `ceiling` is counted.
#[must_use]
pub fn expired(
    segments: &[SegmentStats],
    policy: &RetentionPolicy,
    ceiling: Offset,
    now: TimestampMs,
) -> usize {
    let mut bytes = segments
        .iter()
        .fold(0u64, |sum, segment| sum.saturating_add(segment.bytes));
    let mut count = 0;
    for segment in segments {
        let is_old = policy
            .retention_ms
            .is_some_and(|ms| now.since(segment.last_append_time) > ms);
        let is_too_much = policy.retention_bytes.is_some_and(|max| bytes > max);
        if !segment.is_sealed || segment.end_offset > ceiling || !(is_old || is_too_much) {
            break;
        }
        bytes = bytes.saturating_sub(segment.bytes);
        count += 1;
    }
    count
}

/// The files of segments that have left the map. They go when the task is run.
#[derive(Debug)]
#[must_use = "the files stay until the task is run"]
pub struct Unlink {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) bases: Vec<Offset>,
}

impl Unlink {
    /// Returns how many segments go.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.bases.len()
    }

    /// Removes the files, oldest segment first. What a crash leaves has no hole: older segments are gone durably before newer ones go.
    ///
    /// # Errors
    /// [`LogError::Io`]. What is left goes when the log is opened next.
    pub fn run(self) -> Result<(), LogError> {
        self.bases
            .iter()
            .try_for_each(|base| remove_segment(self.disk.as_ref(), &self.dir, *base))
    }
}

/// Removes a segment and its hints. What is already gone is no error.
///
/// The removal of older segments is made durable first, whoever began it. So what a crash leaves is always a log without its
/// oldest segments: no damage, and no letter without its marker, even when the checkpoint with the log start is lost. The
/// last removal needs no sync: the durable log start rules the segment out.
pub(super) fn remove_segment(
    disk: &dyn Disk,
    dir: &std::path::Path,
    base: Offset,
) -> Result<(), LogError> {
    disk.sync_dir(dir, Site::RecoveryNames)
        .map_err(|source| LogError::io("sync", dir, source))?;
    for kind in FileKind::ALL {
        let path = file_name::path(dir, base, kind);
        match disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(count: u64, bytes: u64) -> Vec<SegmentStats> {
        let segment = |at: u64| SegmentStats {
            base_offset: Offset(at * 10),
            end_offset: Offset(at * 10 + 10),
            bytes,
            first_append_time: TimestampMs(i64::try_from(at).unwrap() * 1000),
            last_append_time: TimestampMs(i64::try_from(at).unwrap() * 1000 + 999),
            is_sealed: at + 1 < count,
        };
        (0..count).map(segment).collect()
    }

    const END: Offset = Offset(u64::MAX);
    const LATE: TimestampMs = TimestampMs(1_000_000_000);

    #[test]
    fn the_active_segment_stays() {
        let policy = RetentionPolicy {
            retention_ms: Some(0),
            retention_bytes: Some(0),
        };
        assert_eq!(expired(&segments(5, 100), &policy, END, LATE), 4);
    }

    #[test]
    fn bytes_are_a_ceiling() {
        for max in 0..=600 {
            let policy = RetentionPolicy {
                retention_ms: None,
                retention_bytes: Some(max),
            };
            let gone = expired(&segments(5, 100), &policy, END, LATE) as u64;
            assert!((5 - gone) * 100 <= max.max(100), "{max}: {gone}");
            assert!(
                gone == 0 || (6 - gone) * 100 > max,
                "{max}: {gone} is more than needed"
            );
        }
    }

    #[test]
    fn age_counts_from_the_last_batch() {
        let policy = RetentionPolicy {
            retention_ms: Some(500),
            retention_bytes: None,
        };
        assert_eq!(
            expired(&segments(5, 100), &policy, END, TimestampMs(1499)),
            0
        );
        assert_eq!(
            expired(&segments(5, 100), &policy, END, TimestampMs(1500)),
            1
        );
        assert_eq!(
            expired(&segments(5, 100), &policy, END, TimestampMs(2500)),
            2
        );
    }

    #[test]
    fn nothing_above_the_ceiling_goes() {
        let policy = RetentionPolicy {
            retention_ms: Some(0),
            retention_bytes: None,
        };
        assert_eq!(expired(&segments(5, 100), &policy, Offset(29), LATE), 2);
        assert_eq!(expired(&segments(5, 100), &policy, Offset(30), LATE), 3);
    }
}
