//! Reading a log without its owner.
//!
//! Nothing is served that does not verify: every batch that leaves here has been checked against both of its checksums and
//! against the offset it was asked for; one that is still in memory, before it was appended. Damage is a typed error that
//! names the range; a reader may ask for what follows.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::find::chain_at;
use super::retention::SegmentStats;
use super::shared::{DamagedRange, Shared};
use super::sound::Sound;
use crate::batch::Batch;
use crate::batch::header::BatchHeader;
use crate::disk::read_exact_at;
use crate::error::{Corruption, LogError, PoisonCause};
use crate::log_id::LogId;
use crate::offset::{FilePosition, Offset, TimestampMs};
use crate::segment::{SEGMENT_HEADER_BYTES_U64, Step, Walker};

/// Bytes that are read at once: what is checked then is still in the processor's cache.
const READ_STEP_BYTES: usize = 1 << 20;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBound {
    /// Up to the high watermark: what may be served.
    HighWatermark,
    /// Up to the log end: for the log's own folds, never for a client.
    LogEnd,
}

/// A reader of one log. Cheap to clone; all clones see the log as it is now.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) shared: Arc<Shared>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the log.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.shared.place.id
    }

    /// Returns whether both read the same log: one that was opened once, not one of the same name.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns whether an operator has given up the record at `offset`.
    #[must_use]
    pub fn gap_holds(&self, offset: Offset) -> bool {
        self.shared.gap_end(offset).is_some()
    }

    /// Returns the first readable offset.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.log_start()
    }

    /// Returns the first offset that readers do not see (exclusive end of what may be served).
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.shared.high_watermark()
    }

    /// Returns the first offset not known synced.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.shared.durable_end()
    }

    /// Returns the next offset to assign.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.log_end()
    }

    /// Returns why the log takes no appends, if it takes none.
    #[must_use]
    pub fn poison(&self) -> Option<PoisonCause> {
        self.shared.poison()
    }

    /// Returns what the system last said when a write, a sync or a roll did not go through, until one has, or, of a log that takes
    /// appends, until [`LogReader::rest`] was called twice.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.told()
    }

    /// Returns the ranges that were found damaged so far.
    #[must_use]
    pub fn damage(&self) -> Vec<DamagedRange> {
        self.shared.damage()
    }

    /// Returns what is known of the segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentStats> {
        self.shared.stats()
    }

    /// Reads whole batches, the first of which holds `from` (or follows it, behind a gap that an operator has made).
    ///
    /// Returns at most `bytes_max` bytes, but at least one batch; nothing at the bound. A read ends at a segment's end.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`], [`LogError::Corrupt`] with the damaged range, or [`LogError::Io`].
    pub fn read(
        &self,
        from: Offset,
        bytes_max: u64,
        bound: ReadBound,
    ) -> Result<Vec<u8>, LogError> {
        let mut bytes = Vec::new();
        let count = self.read_into(from, bytes_max, bound, &mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Reads into a buffer that may have been used before, which grows where it must. Returns how many bytes at its start were
    /// read; what stands behind them means nothing.
    pub(super) fn read_into(
        &self,
        from: Offset,
        bytes_max: u64,
        bound: ReadBound,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, LogError> {
        let Some((segment, found)) = self.find(from, bound)? else {
            return Ok(0);
        };
        let available = segment.extent().end.0.saturating_sub(found.position.0);
        let count = bytes_max.max(u64::from(found.header.length)).min(available);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if buffer.capacity() < count {
            *buffer = vec![0; count];
        } else if buffer.len() < count {
            buffer.resize(count, 0);
        }
        let mut sound = Sound::at(&found.header, self.id());
        let mut filled = 0;
        while filled < count && sound.may_go_on() {
            let step = filled.saturating_add(READ_STEP_BYTES).min(count);
            let place = buffer.get_mut(filled..step).unwrap_or_default();
            let behind = u64::try_from(filled).unwrap_or(u64::MAX);
            let position = found.position.0.saturating_add(behind);
            read_exact_at(found.file.as_ref(), place, position).map_err(|source| {
                LogError::io("read", &self.shared.segment_path(segment.base), source)
            })?;
            filled = step;
            sound.check(buffer.get(..filled).unwrap_or_default(), self.end(bound));
        }
        let Sound {
            bytes: sound,
            reason,
            ..
        } = sound;
        match reason {
            Some(reason) if sound == 0 => {
                let at = (found.position, found.header.base_offset);
                let (range, _) = self.damage_at(&segment, found.file.as_ref(), at, reason)?;
                Err(range.into())
            }
            _ => Ok(sound),
        }
    }

    /// Reads the batch that holds `offset`, or follows it behind a gap.
    ///
    /// # Errors
    /// As [`LogReader::read`]; [`LogError::OffsetOutOfRange`] also at the bound, where no batch stands yet.
    pub fn batch_at(&self, offset: Offset, bound: ReadBound) -> Result<Batch, LogError> {
        self.batch_in(offset, bound, Vec::new())
    }

    /// As [`LogReader::batch_at`], in the memory of a buffer that may have been used before.
    pub(crate) fn batch_in(
        &self,
        offset: Offset,
        bound: ReadBound,
        mut buffer: Vec<u8>,
    ) -> Result<Batch, LogError> {
        let count = self.read_into(offset, 0, bound, &mut buffer)?;
        if count == 0 {
            return Err(self.out_of_range(offset, bound));
        }
        buffer.truncate(count);
        if buffer.capacity() > count.saturating_add(count / 4) {
            // Whoever keeps the batch keeps all of its memory.
            buffer.shrink_to_fit();
        }
        Batch::decode(Bytes::from(buffer)).map_err(|reason| self.undecodable(offset, reason))
    }

    /// Returns the error of a batch that verifies and does not decode, which nothing appends.
    #[must_use]
    pub fn undecodable(&self, offset: Offset, reason: Corruption) -> LogError {
        let path = self.shared.place.dir.clone();
        let to = offset.next();
        LogError::Corrupt {
            path,
            position: FilePosition(0),
            from: offset,
            to,
            reason,
        }
    }

    /// Calls `visit` with the header and the records section of each batch from the one that holds `from`, in order, until
    /// it breaks or the bound is reached.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn scan(
        &self,
        from: Offset,
        bound: ReadBound,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.walk(from, bound, true, visit)
    }

    /// As [`LogReader::scan`], without reading or checking the records sections, which are passed as empty.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn scan_headers(
        &self,
        from: Offset,
        bound: ReadBound,
        visit: &mut dyn FnMut(&BatchHeader) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.walk(from, bound, false, &mut |header, _| visit(header))
    }

    /// Returns the base offset of the first batch that was appended at or after `time`, or `None` when readers see none.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn offset_at_time(&self, time: TimestampMs) -> Result<Option<Offset>, LogError> {
        let segments = self.shared.segments();
        let Some(segment) = segments.iter().find(|segment| {
            segment.with(|s| {
                s.extent.end > FilePosition(SEGMENT_HEADER_BYTES_U64)
                    && s.extent.last_append_time >= time
            })
        }) else {
            return Ok(None);
        };
        let entry = segment.with(|state| state.index.before_time(time));
        let from = entry.map_or(segment.base, |entry| {
            Offset(segment.base.0.saturating_add(u64::from(entry.offset_delta)))
        });
        let mut found = None;
        self.scan_headers(
            from.max(self.log_start()),
            ReadBound::HighWatermark,
            &mut |header| {
                if header.append_time >= time {
                    found = Some(header.base_offset.max(self.log_start()));
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            },
        )?;
        Ok(found)
    }

    pub(super) fn end(&self, bound: ReadBound) -> Offset {
        match bound {
            ReadBound::HighWatermark => self.high_watermark(),
            ReadBound::LogEnd => self.log_end(),
        }
    }

    fn walk(
        &self,
        from: Offset,
        bound: ReadBound,
        with_bodies: bool,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let mut next = from;
        while let Some((segment, found)) = self.find(next, bound)? {
            let extent = segment.extent();
            let bodies_from = if with_bodies {
                found.position
            } else {
                extent.end
            };
            let chain = chain_at(self.id(), &found.header);
            let mut walker = Walker::new(
                found.file.as_ref(),
                found.position,
                extent.end,
                chain,
                bodies_from,
            );
            let failed =
                |source| LogError::io("read", &self.shared.segment_path(segment.base), source);
            loop {
                match walker.step().map_err(failed)? {
                    Step::End => break,
                    Step::Bad(reason) => {
                        let at = (walker.position(), walker.chain().next_offset);
                        let (range, _) =
                            self.damage_at(&segment, found.file.as_ref(), at, reason)?;
                        if self.is_given_up(&range) {
                            break;
                        }
                        return Err(range.into());
                    }
                    Step::Batch { header, .. } if header.base_offset >= self.end(bound) => {
                        return Ok(());
                    }
                    // A header may verify where the section behind it was given up.
                    Step::Batch { header, .. }
                        if self.shared.gap_end(header.base_offset).is_some() =>
                    {
                        next = header.next_offset();
                    }
                    Step::Batch { header, position } => {
                        let body = if with_bodies {
                            walker.body(&header, position).map_err(failed)?
                        } else {
                            &[]
                        };
                        if visit(&header, body).is_break() {
                            return Ok(());
                        }
                        next = header.next_offset();
                    }
                }
            }
            next = next.max(walker.chain().next_offset);
        }
        Ok(())
    }
}
