//! Looking at the letters of a partition without its owner: a snapshot of which are live, over the log as it is now.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use roaring::RoaringBitmap;

use super::facets::FacetCounts;
use super::letter::DeadLetter;
use super::live::{LiveCounts, LiveSet};
use super::marker::Marker;
use super::places::{Places, absolute, relative};
use super::select::{LetterFilter, Order};
use crate::batch::Record;
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// The letters of a partition, as they were when the view was made.
#[derive(Debug, Clone)]
pub struct DeadLetterView {
    reader: LogReader,
    live: Arc<LiveSet>,
    places: Arc<RwLock<Places>>,
}

/// Reads letters one after the other, each batch once.
struct LetterReader<'a> {
    reader: &'a LogReader,
    base: Offset,
    records: Vec<Record>,
}

impl DeadLetterView {
    pub(super) fn new(reader: LogReader, live: Arc<LiveSet>, places: Arc<RwLock<Places>>) -> Self {
        Self {
            reader,
            live,
            places,
        }
    }

    /// Returns the reader of the log.
    #[must_use]
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Returns how many letters there were and what became of them.
    #[must_use]
    pub fn counts(&self) -> LiveCounts {
        self.live.counts()
    }

    /// Returns how many letters are live.
    #[must_use]
    pub fn live_count(&self) -> u64 {
        self.live.live_count()
    }

    /// Returns whether a letter is live.
    #[must_use]
    pub fn is_live(&self, letter: Offset) -> bool {
        self.live.contains(letter)
    }

    /// Takes letters out of the view: they are shown as live no more.
    pub fn hide(&mut self, letters: &HashSet<Offset>) {
        if !letters.is_empty() {
            let live = Arc::make_mut(&mut self.live);
            for letter in letters {
                live.hide(*letter);
            }
        }
    }

    /// Returns a letter, live or not; `None` when no durable letter stands at the offset.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn get(&self, letter: Offset) -> Result<Option<DeadLetter>, LogError> {
        if letter >= self.reader.durable_end() {
            Ok(None)
        } else {
            self.get_written(letter)
        }
    }

    /// As [`DeadLetterView::get`], whether or not the letter is durable yet.
    pub(super) fn get_written(&self, letter: Offset) -> Result<Option<DeadLetter>, LogError> {
        LetterReader::new(&self.reader).read(letter)
    }

    /// Returns the marker that resolved a letter, while the letter's segment stands.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn resolution_of(&self, letter: Offset) -> Result<Option<Marker>, LogError> {
        if letter < self.reader.log_start() {
            // A marker may outlive its letter's segment, and says nothing then.
            return Ok(None);
        }
        let Some(offset) = self.places.read().marker_of(letter) else {
            return Ok(None);
        };
        let mut reader = LetterReader::new(&self.reader);
        let record = reader.record(offset)?;
        Ok(record.and_then(|record| Marker::decode(record.value.as_deref()?).ok()))
    }

    /// Calls `visit` with each live durable letter that `filter` matches, from `from` up to `to` (exclusive), in the given
    /// order of offsets, until it returns false. Segments that the facets rule out are not read.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn visit(
        &self,
        filter: &LetterFilter,
        order: Order,
        (from, to): (Offset, Offset),
        visit: &mut dyn FnMut(Offset, DeadLetter) -> bool,
    ) -> Result<(), LogError> {
        let to = to.min(self.reader.durable_end());
        let mut bases: Vec<_> = self.live.bases().collect();
        if order == Order::NewestFirst {
            bases.reverse();
        }
        let mut letters = LetterReader::new(&self.reader);
        for base in bases {
            let (found, is_exact) = self.candidates(base, filter, (from, to));
            let mut offsets: Vec<_> = found.iter().map(|at| absolute(base, at)).collect();
            if order == Order::NewestFirst {
                offsets.reverse();
            }
            for offset in offsets {
                let Some(letter) = letters.read(offset)? else {
                    continue;
                };
                if (is_exact || filter.matches(&letter)) && !visit(offset, letter) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Counts the live durable letters that `filter` matches.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn count(&self, filter: &LetterFilter, now: TimestampMs) -> Result<FacetCounts, LogError> {
        let mut counts = FacetCounts::default();
        let mut letters = LetterReader::new(&self.reader);
        let range = (Offset::ZERO, self.reader.durable_end());
        for base in self.live.bases() {
            let (mut found, is_exact) = self.candidates(base, filter, range);
            if !is_exact {
                for at in found.clone() {
                    let letter = letters.read(absolute(base, at))?;
                    if !letter.is_some_and(|letter| filter.matches(&letter)) {
                        found.remove(at);
                    }
                }
            }
            if let Some(facets) = self.places.read().segment(base) {
                counts.merge(facets.counts(&found, now));
            }
        }
        Ok(counts)
    }

    /// Returns the live letters of a segment within a range that `filter` may match, and whether it surely does.
    fn candidates(
        &self,
        base: Offset,
        filter: &LetterFilter,
        (from, to): (Offset, Offset),
    ) -> (RoaringBitmap, bool) {
        let Some(live) = self.live.segment(base) else {
            return (RoaringBitmap::new(), true);
        };
        let (mut found, is_exact) = self.places.read().candidates(base, filter, live);
        let first = relative(from.max(base), base);
        let end = to
            .since(base)
            .map(|end| u32::try_from(end).unwrap_or(u32::MAX));
        match (first, end) {
            (Some(first), Some(end)) => {
                found.remove_range(..first);
                found.remove_range(end..);
            }
            _ => found.clear(),
        }
        (found, is_exact)
    }
}

impl<'a> LetterReader<'a> {
    fn new(reader: &'a LogReader) -> Self {
        Self {
            reader,
            base: Offset::ZERO,
            records: Vec::new(),
        }
    }

    fn read(&mut self, offset: Offset) -> Result<Option<DeadLetter>, LogError> {
        let record = self.record(offset)?;
        Ok(record.and_then(|record| DeadLetter::decode(record.value.as_deref()?).ok()))
    }

    /// Returns the record at an offset; `None` when the log does not hold it (any more).
    fn record(&mut self, offset: Offset) -> Result<Option<&Record>, LogError> {
        let held = offset
            .since(self.base)
            .and_then(|at| usize::try_from(at).ok());
        if held.is_none_or(|at| at >= self.records.len()) {
            let batch = match self.reader.batch_at(offset, ReadBound::LogEnd) {
                Err(LogError::OffsetOutOfRange { .. }) => return Ok(None),
                batch => batch?,
            };
            self.base = batch.header().base_offset;
            self.records = batch
                .records(BATCH_BYTES_CEILING)
                .map_err(|reason| self.reader.undecodable(self.base, reason))?;
        }
        let at = offset
            .since(self.base)
            .and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| self.records.get(at)))
    }
}
