//! Opening a log: taking over what verifies, cutting a torn tail, and refusing to touch damage.
//!
//! # Torn tail or damage
//! At the first batch of the last segment that does not verify, with expected offset n, it is damage if anything says that n
//! was durable: the checkpoint, or the "durable up to" of any header behind it. Otherwise nobody was told that n is stored,
//! and the tail is cut. In any segment but the last one it is damage, because a segment is durable before its successor
//! exists. Damage is never cut: in a sealed segment the range cannot be read and appends go on; in the last segment the log
//! opens for reads only.
//!
//! A page that a failed sync left marked clean may never have reached the disk. So recovery reads what no sync is known to
//! have reached from the disk, whatever memory holds of it, and what it accepts of that it writes back in place and syncs before
//! anybody is served. Recovery changes nothing else, so that it may be interrupted anywhere and begin again.

mod active;
mod scan;
mod unsynced;
mod sealed;

use std::path::Path;
use std::sync::Arc;

use super::append::{Log, LogTail, shared as new_shared};
use super::config::{LogConfig, LogPlace};
use super::retention::remove_segment;
use super::roll::{CreateError, create_segment, first_header};
use super::shared::{DamagedRange, Segment, Shared};
use crate::checkpoint::LogCheckpoint;
use crate::disk::{DiskFile, OpenMode, Site};
use crate::error::{Corruption, LogError};
use crate::index::{Extent, Index};
use crate::offset::{FilePosition, Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, Tail, examine_tail};

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
        refused_bytes: 0,
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
            .map_err(CreateError::into_log_error)?;
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

/// Looks behind the first bytes that do not verify: see [`examine_tail`].
fn tail(
    file: &dyn DiskFile,
    path: &Path,
    from: FilePosition,
    limit: FilePosition,
    expected: &Chain,
) -> Result<Tail, LogError> {
    examine_tail(file, from, limit, expected).map_err(|source| LogError::io("read", path, source))
}
