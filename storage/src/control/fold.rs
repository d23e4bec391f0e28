//! The way from the batches of a control log to the state: a fold from the newest complete snapshot.
//!
//! One pass over the log is enough. Entries count from the log's first record or from the end of the first complete
//! snapshot, whichever the log still has, and every later complete snapshot takes the place of what was folded before it.
//! What lies below the newest complete snapshot may be missing or damaged: nothing depends on it any more.

use super::entry::{Entry, EntryError};
use super::log::ControlError;
use super::state::ControlState;
use crate::batch::{BatchHeader, Records, unpack};
use crate::limits::BATCH_BYTES_CEILING;
use crate::offset::Offset;

/// A fold that is under way.
#[derive(Debug)]
pub(crate) struct Fold {
    /// What the entries came to so far; meaningless unless `is_anchored`, but for the parts of a snapshot.
    state: ControlState,
    /// Nothing that the state depends on is missing below.
    is_anchored: bool,
    /// First part of the snapshot that is being read, if one is.
    begun: Option<Offset>,
    pub(crate) snapshot: Option<Snapshot>,
    /// Bytes of the batches behind the newest complete snapshot.
    pub(crate) grown_bytes: u64,
}

/// A complete snapshot in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Offset of its first part.
    pub(crate) start: Offset,
    /// Bytes of the state that it holds.
    pub(crate) bytes: u64,
}

impl Fold {
    /// Begins at the first offset that the log has.
    pub(crate) fn new(log_start: Offset) -> Self {
        Self {
            state: ControlState::default(),
            is_anchored: log_start == Offset::ZERO,
            begun: None,
            snapshot: None,
            grown_bytes: 0,
        }
    }

    /// Notes that records are missing here: nothing counts any more until a complete snapshot has come.
    pub(crate) fn skip_damage(&mut self) {
        *self = Self {
            is_anchored: false,
            ..Self::new(Offset::ZERO)
        };
    }

    /// Returns the state, or `None` when records that it depends on are missing.
    pub(crate) fn finish(mut self) -> Option<ControlState> {
        // The end of a snapshot that was cut short by a crash will never come.
        self.state.partial.clear();
        self.is_anchored.then_some(self.state)
    }

    /// Takes the next batch.
    pub(crate) fn take(&mut self, header: &BatchHeader, body: &[u8]) -> Result<(), ControlError> {
        let unreadable = |delta: u32, source: EntryError| ControlError::Unreadable {
            offset: offset_at(header, delta),
            source,
        };
        let section = unpack(header, body, BATCH_BYTES_CEILING)
            .map_err(|reason| unreadable(0, reason.into()))?;
        self.grown_bytes = self.grown_bytes.saturating_add(u64::from(header.length));
        for record in Records::new(header, &section) {
            let record = record.map_err(|reason| unreadable(0, reason.into()))?;
            let offset = offset_at(header, record.offset_delta);
            match Entry::decode(record.value.unwrap_or_default()) {
                Ok(entry) => self.take_entry(offset, &entry)?,
                Err(source) if self.is_anchored => {
                    return Err(unreadable(record.offset_delta, source));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn take_entry(&mut self, offset: Offset, entry: &Entry) -> Result<(), ControlError> {
        let Entry::Snapshot(part) = entry else {
            self.begun = None;
            if !self.is_anchored {
                return Ok(());
            }
            return self
                .state
                .apply(entry)
                .map_err(|source| ControlError::Contradiction { offset, source });
        };
        if part.index == 0 {
            self.begun = Some(offset);
        }
        let before = part_bytes(self.state.partial.iter());
        match self.state.apply(entry) {
            Ok(()) => {}
            Err(source) if self.is_anchored => {
                return Err(ControlError::Contradiction { offset, source });
            }
            Err(_) => {
                self.state.partial.clear();
                self.begun = None;
            }
        }
        if part.index.checked_add(1) == Some(part.count)
            && let Some(start) = self.begun.take()
        {
            let bytes = before.saturating_add(part_bytes([part]));
            self.snapshot = Some(Snapshot { start, bytes });
            self.is_anchored = true;
            self.grown_bytes = 0;
        }
        Ok(())
    }
}

fn part_bytes<'a>(parts: impl IntoIterator<Item = &'a super::snapshot_part::SnapshotPart>) -> u64 {
    parts
        .into_iter()
        .map(|part| u64::try_from(part.bytes.len()).unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add)
}

fn offset_at(header: &BatchHeader, delta: u32) -> Offset {
    Offset(header.base_offset.0.saturating_add(u64::from(delta)))
}
