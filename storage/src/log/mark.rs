//! A place in a log's bytes, to be told later how much has come behind it, without reading.

use super::reader::LogReader;
use crate::offset::{FilePosition, Offset};
use crate::segment::SEGMENT_HEADER_BYTES_U64;

/// A place in a log's active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    segment: Offset,
    position: FilePosition,
}

impl LogReader {
    /// Returns a place at or before the batch that holds `offset`, or will hold it: that very place when `offset` is the log
    /// end, one before it by an index entry at most otherwise. `None` when it stands in an older segment.
    #[must_use]
    pub fn mark(&self, offset: Offset) -> Option<Mark> {
        let segments = self.shared.segments();
        let active = segments.last()?;
        let delta = offset.since(active.base)?;
        let position = active.with(|state| {
            if state.extent.end_offset <= offset {
                return state.extent.end;
            }
            let entry = state.index.at_or_before(delta);
            let position =
                entry.map_or(SEGMENT_HEADER_BYTES_U64, |entry| u64::from(entry.position));
            FilePosition(position)
        });
        Some(Mark {
            segment: active.base,
            position,
        })
    }

    /// Returns how many bytes of batches have been written behind a mark, whether readers see them or not. `None` when the log
    /// has gone on in another segment.
    #[must_use]
    pub fn bytes_behind(&self, mark: Mark) -> Option<u64> {
        let segments = self.shared.segments();
        let active = segments.last().filter(|last| last.base == mark.segment)?;
        Some(active.extent().end.0.saturating_sub(mark.position.0))
    }
}
