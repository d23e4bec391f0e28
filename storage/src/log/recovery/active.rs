//! Taking over the last segment: the only one that can have a torn tail, and where torn is told from damaged.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::scan::Scan;
use super::{Cut, Recovery, Segment, empty_extent, tail};
use crate::checkpoint::LogCheckpoint;
use crate::disk::{DiskFile, OpenMode, Site, read_exact_at};
use crate::error::{Corruption, LogError, PoisonCause};
use crate::index::Index;
use crate::log::append::LogTail;
use crate::log::roll::{CreateError, create_segment};
use crate::offset::{FilePosition, Offset};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, SegmentHeader, Step, Tail, Walker};

/// Bytes that are written back at once.
const WRITE_BACK_BYTES: u64 = 1 << 20;

impl Recovery<'_> {
    /// Takes over the last segment, and decides about what does not verify in it.
    pub(super) fn active(
        &mut self,
        base: Offset,
        before: Chain,
        segments: Vec<Arc<Segment>>,
    ) -> Result<LogTail, LogError> {
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Write)?;
        let unsynced_from = self.read_anew(file.as_ref(), &path, base)?;
        let bytes = file
            .byte_count()
            .map_err(|source| LogError::io("measure", &path, source))?;
        let limit = FilePosition(bytes);
        if before.next_offset != base {
            let (from, reason) = (before.next_offset, Corruption::MissingSegment);
            self.damaged(from, base, FilePosition(0), reason, from);
        }
        let prev_header_crc = match self.read_header(file.as_ref(), &path, base)? {
            Ok(header) => Some(self.checked_anchor(base, &before, &header)),
            Err(reason) => {
                if self.is_torn_creation(file.as_ref(), &path, base, (&reason, limit), &before)? {
                    return self.recreate(base, before, segments);
                }
                self.damaged(base, base, FilePosition(0), reason, base);
                if self.shared.gap_end(base).is_none() {
                    self.shared.set_poison(PoisonCause::Damaged);
                }
                None
            }
        };
        let chain = Chain {
            next_offset: base,
            prev_header_crc,
            ..before
        };
        let scan = self.accepted((file.as_ref(), &path), limit, unsynced_from, chain)?;
        let segment = Segment::new(scan.extent, scan.index, false);
        Ok(self.install(segments, segment, file, scan.chain))
    }

    /// Returns what the segment says it follows; another batch before it is damage.
    fn checked_anchor(&mut self, base: Offset, before: &Chain, header: &SegmentHeader) -> u32 {
        let found = header.prev_header_crc;
        match before.prev_header_crc {
            Some(expected) if expected != found && before.next_offset == base => {
                let reason = Corruption::BrokenChain { found, expected };
                self.damaged(base, base, FilePosition(0), reason, base);
            }
            _ => {}
        }
        found
    }

    /// Says whether a segment whose header does not verify was being created when the broker ended, and held nothing yet.
    fn is_torn_creation(
        &mut self,
        file: &dyn DiskFile,
        path: &Path,
        base: Offset,
        (reason, limit): (&Corruption, FilePosition),
        before: &Chain,
    ) -> Result<bool, LogError> {
        let start = FilePosition(SEGMENT_HEADER_BYTES_U64.min(limit.0));
        let unknown = Chain {
            next_offset: base,
            prev_header_crc: None,
            ..*before
        };
        let mut walker = Walker::new(file, start, limit, unknown, start);
        let first = walker
            .step()
            .map_err(|source| LogError::io("read", path, source))?;
        let tail = tail(file, path, start, limit, &unknown)?;
        // A header that verifies and belongs elsewhere was never torn: the file has lost its name.
        let is_whole = matches!(
            reason,
            Corruption::WrongLog { .. } | Corruption::OffsetGap { .. }
        );
        let holds_batches = matches!(first, Step::Batch { .. }) || tail.next.is_some();
        let given_up = self.shared.gap_end(base);
        let end = given_up.unwrap_or(base);
        let was_used = holds_batches || (is_whole && given_up.is_none());
        if was_used || self.was_durable(end, &tail) {
            return Ok(false);
        }
        if !tail.is_zero {
            // No creation leaves that: a damaged header, or batches that nothing says were durable.
            self.report.cut = Some(Cut {
                offset: end,
                position: start,
                bytes: limit.0.saturating_sub(start.0),
            });
        }
        Ok(true)
    }

    /// Scans the segment, and makes what is accepted durable; or finds damage, and leaves everything as it is.
    fn accepted(
        &mut self,
        (file, path): (&dyn DiskFile, &Path),
        limit: FilePosition,
        unsynced_from: FilePosition,
        chain: Chain,
    ) -> Result<Scan, LogError> {
        let base = chain.next_offset;
        let hint = self.hint_in(base, limit);
        let checked_to = hint.map_or(FilePosition(0), |hint| hint.position);
        let mut scan = self.scan(file, path, limit.0, chain, checked_to)?;
        let tail = tail(file, path, scan.extent.end, limit, &scan.chain)?;
        if let Some(gap_end) = self.shared.gap_end(scan.chain.next_offset) {
            // Everything up to the gap's end was given up: the log goes on behind it, and whether what stands there is
            // damaged or torn is decided there.
            scan.chain.next_offset = gap_end;
            scan.extent.end_offset = gap_end;
        }
        let end = scan.extent.end_offset;
        if self.was_durable(end, &tail) {
            let reason = scan.stop.take().unwrap_or(Corruption::MissingSegment);
            let durable = self.hint.map_or(Offset::ZERO, |hint| hint.durable_end);
            let log_end = durable.max(tail.end_offset);
            let to = tail.next.map_or(log_end, |(_, header)| header.base_offset);
            self.damaged(end, to, scan.extent.end, reason, base);
            self.shared.set_poison(PoisonCause::Damaged);
            (scan.extent.end_offset, scan.extent.end) = (log_end, limit);
            scan.chain.next_offset = log_end;
        } else if self.shared.poison().is_none() {
            self.accept((file, path), &scan, (unsynced_from, limit), &tail)?;
        }
        Ok(scan)
    }

    /// Returns the checkpoint where it speaks of this segment, which ends at `limit`.
    pub(super) fn hint_in(&self, base: Offset, limit: FilePosition) -> Option<&LogCheckpoint> {
        self.hint
            .filter(|hint| hint.segment_base == base && hint.position <= limit)
    }

    /// Says whether anything claims that offset `n` was durable: then what does not verify there is damage.
    fn was_durable(&self, n: Offset, tail: &Tail) -> bool {
        self.hint.is_some_and(|hint| hint.durable_end > n) || tail.durable_up_to > n
    }

    /// Writes back what was accepted of what no sync is known to have reached, cuts what stands behind it, and syncs both.
    fn accept(
        &mut self,
        (file, path): (&dyn DiskFile, &Path),
        scan: &Scan,
        (unsynced_from, limit): (FilePosition, FilePosition),
        tail: &Tail,
    ) -> Result<(), LogError> {
        let place = &self.shared.place;
        if unsynced_from < scan.extent.end {
            write_back(file, unsynced_from.0, scan.extent.end.0)
                .map_err(|source| LogError::io("write back", path, source))?;
            self.report.accepted_bytes = scan.extent.end.0.saturating_sub(unsynced_from.0);
        }
        if !tail.is_zero {
            file.set_len(scan.extent.end.0, Site::RecoveryCut)
                .map_err(|source| LogError::io("truncate", path, source))?;
            self.report.cut = Some(Cut {
                offset: scan.extent.end_offset,
                position: scan.extent.end,
                bytes: limit.0.saturating_sub(scan.extent.end.0),
            });
        }
        // Also with nothing to accept and nothing to cut: a recovery that was killed may have left its own cut unsynced.
        file.sync(Site::RecoveryAccepted)
            .map_err(|source| LogError::io("sync", path, source))?;
        place
            .disk
            .sync_dir(&place.dir, Site::RecoveryNames)
            .map_err(|source| LogError::io("sync", &place.dir, source))
    }

    /// Writes the header of a last segment anew: its creation was interrupted before it could hold anything.
    /// The log goes on behind what was given up of it.
    fn recreate(
        &mut self,
        base: Offset,
        before: Chain,
        segments: Vec<Arc<Segment>>,
    ) -> Result<LogTail, LogError> {
        let place = &self.shared.place;
        let prev_header_crc = before.prev_header_crc.unwrap_or(0);
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Write)?;
        file.set_len(0, Site::RecoveryCut)
            .map_err(|source| LogError::io("truncate", &path, source))?;
        drop(file);
        let header = SegmentHeader {
            log: place.id,
            base_offset: base,
            prev_header_crc,
        };
        let file = create_segment(place.disk.as_ref(), &place.dir, &header)
            .map_err(CreateError::into_log_error)?;
        let end = self.shared.gap_end(base).unwrap_or(base);
        let mut extent = empty_extent(base, before.append_time, prev_header_crc);
        extent.end_offset = end;
        let chain = Chain {
            next_offset: end,
            prev_header_crc: Some(prev_header_crc),
            ..before
        };
        Ok(self.install(
            segments,
            Segment::new(extent, Index::default(), false),
            file,
            chain,
        ))
    }
}

/// Writes the bytes from `from` to `to` over themselves, so that the next sync carries them to the disk.
fn write_back(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    let mut buffer = Vec::new();
    while at < to {
        let count = WRITE_BACK_BYTES.min(to.saturating_sub(at));
        buffer.resize(usize::try_from(count).unwrap_or(usize::MAX), 0);
        read_exact_at(file, &mut buffer, at)?;
        file.write_all_at(&buffer, at)?;
        at = at.saturating_add(count);
    }
    Ok(())
}
