//! Finding the batch that holds an offset: through the map of segments, the sparse index, and over damage and gaps.

use std::sync::Arc;

use super::reader::{LogReader, ReadBound};
use super::shared::{DamagedRange, Segment};
use crate::batch::header::BatchHeader;
use crate::disk::DiskFile;
use crate::error::{Corruption, LogError};
use crate::log_id::LogId;
use crate::offset::{FilePosition, Offset};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, Step, Walker, examine_tail};

/// A batch that was found in a segment.
pub(super) struct Found {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: BatchHeader,
    pub(super) position: FilePosition,
}

impl LogReader {
    /// Finds the batch that holds `from`, or follows it behind a gap; `None` at the bound.
    pub(super) fn find(
        &self,
        from: Offset,
        bound: ReadBound,
    ) -> Result<Option<(Arc<Segment>, Found)>, LogError> {
        match self.find_in_map(from, bound) {
            // Retention may have moved the log start and unlinked the file while we looked: then that is the answer.
            Err(LogError::Io { .. }) if from < self.log_start() => {
                Err(self.out_of_range(from, bound))
            }
            found => found,
        }
    }

    fn find_in_map(
        &self,
        from: Offset,
        bound: ReadBound,
    ) -> Result<Option<(Arc<Segment>, Found)>, LogError> {
        let end = self.end(bound);
        if from < self.log_start() || from > end {
            return Err(self.out_of_range(from, bound));
        }
        let from = self.shared.gap_end(from).unwrap_or(from);
        if from >= end {
            return Ok(None);
        }
        let segments = self.shared.segments();
        let at = segments.partition_point(|segment| segment.base <= from);
        let holder = at.checked_sub(1).and_then(|at| segments.get(at));
        let following = segments.get(at);
        let Some(segment) = holder.filter(|s| following.is_none() || from < s.extent().end_offset)
        else {
            if from < self.log_start() {
                return Err(self.out_of_range(from, bound));
            }
            return Err(self
                .missing(from, following.map_or(end, |segment| segment.base))
                .into());
        };
        Ok(Some((Arc::clone(segment), self.find_in(segment, from)?)))
    }

    fn find_in(&self, segment: &Arc<Segment>, from: Offset) -> Result<Found, LogError> {
        let file = self.shared.file(segment.base)?;
        let delta = from.since(segment.base).unwrap_or(0);
        let (entry, extent) = segment.with(|state| (state.index.at_or_before(delta), state.extent));
        let (position, next_offset) =
            entry.map_or((SEGMENT_HEADER_BYTES_U64, segment.base), |entry| {
                let offset = segment.base.0.saturating_add(u64::from(entry.offset_delta));
                (u64::from(entry.position), Offset(offset))
            });
        let mut at = (FilePosition(position), next_offset);
        loop {
            let chain = Chain::unanchored(self.id(), at.1);
            let mut walker = Walker::new(file.as_ref(), at.0, extent.end, chain, extent.end);
            let reason = loop {
                let step = walker.step().map_err(|source| {
                    LogError::io("read", &self.shared.segment_path(segment.base), source)
                })?;
                match step {
                    Step::Batch { header, position } if header.next_offset() > from => {
                        return Ok(Found {
                            file,
                            header,
                            position,
                        });
                    }
                    Step::Batch { .. } => {}
                    Step::Bad(reason) => break reason,
                    Step::End => break Corruption::MissingSegment,
                }
            };
            let bad = (walker.position(), walker.chain().next_offset);
            let (range, behind) = self.damage_at(segment, file.as_ref(), bad, reason)?;
            // What is asked for may lie behind the damage: go on from the next sound batch.
            match behind {
                Some(position) if range.to <= from || self.is_given_up(&range) => {
                    at = (position, range.to);
                }
                _ => return Err(range.into()),
            }
        }
    }

    /// Notes the damage at a place, and finds where the next sound batch stands.
    pub(super) fn damage_at(
        &self,
        segment: &Segment,
        file: &dyn DiskFile,
        (position, from): (FilePosition, Offset),
        reason: Corruption,
    ) -> Result<(DamagedRange, Option<FilePosition>), LogError> {
        let path = self.shared.segment_path(segment.base);
        let extent = segment.extent();
        let chain = Chain::unanchored(self.id(), from);
        let tail = examine_tail(file, position, extent.end, &chain)
            .map_err(|source| LogError::io("read", &path, source))?;
        let to = tail
            .next
            .map_or(extent.end_offset, |(_, header)| header.base_offset);
        let range = DamagedRange {
            log: self.id(),
            path,
            position,
            from,
            to,
            reason,
        };
        if self.shared.gap_end(from).is_none_or(|end| end < to) {
            self.shared.note_damage(&range);
        }
        Ok((range, tail.next.map(|(position, _)| position)))
    }

    /// Says whether an operator has given the whole range up.
    pub(super) fn is_given_up(&self, range: &DamagedRange) -> bool {
        let end = self.shared.gap_end(range.from);
        end.is_some_and(|end| end >= range.to)
    }

    fn missing(&self, from: Offset, to: Offset) -> DamagedRange {
        let range = DamagedRange {
            log: self.id(),
            path: self.shared.segment_path(from),
            position: FilePosition(0),
            from,
            to,
            reason: Corruption::MissingSegment,
        };
        self.shared.note_damage(&range);
        range
    }

    pub(super) fn out_of_range(&self, requested: Offset, bound: ReadBound) -> LogError {
        LogError::OffsetOutOfRange {
            requested,
            log_start: self.log_start(),
            log_end: self.end(bound),
        }
    }
}

/// Returns what a batch that may be the first to be looked at must be: its own place, behind anything.
pub(super) fn chain_at(log: LogId, header: &BatchHeader) -> Chain {
    Chain::unanchored(log, header.base_offset)
}
