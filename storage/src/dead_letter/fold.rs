//! Folding a dead-letter log: which letters are live, and where letters and markers stand.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::letter::{DeadLetter, LETTER_KIND};
use super::log::DeadLetterLog;
use super::marker::{MARKER_KIND, Marker};
use crate::batch::header::BatchHeader;
use crate::batch::{Records, unpack};
use crate::error::{Corruption, LogError};
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::ReadBound;
use crate::offset::Offset;

/// One entry of the log.
enum Entry {
    Letter(Box<DeadLetter>),
    Marker(Marker),
}

impl DeadLetterLog {
    /// Folds the log into the live set, from `folded_to` on, and opens or rebuilds the facets of each segment.
    pub(super) fn fold(&mut self, folded_to: Offset) -> Result<(), LogError> {
        let segments = self.log.reader().segments();
        for segment in segments {
            let (base, end) = (segment.base_offset, segment.end_offset);
            let has_facets =
                segment.is_sealed && self.places.write().open_sealed(&self.place, base, end);
            let from = if has_facets {
                base.max(folded_to)
            } else {
                base
            };
            self.fold_segment((from, end), has_facets, folded_to)?;
            if segment.is_sealed && !has_facets {
                self.facets_task(base).run();
            }
        }
        Ok(())
    }

    /// Folds the entries of one segment: into its facets unless it `has_facets`, into the live set from `folded_to` on.
    fn fold_segment(
        &mut self,
        (from, end): (Offset, Offset),
        has_facets: bool,
        folded_to: Offset,
    ) -> Result<(), LogError> {
        let reader = self.log.reader();
        let mut next = from.max(reader.log_start());
        while next < end {
            let mut undecodable = None;
            let scanned = reader.scan(next, ReadBound::LogEnd, &mut |header, body| {
                if header.base_offset >= end {
                    return ControlFlow::Break(());
                }
                match entries(header, body) {
                    Ok(entries) => {
                        self.fold_entries(
                            (header.base_offset, from),
                            entries,
                            has_facets,
                            folded_to,
                        );
                        ControlFlow::Continue(())
                    }
                    Err(reason) => {
                        undecodable = Some(reader.undecodable(header.base_offset, reason));
                        ControlFlow::Break(())
                    }
                }
            });
            if let Some(error) = undecodable {
                return Err(error);
            }
            match scanned {
                // Letters in a damaged range cannot be read; those behind it can.
                Err(LogError::Corrupt { to, .. }) if to > next && to < reader.log_end() => {
                    next = to;
                }
                Err(LogError::Corrupt { .. }) | Ok(()) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fold_entries(
        &mut self,
        (base, from): (Offset, Offset),
        entries: Vec<Entry>,
        has_facets: bool,
        folded_to: Offset,
    ) {
        for (at, entry) in (0u64..).zip(entries) {
            let offset = Offset(base.0.saturating_add(at));
            if offset < from {
                continue;
            }
            let segment = self.log.segment_base_of(offset);
            let is_new = offset >= folded_to;
            match entry {
                Entry::Letter(letter) => {
                    if is_new {
                        let live = Arc::make_mut(&mut self.live);
                        live.begin_segment(segment);
                        live.insert(offset);
                    }
                    if !has_facets {
                        self.places.write().add_letter(segment, offset, &letter);
                    }
                }
                Entry::Marker(marker) => {
                    if is_new {
                        Arc::make_mut(&mut self.live).resolve(marker.letter, marker.resolution);
                    }
                    if !has_facets {
                        self.places
                            .write()
                            .add_marker(segment, offset, marker.letter);
                    }
                }
            }
        }
    }
}

/// Decodes a batch of the log.
fn entries(header: &BatchHeader, body: &[u8]) -> Result<Vec<Entry>, Corruption> {
    let section = unpack(header, body, BATCH_BYTES_CEILING)?;
    Records::new(header, &section)
        .map(|record| {
            let value = record?.value.unwrap_or_default();
            match value.first() {
                Some(&LETTER_KIND) => Ok(Entry::Letter(Box::new(DeadLetter::decode(value)?))),
                Some(&MARKER_KIND) => Ok(Entry::Marker(Marker::decode(value)?)),
                other => Err(Corruption::Field {
                    field: "entry kind",
                    value: u64::from(other.copied().unwrap_or_default()),
                }),
            }
        })
        .collect()
}
