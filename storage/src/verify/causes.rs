//! The main log against the dead-letter log: every republished record has its letter and its marker, or the marker is due.

use std::collections::{BTreeMap, HashSet};

use super::letters::Letters;
use super::report::{Fault, Finding, Note, Remark, VerifyReport};
use super::scan::{Found, Scanned, Visit};
use crate::batch::Records;
use crate::cause::{CAUSE_HEADER, Cause, CauseKind};
use crate::log::LogPlace;
use crate::log_id::LogId;
use crate::offset::{FilePosition, Offset};

/// The dead-letter log, as it was read before.
pub(super) struct LetterSide<'a> {
    pub(super) log: LogId,
    pub(super) letters: Letters<'a>,
    pub(super) scanned: Scanned,
}

/// Checks the causes of a main log.
pub(super) struct Causes<'a> {
    /// `None` when the partition has no dead-letter log.
    pub(super) side: Option<LetterSide<'a>>,
    /// Letters whose marker names the record that was met.
    met: HashSet<Offset>,
    /// Letters without a marker, by the record that came of them.
    due: BTreeMap<Offset, Offset>,
    due_count: u64,
    /// Every cause below this has its marker, says the checkpoint.
    settled_up_to: Offset,
    is_live: bool,
}

impl<'a> Causes<'a> {
    pub(super) fn new(side: Option<LetterSide<'a>>, settled_up_to: Offset, is_live: bool) -> Self {
        Self {
            side,
            met: HashSet::new(),
            due: BTreeMap::new(),
            due_count: 0,
            settled_up_to,
            is_live,
        }
    }

    fn cause(&mut self, cause: &Cause, target: Offset) -> Result<(), Fault> {
        let letter = cause.offset;
        let Some(side) = self.side.as_ref().filter(|side| side.log == cause.log) else {
            return if cause.log.kind == crate::log_id::LogKind::DeadLetter && self.side.is_none() {
                Err(Fault::UnknownLetter { letter })
            } else {
                Ok(())
            };
        };
        let is_readable = letter >= side.scanned.log_start && !side.scanned.is_skipped(letter);
        if !is_readable || (self.is_live && letter >= side.scanned.log_end) {
            return Ok(());
        }
        if let Some((_, marked)) = side.letters.republished.get(&letter) {
            return if *marked == target && self.met.insert(letter) {
                Ok(())
            } else {
                Err(Fault::RepublishedTwice { letter })
            };
        }
        if side.letters.deleted.contains(&letter) {
            return Err(Fault::RepublishedDeleted { letter });
        }
        if !side.letters.live.contains(letter) {
            return Err(Fault::UnknownLetter { letter });
        }
        if self.due.insert(letter, target).is_some() {
            return Err(Fault::RepublishedTwice { letter });
        }
        if target < self.settled_up_to {
            return Err(Fault::MarkerMissing { letter });
        }
        self.due_count = self.due_count.saturating_add(1);
        Ok(())
    }

    /// Ends the check: markers that are left name records that were not met.
    pub(super) fn finish(self, place: &LogPlace, main: &Scanned, report: &mut VerifyReport) {
        if self.due_count > 0 {
            report.note(Note {
                path: place.dir.clone(),
                log: Some(place.id),
                offset: self.due.values().min().copied().unwrap_or_default(),
                what: Remark::MarkersDue {
                    count: self.due_count,
                },
            });
        }
        let Some(side) = self.side else { return };
        for (letter, (partition, target)) in side.letters.republished {
            let is_met = self.met.contains(&letter);
            let is_readable = target >= main.log_start && !main.is_skipped(target);
            // In use, retention may have passed the record meanwhile.
            if is_met || partition != place.id.partition || !is_readable || self.is_live {
                continue;
            }
            report.find(Finding {
                path: place.dir.clone(),
                position: FilePosition(0),
                log: Some(side.log),
                from: letter,
                to: letter.next(),
                what: Fault::RecordMissing { letter, target },
            });
        }
    }
}

impl Visit for Causes<'_> {
    fn batch(&mut self, found: &Found<'_>, _report: &mut VerifyReport) -> Result<(), Fault> {
        if !found.header.attributes.holds_causes {
            return Ok(());
        }
        for (at, record) in (0u64..).zip(Records::new(found.header, found.section)) {
            let record = record.map_err(Fault::Undecodable)?;
            let Some(Some(value)) = record.headers.get(CAUSE_HEADER) else {
                continue;
            };
            let cause = Cause::decode(value).map_err(Fault::Undecodable)?;
            if cause.kind == CauseKind::Republish {
                let target = Offset(found.header.base_offset.0.saturating_add(at));
                self.cause(&cause, target)?;
            }
        }
        Ok(())
    }
}
