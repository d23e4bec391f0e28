//! Going over one log, segment by segment, without changing anything.
//!
//! What counts as damage and what as a torn tail is decided as recovery decides it (see [`crate::log`]); unlike recovery the
//! scan reads every byte, whatever the checkpoint says, and goes on behind damage to find all of it.

use std::io;
use std::path::Path;

use super::hints;
use super::report::{Fault, Remark, VerifyReport};
use crate::batch::{BatchHeader, Records, unpack};
use crate::checkpoint::LogCheckpoint;
use crate::disk::{DiskFile, OpenMode};
use crate::error::LogError;
use crate::index::{Extent, Index};
use crate::limits::{BATCH_BYTES_CEILING, UNPACKED_BYTES_PER_BATCH_BYTE};
use crate::log::{Gap, LogPlace};
use crate::offset::{FilePosition, Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, Step, Walker};

/// Largest unpacked records section that is decoded.
pub(super) const UNPACKED_BYTES_MAX: u32 = BATCH_BYTES_CEILING * UNPACKED_BYTES_PER_BATCH_BYTE;

/// A batch that verifies and decodes.
pub(super) struct Found<'a> {
    pub(super) header: &'a BatchHeader,
    pub(super) body: &'a [u8],
    /// The records section before compression.
    pub(super) section: &'a [u8],
    /// Base offset of the segment.
    pub(super) segment: Offset,
}

/// What is done with what a scan finds.
pub(super) trait Visit {
    /// Takes a batch. What is wrong with what it holds is the result.
    fn batch(&mut self, found: &Found<'_>, report: &mut VerifyReport) -> Result<(), Fault>;
    /// Notes that offsets are missing here.
    fn skipped(&mut self, _from: Offset, _to: Offset) {}
    /// Takes the end of a sealed segment, all of which was read when `is_whole`.
    fn sealed(&mut self, _base: Offset, _is_whole: bool, _report: &mut VerifyReport) {}
}

/// What came of a scan.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// Offsets that could not be read, given up or not.
    pub(super) skipped: Vec<(Offset, Offset)>,
    /// Whether any was not given up.
    pub(super) is_damaged: bool,
}

impl Scanned {
    pub(super) fn is_skipped(&self, offset: Offset) -> bool {
        self.skipped
            .iter()
            .any(|(from, to)| *from <= offset && offset < *to)
    }
}

/// A scan of one log.
pub(super) struct LogScan<'a> {
    pub(super) place: &'a LogPlace,
    pub(super) hint: Option<&'a LogCheckpoint>,
    pub(super) gaps: &'a [Gap],
    /// A broker is at work: nothing is said about the end.
    pub(super) is_live: bool,
    pub(super) report: &'a mut VerifyReport,
    pub(super) visit: &'a mut dyn Visit,
    pub(super) progress: &'a dyn Fn(u64),
    pub(super) scanned: Scanned,
}

/// A segment that is being read.
pub(super) struct Segment<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a dyn DiskFile,
    pub(super) base: Offset,
    /// Where the next segment begins; `None` for the active one.
    pub(super) next: Option<Offset>,
    pub(super) bytes: u64,
}

impl LogScan<'_> {
    /// Scans the log. A log whose directory does not exist and of which nothing speaks is empty.
    pub(super) fn run(mut self) -> Result<Scanned, LogError> {
        let mut bases = self.list()?;
        let first = bases.first().copied();
        let start = self.hint.map(|hint| hint.log_start).or(first);
        let start = start.unwrap_or(Offset::ZERO);
        self.scanned.log_start = start;
        self.scanned.log_end = start;
        while let [base, next, ..] = bases.as_slice()
            && *next <= start
        {
            self.note(&self.path(*base), *base, Remark::ToBeDeleted);
            bases.remove(0);
        }
        let durable_end = self.hint.map_or(Offset::ZERO, |hint| hint.durable_end);
        let Some(first) = bases.first().copied() else {
            if durable_end > start && !self.is_live {
                let path = self.path(start);
                self.lost(
                    &path,
                    FilePosition(0),
                    (start, durable_end),
                    &Fault::Missing,
                );
            }
            return Ok(self.scanned);
        };
        let mut chain = Chain {
            log: self.place.id,
            next_offset: start.min(first),
            prev_header_crc: (first == Offset::ZERO).then_some(0),
            append_time: TimestampMs(i64::MIN),
        };
        if first > start {
            chain.next_offset = start;
        } else {
            chain.next_offset = first;
        }
        for (at, base) in bases.iter().enumerate() {
            let next = bases.get(at.saturating_add(1)).copied();
            self.segment(*base, next, &mut chain)?;
        }
        self.scanned.log_end = chain.next_offset;
        Ok(self.scanned)
    }

    fn list(&mut self) -> Result<Vec<Offset>, LogError> {
        let dir = self.place.dir.clone();
        let entries = match self.place.disk.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(|source| LogError::io("list", &dir, source))?,
        };
        let mut bases = Vec::new();
        let mut hints = Vec::new();
        for entry in &entries {
            match file_name::parse(&entry.name) {
                Some((base, FileKind::Log)) => bases.push(base),
                Some((base, FileKind::Index | FileKind::Facets)) => hints.push((base, &entry.name)),
                Some((_, FileKind::OldHeader)) => {}
                None => self.note(&dir.join(&entry.name), Offset::ZERO, Remark::Foreign),
            }
        }
        for (base, name) in hints {
            if !bases.contains(&base) && !self.is_live {
                self.note(&dir.join(name), base, Remark::StaleHint);
            }
        }
        Ok(bases)
    }

    fn segment(
        &mut self,
        base: Offset,
        next: Option<Offset>,
        chain: &mut Chain,
    ) -> Result<(), LogError> {
        let path = self.path(base);
        if chain.next_offset < base {
            let missing = self.path(chain.next_offset);
            let range = (chain.next_offset, base);
            self.lost(&missing, FilePosition(0), range, &Fault::Missing);
            chain.prev_header_crc = None;
        }
        let file = match self.place.disk.open(&path, OpenMode::Read) {
            Err(error) if self.is_live && error.kind() == io::ErrorKind::NotFound => {
                self.note(&path, base, Remark::Gone);
                (chain.next_offset, chain.prev_header_crc) = (next.unwrap_or(base), None);
                return Ok(());
            }
            opened => opened.map_err(|source| LogError::io("open", &path, source))?,
        };
        let bytes = file
            .byte_count()
            .map_err(|source| LogError::io("measure", &path, source))?;
        let segment = Segment {
            path: &path,
            file: file.as_ref(),
            base,
            next,
            bytes,
        };
        chain.next_offset = base;
        self.report.counts.segments = self.report.counts.segments.saturating_add(1);
        let walked = self.header(&segment, chain).and_then(|goes_on| {
            if goes_on {
                self.batches(&segment, chain)
            } else {
                Ok(())
            }
        });
        match walked {
            // A roll has just cut the file to its data.
            Err(LogError::Io { source, .. })
                if self.is_live && source.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Ok(())
            }
            walked => walked,
        }
    }

    /// Goes over the batches of a segment; `chain` is moved behind it.
    fn batches(&mut self, segment: &Segment<'_>, chain: &mut Chain) -> Result<(), LogError> {
        let base = segment.base;
        let start = FilePosition(SEGMENT_HEADER_BYTES_U64.min(segment.bytes));
        let limit = FilePosition(segment.bytes);
        let mut walker = Walker::new(segment.file, start, limit, *chain, FilePosition(0));
        let mut index = Index::default();
        let mut extent = Extent {
            base_offset: base,
            end_offset: base,
            end: start,
            first_append_time: chain.append_time,
            last_append_time: chain.append_time,
            last_header_crc: chain.prev_header_crc.unwrap_or(0),
        };
        let mut is_whole = true;
        loop {
            let step = walker.step().map_err(|source| failed(segment, source))?;
            match step {
                Step::Batch { header, position } => {
                    if segment.next.is_some_and(|next| header.next_offset() > next) {
                        let range = (header.base_offset, header.next_offset());
                        self.wrong_at(segment.path, position, range, Fault::Overlap);
                        is_whole = false;
                        break;
                    }
                    index.note(base, header.base_offset, position, header.append_time);
                    if extent.end_offset == base {
                        extent.first_append_time = header.append_time;
                    }
                    extent.last_append_time = header.append_time;
                    extent.last_header_crc = header.header_crc;
                    extent.end_offset = header.next_offset();
                    self.batch(segment, &mut walker, &header, position)?;
                }
                Step::End => {
                    is_whole &= self.ended(segment, &mut walker);
                    break;
                }
                Step::Bad(reason) => {
                    is_whole = false;
                    if !self.bad(segment, &mut walker, reason)? {
                        break;
                    }
                }
            }
        }
        extent.end = walker.position();
        *chain = *walker.chain();
        if let Some(next) = segment.next {
            if !is_whole {
                chain.prev_header_crc = None;
            }
            chain.next_offset = next;
            hints::index(self.place, self.report, (&index, &extent), is_whole)?;
            self.visit.sealed(base, is_whole, self.report);
        }
        Ok(())
    }

    fn batch(
        &mut self,
        segment: &Segment<'_>,
        walker: &mut Walker<'_>,
        header: &BatchHeader,
        position: FilePosition,
    ) -> Result<(), LogError> {
        let body = walker
            .body(header, position)
            .map_err(|source| LogError::io("read", segment.path, source))?;
        let counts = &mut self.report.counts;
        counts.batches = counts.batches.saturating_add(1);
        counts.bytes = counts.bytes.saturating_add(u64::from(header.length));
        counts.records = counts
            .records
            .saturating_add(u64::from(header.record_count));
        (self.progress)(u64::from(header.length));
        let decoded = unpack(header, body, UNPACKED_BYTES_MAX).and_then(|section| {
            for record in Records::new(header, &section) {
                record?;
            }
            Ok(section)
        });
        let taken = match &decoded {
            Err(reason) => Err(Fault::Undecodable(reason.clone())),
            Ok(section) => {
                let found = Found {
                    header,
                    body,
                    section,
                    segment: segment.base,
                };
                self.visit.batch(&found, self.report)
            }
        };
        if let Err(fault) = taken {
            let range = (header.base_offset, header.next_offset());
            self.wrong_at(segment.path, position, range, fault);
        }
        Ok(())
    }
}

pub(super) fn failed(segment: &Segment<'_>, source: io::Error) -> LogError {
    LogError::io("read", segment.path, source)
}
