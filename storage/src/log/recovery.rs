//! Opening a log: taking over what verifies, cutting a torn tail, and refusing to touch damage.
//!
//! # Torn tail or damage
//! At the first batch of the last segment that does not verify, with expected offset n, it is damage if anything says that n
//! was durable: the checkpoint, or the "durable up to" of any header behind it. Otherwise nobody was told that n is stored,
//! and the tail is cut. In any segment but the last one it is damage, because a segment is durable before its successor
//! exists. Damage is never cut: in a sealed segment the range cannot be read and appends go on; in the last segment the log
//! opens for reads only.
//!
//! What recovery accepts above the checkpoint it writes back in place and syncs before anybody is served: a page that a
//! failed sync left marked clean may never have reached the disk. Recovery changes nothing else, so that it may be
//! interrupted anywhere and begin again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::append::{Log, LogTail, shared as new_shared};
use super::config::{LogConfig, LogPlace};
use super::retention::remove_segment;
use super::roll::{create_segment, first_header, write_index};
use super::shared::{DamagedRange, Segment, Shared};
use crate::checkpoint::LogCheckpoint;
use crate::disk::{DiskFile, OpenMode, Site, read_exact_at};
use crate::error::{Corruption, LogError, PoisonCause};
use crate::index::{Extent, Index};
use crate::offset::{FilePosition, Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};
use crate::segment::header::SEGMENT_VERSION;
use crate::segment::{
    Chain, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES_U64, SegmentHeader, SegmentHeaderError, Step,
    Tail, Walker, examine_tail,
};

/// Bytes that are written back at once.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Bytes of batches that were read above the checkpoint and accepted.
    pub accepted_bytes: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
    /// What is damaged. Never cut.
    pub damage: Vec<DamagedRange>,
}

/// A torn tail that was cut: bytes that nobody was told are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The offset that the next record gets.
    pub offset: Offset,
    /// Where in the last segment the log now ends.
    pub position: FilePosition,
    /// Bytes from there to the old end of the file, zeros included.
    pub bytes: u64,
}

/// Where a scan of the last segment came to an end.
struct Scan {
    extent: Extent,
    index: Index,
    chain: Chain,
    stop: Option<Corruption>,
}

struct Recovery<'a> {
    shared: Arc<Shared>,
    hint: Option<&'a LogCheckpoint>,
    report: RecoveryReport,
}

pub(super) fn open(
    place: LogPlace,
    config: LogConfig,
    hint: Option<&LogCheckpoint>,
    now: TimestampMs,
) -> Result<(Log, RecoveryReport), LogError> {
    create_dirs(&place)?;
    let shared = new_shared(place, &config);
    let mut recovery = Recovery {
        shared,
        hint,
        report: RecoveryReport::default(),
    };
    let tail = recovery.run(now)?;
    let shared = recovery.shared;
    for range in &recovery.report.damage {
        shared.note_damage(range);
    }
    let log = Log {
        shared,
        config,
        tail,
        is_rolling: false,
        must_roll: false,
    };
    Ok((log, recovery.report))
}

/// Creates the directories between the data directory and the log's, and makes their names durable whether or not this run
/// created them: an earlier one may have been interrupted in between.
fn create_dirs(place: &LogPlace) -> Result<(), LogError> {
    let below = place.dir.strip_prefix(&place.root).unwrap_or(&place.dir);
    let mut dir = place.root.clone();
    for part in below.components() {
        let parent = dir.clone();
        dir.push(part);
        place
            .disk
            .create_dir(&dir)
            .map_err(|source| LogError::io("create", &dir, source))?;
        place
            .disk
            .sync_dir(&parent, Site::LogName)
            .map_err(|source| LogError::io("sync", &parent, source))?;
    }
    Ok(())
}

impl Recovery<'_> {
    fn run(&mut self, now: TimestampMs) -> Result<LogTail, LogError> {
        let mut bases = self.list()?;
        let first = bases.first().copied();
        let start = self
            .hint
            .map(|hint| hint.log_start)
            .or(first)
            .unwrap_or(Offset::ZERO);
        self.finish_retention(&mut bases, start)?;
        let is_lost = self
            .hint
            .is_some_and(|hint| hint.durable_end > Offset::ZERO);
        let Some((last, sealed)) = bases.split_last() else {
            let lost_to = self.hint.map_or(Offset::ZERO, |hint| hint.durable_end);
            return match self.shared.gap_end(start) {
                // All of it was given up: the log goes on behind.
                Some(end) if is_lost && end >= lost_to => {
                    self.shared.set_log_start(start);
                    self.create_first(end, now)
                }
                _ if is_lost => self.all_lost(),
                _ => self.create_first(Offset::ZERO, now),
            };
        };
        if let Some(first) = bases.first().filter(|first| **first > start) {
            self.damaged(
                start,
                *first,
                FilePosition(0),
                Corruption::MissingSegment,
                start,
            );
        }
        self.shared.set_log_start(start);
        let mut segments = Vec::new();
        let mut chain = Chain {
            log: self.shared.place.id,
            next_offset: bases.first().copied().unwrap_or(start),
            prev_header_crc: None,
            append_time: TimestampMs(i64::MIN),
        };
        for (base, next) in sealed.iter().zip(bases.iter().skip(1)) {
            self.check_header(*base, &mut chain)?;
            let segment = self.sealed(*base, *next, &mut chain)?;
            segments.push(Arc::new(segment));
        }
        self.active(*last, chain, segments)
    }

    fn list(&self) -> Result<Vec<Offset>, LogError> {
        let place = &self.shared.place;
        let entries = place
            .disk
            .list(&place.dir)
            .map_err(|source| LogError::io("list", &place.dir, source))?;
        let bases = entries
            .iter()
            .filter_map(|entry| file_name::parse(&entry.name));
        Ok(bases
            .filter(|(_, kind)| *kind == FileKind::Log)
            .map(|(base, _)| base)
            .collect())
    }

    /// Removes segments whose end the log start has passed: retention was interrupted before it had unlinked them.
    fn finish_retention(&self, bases: &mut Vec<Offset>, start: Offset) -> Result<(), LogError> {
        let place = &self.shared.place;
        while let [base, next, ..] = bases.as_slice()
            && *next <= start
        {
            remove_segment(place.disk.as_ref(), &place.dir, *base)?;
            bases.remove(0);
        }
        Ok(())
    }

    fn create_first(&self, base: Offset, now: TimestampMs) -> Result<LogTail, LogError> {
        let header = first_header(&self.shared, base);
        let place = &self.shared.place;
        let file = create_segment(place.disk.as_ref(), &place.dir, &header)
            .map_err(super::roll::CreateError::into_log_error)?;
        let extent = empty_extent(base, now, 0);
        let chain = Chain {
            log: place.id,
            next_offset: base,
            prev_header_crc: Some(0),
            append_time: TimestampMs(i64::MIN),
        };
        Ok(self.install(
            Vec::new(),
            Segment::new(extent, Index::default(), false),
            file,
            chain,
        ))
    }

    /// A log whose checkpoint speaks of durable records and that has no file left is refused: it is never begun anew.
    fn all_lost(&self) -> Result<LogTail, LogError> {
        let (from, to) = self.hint.map_or((Offset::ZERO, Offset::ZERO), |h| {
            (h.log_start, h.durable_end)
        });
        Err(self
            .range(from, to, FilePosition(0), Corruption::MissingSegment, from)
            .into())
    }

    /// Checks the header of a sealed segment and that it follows the one before.
    fn check_header(&mut self, base: Offset, chain: &mut Chain) -> Result<(), LogError> {
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Read)?;
        match self.read_header(file.as_ref(), &path, base)? {
            Err(reason) => self.damaged(base, base, FilePosition(0), reason, base),
            Ok(header) if chain.next_offset != base => {
                self.damaged(
                    chain.next_offset,
                    base,
                    FilePosition(0),
                    Corruption::MissingSegment,
                    base,
                );
                chain.prev_header_crc = Some(header.prev_header_crc);
            }
            Ok(header) => match chain.prev_header_crc {
                Some(expected) if expected != header.prev_header_crc => {
                    let reason = Corruption::BrokenChain {
                        found: header.prev_header_crc,
                        expected,
                    };
                    self.damaged(base, base, FilePosition(0), reason, base);
                    chain.prev_header_crc = None;
                }
                _ => chain.prev_header_crc = Some(header.prev_header_crc),
            },
        }
        chain.next_offset = base;
        Ok(())
    }

    /// Reads a segment's header. The outer error stops the opening, the inner one is damage or a torn creation.
    fn read_header(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        base: Offset,
    ) -> Result<Result<SegmentHeader, Corruption>, LogError> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        match read_exact_at(file, &mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let needed = SEGMENT_HEADER_BYTES_U64;
                return Ok(Err(Corruption::Truncated {
                    part: "segment header",
                    needed,
                    available: 0,
                }));
            }
            read => read.map_err(|source| LogError::io("read", path, source))?,
        }
        let id = self.shared.place.id;
        match SegmentHeader::decode(&bytes) {
            Err(SegmentHeaderError::UnknownVersion(found)) => Err(LogError::UnknownVersion {
                path: path.to_path_buf(),
                found,
                known: SEGMENT_VERSION,
            }),
            Err(SegmentHeaderError::Corrupt(reason)) => Ok(Err(reason)),
            Ok(header) if header.log != id => Ok(Err(Corruption::WrongLog {
                found_partition: header.log.partition.0,
                found_kind: header.log.kind.byte(),
            })),
            Ok(header) if header.base_offset != base => Ok(Err(Corruption::OffsetGap {
                found: header.base_offset,
                expected: base,
            })),
            Ok(header) => Ok(Ok(header)),
        }
    }

    /// Takes over a sealed segment: by its index where that fits the file and the successor, else by a scan.
    fn sealed(
        &mut self,
        base: Offset,
        next: Offset,
        chain: &mut Chain,
    ) -> Result<Segment, LogError> {
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Read)?;
        let bytes = file
            .byte_count()
            .map_err(|source| LogError::io("measure", &path, source))?;
        if let Some((index, extent)) = self.open_index(base)
            && (extent.base_offset, extent.end_offset, extent.end.0) == (base, next, bytes)
        {
            chain.next_offset = next;
            chain.prev_header_crc = Some(extent.last_header_crc);
            chain.append_time = extent.last_append_time;
            return Ok(Segment::new(extent, index, true));
        }
        let scan = self.scan(file.as_ref(), &path, bytes, *chain, FilePosition(0))?;
        *chain = scan.chain;
        let is_whole = scan.stop.is_none() && scan.extent.end_offset == next;
        let mut extent = scan.extent;
        if !is_whole {
            // A file that came from elsewhere may stand as successor in the middle of this segment: what it hides ends there.
            let from = scan.extent.end_offset.min(next);
            let tail = self.tail(file.as_ref(), &path, extent.end, FilePosition(bytes), from)?;
            let to = tail
                .next
                .map_or(next, |(_, header)| header.base_offset.min(next));
            let reason = scan.stop.unwrap_or(Corruption::MissingSegment);
            self.damaged(from, to, extent.end, reason, base);
            // Readers look for the next sound batch themselves, up to the file's end.
            (extent.end_offset, extent.end) = (next, FilePosition(bytes));
            (chain.next_offset, chain.prev_header_crc) = (next, None);
        }
        let segment = Segment::new(extent, scan.index, true);
        if is_whole {
            write_index(&self.shared, &segment);
        }
        Ok(segment)
    }

    fn open_index(&self, base: Offset) -> Option<(Index, Extent)> {
        let place = &self.shared.place;
        let path = file_name::path(&place.dir, base, FileKind::Index);
        let map = place
            .disk
            .open(&path, OpenMode::Read)
            .and_then(|file| file.map())
            .ok()?;
        let opened = Index::open(place.id, map).ok();
        if opened.is_none() {
            // Whatever stands there is of no use; a later index must be able to take its place.
            drop(place.disk.remove(&path));
        }
        opened
    }

    /// Goes over a segment from its first batch; sections before `bodies_from` are not read.
    fn scan(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        limit: u64,
        chain: Chain,
        bodies_from: FilePosition,
    ) -> Result<Scan, LogError> {
        let base = chain.next_offset;
        let start = FilePosition(SEGMENT_HEADER_BYTES_U64);
        let mut extent = empty_extent(base, chain.append_time, chain.prev_header_crc.unwrap_or(0));
        let mut index = Index::default();
        let mut walker = Walker::new(file, start, FilePosition(limit), chain, bodies_from);
        loop {
            let step = walker
                .step()
                .map_err(|source| LogError::io("read", path, source))?;
            let bad = match step {
                Step::End => None,
                Step::Bad(reason) if !self.passes_gap(&mut walker, path, limit)? => Some(reason),
                Step::Bad(_) => continue,
                Step::Batch { header, position } => {
                    index.note(base, header.base_offset, position, header.append_time);
                    if extent.end_offset == base {
                        extent.first_append_time = header.append_time;
                    }
                    extent.last_append_time = header.append_time;
                    continue;
                }
            };
            let chain = *walker.chain();
            extent.end_offset = chain.next_offset;
            extent.end = walker.position();
            extent.last_header_crc = chain.prev_header_crc.unwrap_or(0);
            return Ok(Scan {
                extent,
                index,
                chain,
                stop: bad,
            });
        }
    }

    /// Moves the walker over a gap that an operator has made, if one covers what does not verify here.
    fn passes_gap(
        &self,
        walker: &mut Walker<'_>,
        path: &Path,
        limit: u64,
    ) -> Result<bool, LogError> {
        let from = walker.chain().next_offset;
        let Some(gap_end) = self.shared.gap_end(from) else {
            return Ok(false);
        };
        let tail = self.tail(
            walker.file(),
            path,
            walker.position(),
            FilePosition(limit),
            from,
        )?;
        match tail.next {
            Some((position, header)) if header.base_offset <= gap_end => {
                walker.jump(position, header.base_offset);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes over the last segment, and decides about what does not verify in it.
    #[expect(clippy::too_many_lines, reason = "split next")]
    fn active(
        &mut self,
        base: Offset,
        before: Chain,
        mut segments: Vec<Arc<Segment>>,
    ) -> Result<LogTail, LogError> {
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Write)?;
        let bytes = file
            .byte_count()
            .map_err(|source| LogError::io("measure", &path, source))?;
        let limit = FilePosition(bytes);
        if before.next_offset != base {
            let from = before.next_offset;
            self.damaged(
                from,
                base,
                FilePosition(0),
                Corruption::MissingSegment,
                from,
            );
        }
        let mut chain = Chain {
            next_offset: base,
            ..before
        };
        match self.read_header(file.as_ref(), &path, base)? {
            Ok(header) => {
                let is_apart = before.next_offset != base;
                match before.prev_header_crc {
                    Some(expected) if expected != header.prev_header_crc && !is_apart => {
                        let reason = Corruption::BrokenChain {
                            found: header.prev_header_crc,
                            expected,
                        };
                        self.damaged(base, base, FilePosition(0), reason, base);
                    }
                    _ => {}
                }
                chain.prev_header_crc = Some(header.prev_header_crc);
            }
            Err(reason) => {
                let start = FilePosition(SEGMENT_HEADER_BYTES_U64.min(bytes));
                let unknown = Chain {
                    prev_header_crc: None,
                    ..chain
                };
                let mut walker = Walker::new(file.as_ref(), start, limit, unknown, start);
                let first = walker
                    .step()
                    .map_err(|source| LogError::io("read", &path, source))?;
                let tail = self.tail(file.as_ref(), &path, start, limit, base)?;
                // A header that verifies and belongs elsewhere was never torn: the file has lost its name.
                let is_whole = matches!(
                    reason,
                    Corruption::WrongLog { .. } | Corruption::OffsetGap { .. }
                );
                let given_up = self.shared.gap_end(base);
                let end = given_up.unwrap_or(base);
                let holds_batches = matches!(first, Step::Batch { .. }) || tail.next.is_some();
                let was_used = holds_batches || (is_whole && given_up.is_none());
                if was_used || self.was_durable(end, &tail) {
                    self.damaged(base, base, FilePosition(0), reason, base);
                    if given_up.is_none() {
                        self.shared.set_poison(PoisonCause::Damaged);
                    }
                    chain.prev_header_crc = None;
                } else {
                    if !tail.is_zero {
                        // No creation leaves that: a damaged header, or batches that nothing says were durable.
                        self.report.cut = Some(Cut {
                            offset: end,
                            position: start,
                            bytes: bytes.saturating_sub(start.0),
                        });
                    }
                    return self.recreate(base, end, before, segments);
                }
            }
        }
        let hint = self
            .hint
            .filter(|hint| hint.segment_base == base && hint.position <= limit);
        let checked_to = hint.map_or(FilePosition(0), |hint| hint.position);
        let mut scan = self.scan(file.as_ref(), &path, bytes, chain, checked_to)?;
        let tail = self.tail(
            file.as_ref(),
            &path,
            scan.extent.end,
            limit,
            scan.chain.next_offset,
        )?;
        if let Some(gap_end) = self.shared.gap_end(scan.chain.next_offset) {
            // Everything up to the gap's end was given up: the log goes on behind it, and whether what stands there is
            // damaged or torn is decided there.
            scan.chain.next_offset = gap_end;
            scan.extent.end_offset = gap_end;
        }
        let end = scan.extent.end_offset;
        if self.was_durable(end, &tail) {
            let (from, stop) = (end, scan.stop.take().unwrap_or(Corruption::MissingSegment));
            let durable = self.hint.map_or(Offset::ZERO, |hint| hint.durable_end);
            let log_end = durable.max(tail.end_offset);
            let to = tail.next.map_or(log_end, |(_, header)| header.base_offset);
            self.damaged(from, to, scan.extent.end, stop, base);
            self.shared.set_poison(PoisonCause::Damaged);
            (scan.extent.end_offset, scan.extent.end) = (log_end, limit);
            scan.chain.next_offset = log_end;
        } else if self.shared.poison().is_none() {
            self.accept(file.as_ref(), &path, &scan, (checked_to, limit), &tail)?;
        }
        segments.retain(|segment| segment.base != base);
        let segment = Segment::new(scan.extent, scan.index, false);
        Ok(self.install(segments, segment, file, scan.chain))
    }

    /// Says whether anything claims that offset `n` was durable: then what does not verify there is damage.
    fn was_durable(&self, n: Offset, tail: &Tail) -> bool {
        self.hint.is_some_and(|hint| hint.durable_end > n) || tail.durable_up_to > n
    }

    /// Writes back what was accepted above the checkpoint, cuts what stands behind it, and syncs both.
    fn accept(
        &mut self,
        file: &dyn DiskFile,
        path: &Path,
        scan: &Scan,
        (checked_to, limit): (FilePosition, FilePosition),
        tail: &Tail,
    ) -> Result<(), LogError> {
        let place = &self.shared.place;
        if checked_to < scan.extent.end {
            write_back(file, checked_to.0, scan.extent.end.0)
                .map_err(|source| LogError::io("write back", path, source))?;
            self.report.accepted_bytes = scan.extent.end.0.saturating_sub(checked_to.0);
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
    /// The log goes on at `end`, which is above `base` when what lies between was given up.
    fn recreate(
        &mut self,
        base: Offset,
        end: Offset,
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
            .map_err(super::roll::CreateError::into_log_error)?;
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

    fn install(
        &self,
        mut segments: Vec<Arc<Segment>>,
        active: Segment,
        file: Arc<dyn DiskFile>,
        chain: Chain,
    ) -> LogTail {
        let position = active.extent().end.0;
        let segment = Arc::new(active);
        segments.push(Arc::clone(&segment));
        self.shared.set_segments(segments);
        self.shared.set_log_end(chain.next_offset);
        self.shared.raise_durable_end(chain.next_offset);
        LogTail {
            segment,
            file,
            position,
            allocated: position,
            chain,
        }
    }

    fn tail(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        from: FilePosition,
        limit: FilePosition,
        expected: Offset,
    ) -> Result<Tail, LogError> {
        examine_tail(file, from, limit, self.shared.place.id, expected)
            .map_err(|source| LogError::io("read", path, source))
    }

    fn open_file(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn DiskFile>, LogError> {
        self.shared
            .place
            .disk
            .open(path, mode)
            .map_err(|source| LogError::io("open", path, source))
    }

    /// Notes damage, unless an operator has given the range up.
    fn damaged(
        &mut self,
        from: Offset,
        to: Offset,
        position: FilePosition,
        reason: Corruption,
        base: Offset,
    ) {
        let is_given_up = self.shared.gap_end(from).is_some_and(|end| end >= to);
        if !is_given_up {
            self.report
                .damage
                .push(self.range(from, to, position, reason, base));
        }
    }

    fn range(
        &self,
        from: Offset,
        to: Offset,
        position: FilePosition,
        reason: Corruption,
        base: Offset,
    ) -> DamagedRange {
        let path = self.shared.segment_path(base);
        DamagedRange {
            log: self.shared.place.id,
            path,
            position,
            from,
            to,
            reason,
        }
    }
}

fn empty_extent(base: Offset, append_time: TimestampMs, last_header_crc: u32) -> Extent {
    Extent {
        base_offset: base,
        end_offset: base,
        end: FilePosition(SEGMENT_HEADER_BYTES_U64),
        first_append_time: append_time,
        last_append_time: append_time,
        last_header_crc,
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
