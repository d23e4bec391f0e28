//! Snapshots of the state in the delivery log: writing them in parts, and when the next one is due.
//!
//! # Invariants
//! 1. The first part begins a segment and stands where the log ended when the state was encoded. Other entries may stand
//!    between the parts: they are applied to the state of the snapshot, as those behind it are.
//! 2. A snapshot counts from the moment its last part is durable; until then the one before it does.

use super::entry::SnapshotPart;
use super::limits::{
    SNAPSHOT_DELIVERY_BYTES, SNAPSHOT_MAIN_BYTES, SNAPSHOT_PART_BYTES_MAX, SNAPSHOT_PAUSE_FACTOR,
};
use super::state::DeliveryState;
use crate::checksum::crc32;
use crate::offset::Offset;

/// A complete snapshot in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Offset of its first part: the entries from here on make the state, with the main log from `admitted_up_to` on.
    pub start: Offset,
    /// First offset behind its last part (exclusive end).
    pub end: Offset,
    /// First offset of the main log that its state has not admitted.
    pub admitted_up_to: Offset,
    /// Bytes of the state.
    pub bytes: u64,
}

/// How far a snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotStep {
    /// There are more parts to append.
    More,
    /// All parts are written. The snapshot counts when the delivery log's durable end has reached `end`.
    Written {
        /// First offset behind the last part.
        end: Offset,
    },
}

/// A snapshot of which not all parts are written.
#[derive(Debug)]
pub(super) struct Writing {
    bytes: Vec<u8>,
    part_bytes: usize,
    state_crc: u32,
    count: u32,
    /// The part that is written next.
    pub(super) index: u32,
    start: Offset,
    admitted_up_to: Offset,
    /// What the logs had grown when it was begun.
    grown: (u64, u64),
}

/// The snapshots of a delivery log, and what was written since the newest one.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    newest: Option<Snapshot>,
    /// The one that counts until the newest one is durable.
    before: Option<Snapshot>,
    pub(super) writing: Option<Writing>,
    delivery_bytes: u64,
    main_bytes: u64,
    /// Bytes of copies since the newest snapshot.
    copied_bytes: u64,
    /// What the newest snapshot and its copies took.
    cost: u64,
}

impl Snapshots {
    /// Begins with what opening has found.
    pub(super) fn found(newest: Option<Snapshot>, delivery_bytes: u64, main_bytes: u64) -> Self {
        Self {
            newest,
            cost: newest.map_or(0, |snapshot| snapshot.bytes),
            delivery_bytes,
            main_bytes,
            ..Self::default()
        }
    }

    /// Returns the newest snapshot that survives a crash.
    pub(super) fn durable(&self, durable_end: Offset) -> Option<Snapshot> {
        self.newest
            .filter(|newest| newest.end <= durable_end)
            .or(self.before)
    }

    pub(super) fn note_delivery(&mut self, bytes: u64) {
        self.delivery_bytes = self.delivery_bytes.saturating_add(bytes);
    }

    pub(super) fn note_main(&mut self, bytes: u64) {
        self.main_bytes = self.main_bytes.saturating_add(bytes);
    }

    pub(super) fn note_copies(&mut self, bytes: u64) {
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
    }

    /// Returns whether the logs have grown so much that reading them would take too long.
    pub(super) fn is_due(&self) -> bool {
        let pause = self.cost.saturating_mul(SNAPSHOT_PAUSE_FACTOR);
        self.delivery_bytes >= SNAPSHOT_DELIVERY_BYTES.max(pause)
            || self.main_bytes >= SNAPSHOT_MAIN_BYTES.max(pause)
    }

    /// Begins a snapshot of the state as it is, at the end of the log.
    ///
    /// A part takes at most a quarter of a segment of `segment_bytes`.
    pub(super) fn begin(
        &self,
        state: &DeliveryState,
        start: Offset,
        segment_bytes: u32,
    ) -> Writing {
        let bytes = state.encode();
        let part_bytes = SNAPSHOT_PART_BYTES_MAX.min(segment_bytes / 4).max(1);
        let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
        let parts = bytes.len().div_ceil(part_bytes);
        Writing {
            state_crc: crc32(&bytes),
            count: u32::try_from(parts).unwrap_or(u32::MAX),
            bytes,
            part_bytes,
            index: 0,
            start,
            admitted_up_to: state.admitted_up_to(),
            grown: (self.delivery_bytes, self.main_bytes),
        }
    }

    /// Takes note that the last part of a snapshot is written, up to `end`.
    pub(super) fn complete(&mut self, writing: &Writing, end: Offset, durable_end: Offset) {
        self.before = self.durable(durable_end);
        let bytes = u64::try_from(writing.bytes.len()).unwrap_or(u64::MAX);
        self.newest = Some(Snapshot {
            start: writing.start,
            end,
            admitted_up_to: writing.admitted_up_to,
            bytes,
        });
        let (delivery, main) = writing.grown;
        self.delivery_bytes = self.delivery_bytes.saturating_sub(delivery);
        self.main_bytes = self.main_bytes.saturating_sub(main);
        self.cost = bytes.saturating_add(std::mem::take(&mut self.copied_bytes));
    }
}

impl Writing {
    /// Returns the part that is written next; `None` behind the last one.
    pub(super) fn part(&self) -> Option<SnapshotPart> {
        if self.index >= self.count {
            return None;
        }
        let from = usize::try_from(self.index)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.part_bytes);
        let to = from.saturating_add(self.part_bytes).min(self.bytes.len());
        Some(SnapshotPart {
            index: self.index,
            count: self.count,
            state_crc: self.state_crc,
            bytes: self.bytes.get(from..to).unwrap_or_default().to_vec(),
        })
    }
}
