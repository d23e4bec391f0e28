//! What a scan says where a segment does not go on: its end, a torn tail, damage, a gap that was given up.

use std::path::{Path, PathBuf};

use super::report::{Fault, Finding, Note, Remark};
use super::scan::{LogScan, Segment, failed};
use crate::error::{Corruption, LogError};
use crate::offset::{FilePosition, Offset};
use crate::segment::file_name::{self, FileKind};
use crate::segment::{Chain, Tail, Walker, examine_tail};

impl LogScan<'_> {
    /// Looks at the end of a file exactly behind a batch. Returns whether all of the segment was there.
    pub(super) fn ended(&mut self, segment: &Segment<'_>, walker: &mut Walker<'_>) -> bool {
        let end = walker.chain().next_offset;
        let expected = match segment.next {
            Some(next) => next,
            None if self.is_live => end,
            None => {
                let given_up = self.gap_end(end).unwrap_or(end);
                let durable = self.hint.map_or(end, |hint| hint.durable_end);
                durable.max(given_up).max(end)
            }
        };
        if end < expected {
            let range = (end, expected);
            self.lost(segment.path, walker.position(), range, &Fault::EndsEarly);
            walker.jump(walker.position(), expected);
        }
        end == expected
    }

    /// Decides about bytes that do not verify. Returns whether the walker goes on behind them.
    pub(super) fn bad(
        &mut self,
        segment: &Segment<'_>,
        walker: &mut Walker<'_>,
        reason: Corruption,
    ) -> Result<bool, LogError> {
        let (position, expected) = (walker.position(), walker.chain().next_offset);
        if segment.next.is_none() && self.is_live {
            return Ok(false);
        }
        let tail = tail(segment, position, walker.chain())?;
        let end = match segment.next {
            Some(next) if next == expected => {
                self.wrong_at(segment.path, position, (next, next), Fault::Trailing);
                return Ok(false);
            }
            Some(next) => next,
            None => {
                let given_up = self.gap_end(expected).unwrap_or(expected);
                let is_passed = tail
                    .next
                    .is_some_and(|(_, header)| header.base_offset <= given_up);
                // Without its header a start takes a segment that was used for damaged, and cuts nothing of its beginning.
                let is_kept = expected == segment.base
                    && given_up == expected
                    && walker.chain().prev_header_crc.is_none()
                    && tail.next.is_some();
                if self.durable(&tail) <= given_up && !is_passed && !is_kept {
                    self.torn(segment, walker, given_up, &tail);
                    return Ok(false);
                }
                self.durable(&tail).max(tail.end_offset).max(given_up)
            }
        };
        let next = tail
            .next
            .filter(|(_, header)| segment.next.is_none_or(|next| header.base_offset < next));
        let to = next.map_or(end, |(_, header)| header.base_offset);
        self.lost(
            segment.path,
            position,
            (expected, to),
            &Fault::Unreadable(reason),
        );
        walker.jump(next.map_or(position, |(position, _)| position), to);
        Ok(next.is_some())
    }

    pub(super) fn torn(
        &mut self,
        segment: &Segment<'_>,
        walker: &mut Walker<'_>,
        end: Offset,
        tail: &Tail,
    ) {
        let position = walker.position();
        let expected = walker.chain().next_offset;
        if expected < end {
            let range = (expected, end);
            self.lost(segment.path, position, range, &Fault::EndsEarly);
            walker.jump(position, end);
        }
        if !tail.is_zero {
            let bytes = segment.bytes.saturating_sub(position.0);
            self.note(segment.path, end, Remark::TornTail { position, bytes });
        }
    }

    /// Returns the first offset of which nothing says that it was durable.
    pub(super) fn durable(&self, tail: &Tail) -> Offset {
        let hinted = self.hint.map_or(Offset::ZERO, |hint| hint.durable_end);
        hinted.max(tail.durable_up_to)
    }

    pub(super) fn path(&self, base: Offset) -> PathBuf {
        file_name::path(&self.place.dir, base, FileKind::Log)
    }

    /// Returns the end of the gap that holds `offset`, if one does.
    pub(super) fn gap_end(&self, offset: Offset) -> Option<Offset> {
        self.gaps
            .iter()
            .find(|gap| gap.from <= offset && offset < gap.to)
            .map(|gap| gap.to)
    }

    /// Notes offsets that cannot be read: what of them was not given up is damage.
    pub(super) fn lost(
        &mut self,
        path: &Path,
        position: FilePosition,
        (from, to): (Offset, Offset),
        fault: &Fault,
    ) {
        self.visit.skipped(from, to);
        self.scanned.skipped.push((from, to));
        let mut next = from;
        let mut given_up = 0u64;
        while next < to {
            if let Some(end) = self.gap_end(next) {
                let end = end.min(to);
                given_up = given_up.saturating_add(end.since(next).unwrap_or(0));
                next = end;
                continue;
            }
            let begins = self.gaps.iter().map(|gap| gap.from);
            let end = begins.filter(|from| *from > next).min();
            let end = end.unwrap_or(to).min(to);
            self.scanned.is_damaged = true;
            self.wrong_at(path, position, (next, end), fault.clone());
            next = end;
        }
        if given_up > 0 {
            self.note(path, from, Remark::GivenUp { count: given_up });
        }
    }

    /// Notes something wrong at the start of a segment that costs no offset, unless an operator has given it up.
    pub(super) fn wrong(&mut self, path: &Path, base: Offset, fault: Fault) {
        if self.gap_end(base).is_none() {
            self.wrong_at(path, FilePosition(0), (base, base), fault);
        }
    }

    pub(super) fn wrong_at(
        &mut self,
        path: &Path,
        position: FilePosition,
        (from, to): (Offset, Offset),
        what: Fault,
    ) {
        self.report.find(Finding {
            path: path.to_path_buf(),
            position,
            log: Some(self.place.id),
            from,
            to,
            what,
        });
    }

    pub(super) fn note(&mut self, path: &Path, offset: Offset, what: Remark) {
        self.report.note(Note {
            path: path.to_path_buf(),
            log: Some(self.place.id),
            offset,
            what,
        });
    }
}

/// Looks behind the first bytes that do not verify: see [`examine_tail`].
pub(super) fn tail(
    segment: &Segment<'_>,
    from: FilePosition,
    expected: &Chain,
) -> Result<Tail, LogError> {
    let limit = FilePosition(segment.bytes);
    examine_tail(segment.file, from, limit, expected).map_err(|source| failed(segment, source))
}
