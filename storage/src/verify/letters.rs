//! The entries of a dead-letter log: each letter and marker decodes, and the hints of the live set and of the facets are
//! what the log folds to.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::hints;
use super::report::{Fault, Finding, Note, Remark, VerifyReport};
use super::scan::{Found, Scanned, Visit};
use crate::batch::Records;
use crate::checkpoint::LogCheckpoint;
use crate::dead_letter::facets::{Facets, FacetsBuilder};
use crate::dead_letter::letter::LETTER_KIND;
use crate::dead_letter::live::LiveSet;
use crate::dead_letter::marker::MARKER_KIND;
use crate::dead_letter::{DeadLetter, Marker, Receiver, Resolution};
use crate::disk::MappedBytes;
use crate::error::{Corruption, LogError};
use crate::log::LogPlace;
use crate::log_id::PartitionNumber;
use crate::offset::{FilePosition, Offset};
use crate::segment::file_name::{self, FileKind};

/// What a dead-letter log folds to.
pub(super) struct Letters<'a> {
    place: &'a LogPlace,
    hint: Option<&'a LogCheckpoint>,
    /// Letters that no marker names yet.
    pub(super) live: LiveSet,
    /// The live set at the end of the hint.
    live_at_hint: Option<LiveSet>,
    /// Records that letters were republished as, by letter.
    pub(super) republished: BTreeMap<Offset, (PartitionNumber, Offset)>,
    pub(super) deleted: HashSet<Offset>,
    /// The records that pushed letters came from.
    pub(super) sources: HashMap<Offset, Offset>,
    facets: FacetsBuilder,
    failure: Option<LogError>,
    is_live: bool,
}

impl<'a> Letters<'a> {
    pub(super) fn new(place: &'a LogPlace, hint: Option<&'a LogCheckpoint>, is_live: bool) -> Self {
        Self {
            place,
            hint,
            live: LiveSet::default(),
            live_at_hint: None,
            republished: BTreeMap::new(),
            deleted: HashSet::new(),
            sources: HashMap::new(),
            facets: FacetsBuilder::new(Offset::ZERO),
            failure: None,
            is_live,
        }
    }

    fn entry(
        &mut self,
        found: &Found<'_>,
        offset: Offset,
        value: &[u8],
    ) -> Result<bool, Corruption> {
        let relative = offset.since(found.segment).unwrap_or(0);
        let relative = u32::try_from(relative).unwrap_or(u32::MAX);
        match value.first() {
            Some(&LETTER_KIND) => {
                let letter = DeadLetter::decode(value)?;
                self.live.begin_segment(found.segment);
                self.live.insert(offset);
                if matches!(letter.receiver, Receiver::Destination(_)) {
                    self.sources.insert(offset, letter.source.offset);
                }
                self.facets.add_letter(relative, &letter);
                Ok(true)
            }
            Some(&MARKER_KIND) => {
                let marker = Marker::decode(value)?;
                self.facets.add_marker(relative, marker.letter);
                if self.live.resolve(marker.letter, marker.resolution) {
                    match marker.resolution {
                        Resolution::Republished { partition, offset } => {
                            self.republished.insert(marker.letter, (partition, offset));
                        }
                        Resolution::Deleted => {
                            self.deleted.insert(marker.letter);
                        }
                    }
                }
                Ok(false)
            }
            other => Err(Corruption::Field {
                field: "entry kind",
                value: u64::from(other.copied().unwrap_or_default()),
            }),
        }
    }

    /// Ends the fold: compares the live set of the checkpoint, unless some of the log cannot be read.
    pub(super) fn finish(
        &mut self,
        scanned: &Scanned,
        report: &mut VerifyReport,
    ) -> Result<(), LogError> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let Some(hint) = self.hint.filter(|hint| !hint.state.is_empty()) else {
            return Ok(());
        };
        if scanned.log_end == hint.durable_end && self.live_at_hint.is_none() {
            self.live_at_hint = Some(self.live.clone());
        }
        let Some(folded) = self.live_at_hint.take().filter(|_| !scanned.is_damaged) else {
            return Ok(());
        };
        let path = self.place.dir.clone();
        let log = Some(self.place.id);
        match LiveSet::decode(&hint.state) {
            Err(reason) => report.note(Note {
                path,
                log,
                offset: hint.durable_end,
                what: Remark::HintRebuilt(reason),
            }),
            Ok(hinted) if hinted.is_same_from(&folded, hint.log_start) => {}
            Ok(_) => report.find(Finding {
                path,
                position: FilePosition(0),
                log,
                from: hint.log_start,
                to: hint.durable_end,
                what: Fault::LiveSetDiffers,
            }),
        }
        Ok(())
    }

    fn compare_facets(&mut self, base: Offset, report: &mut VerifyReport) -> Result<(), LogError> {
        let path = file_name::path(&self.place.dir, base, FileKind::Facets);
        let Some(bytes) = hints::read(self.place, &path)? else {
            return Ok(());
        };
        let log = Some(self.place.id);
        match Facets::open(MappedBytes::Owned(bytes.clone())) {
            // It may be under way.
            Err(_) if self.is_live => {}
            Err(reason) => report.note(Note {
                path,
                log,
                offset: base,
                what: Remark::HintRebuilt(reason),
            }),
            Ok(_) if bytes == self.facets.finish() => {}
            Ok(facets) => report.find(Finding {
                path,
                position: FilePosition(0),
                log,
                from: base,
                to: Offset(base.0.saturating_add(u64::from(facets.end()))),
                what: Fault::FacetsDiffer,
            }),
        }
        Ok(())
    }
}

impl Visit for Letters<'_> {
    fn batch(&mut self, found: &Found<'_>, report: &mut VerifyReport) -> Result<(), Fault> {
        if self.facets.base() != found.segment {
            self.facets = FacetsBuilder::new(found.segment);
        }
        if let Some(hint) = self.hint
            && self.live_at_hint.is_none()
            && found.header.base_offset >= hint.durable_end
        {
            self.live_at_hint = Some(self.live.clone());
        }
        for (at, record) in (0u64..).zip(Records::new(found.header, found.section)) {
            let value = record
                .map_err(Fault::Undecodable)?
                .value
                .unwrap_or_default();
            let offset = Offset(found.header.base_offset.0.saturating_add(at));
            let is_letter = self
                .entry(found, offset, value)
                .map_err(Fault::Undecodable)?;
            let counts = &mut report.counts;
            if is_letter {
                counts.letters = counts.letters.saturating_add(1);
            } else {
                counts.markers = counts.markers.saturating_add(1);
            }
        }
        Ok(())
    }

    fn sealed(&mut self, base: Offset, is_whole: bool, report: &mut VerifyReport) {
        if self.facets.base() != base {
            self.facets = FacetsBuilder::new(base);
        }
        if is_whole && let Err(error) = self.compare_facets(base, report) {
            self.failure.get_or_insert(error);
        }
    }
}
