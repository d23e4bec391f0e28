//! What a main log has written and not synced, and when a log that nobody waits for is synced all the same.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{WRITTEN_UNSYNCED_BYTES_MAX, WRITTEN_UNSYNCED_BYTES_MIN};

/// Bytes of one log. It is told of each append, and of each sync on the pool before it begins; not of a roll, behind which it
/// may stand too high, and a sync come too early.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    bytes: AtomicU64,
    /// Bytes that the active segment still takes.
    segment_room: AtomicU64,
}

impl Unsynced {
    /// Notes an append.
    pub(super) fn add(&self, bytes: u64, segment_room: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.segment_room.store(segment_room, Ordering::Relaxed);
    }

    /// Notes that a sync of everything begins.
    pub(super) fn clear(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Returns the bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether they are so many that a sync is due though nobody waits for it.
    pub(super) fn is_due(&self) -> bool {
        self.bytes() >= due_from(self.segment_room.load(Ordering::Relaxed))
    }
}

/// Returns from how many bytes on a sync is due. The nearer a segment is to its end, the fewer they are: its successor takes nothing
/// before all of it is synced, and every producer waits for that.
fn due_from(segment_room: u64) -> u64 {
    (segment_room / 4).clamp(WRITTEN_UNSYNCED_BYTES_MIN, WRITTEN_UNSYNCED_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_left_unsynced_towards_the_end_of_a_segment() {
        assert_eq!(due_from(128 << 20), WRITTEN_UNSYNCED_BYTES_MAX);
        assert_eq!(due_from(32 << 20), 8 << 20);
        assert_eq!(due_from(0), WRITTEN_UNSYNCED_BYTES_MIN);
    }

    #[test]
    fn what_a_sync_takes_up_is_not_due_again() {
        let unsynced = Unsynced::default();
        unsynced.add(WRITTEN_UNSYNCED_BYTES_MIN, 0);
        assert!(unsynced.is_due());
        unsynced.clear();
        assert!(!unsynced.is_due());
        unsynced.add(WRITTEN_UNSYNCED_BYTES_MIN, 128 << 20);
        assert!(!unsynced.is_due(), "the segment has room");
        unsynced.add(WRITTEN_UNSYNCED_BYTES_MAX, 128 << 20);
        assert!(unsynced.is_due());
    }
}
