//! Looking at the letters of a partition without its owner: a snapshot of which are live, over the log as it is now.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use roaring::{RoaringBitmap, RoaringTreemap};

use super::facets::FacetCounts;
use super::letter::DeadLetter;
use super::live::{LiveCounts, LiveSet};
use super::marker::Marker;
use super::places::{Places, absolute, relative};
use super::select::{LetterFilter, Order};
use crate::batch::Batch;
use crate::buffers::Buffers;
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// A letter and where it stands. A page of them is handed on several times.
pub type PlacedLetter = (Offset, Box<DeadLetter>);

/// The letters of a partition, as they were when the view was made.
#[derive(Debug, Clone)]
pub struct DeadLetterView {
    reader: LogReader,
    live: Arc<LiveSet>,
    places: Arc<RwLock<Places>>,
    /// Letters that are shown as live no more, though the live set has them.
    hidden: Arc<RoaringTreemap>,
    /// Where letters are read into that may share the bytes of what is read at once.
    shared: Option<Arc<Buffers>>,
}

/// Reads letters one after the other, each batch once, and more and more of them at a time as long as they stand close.
struct LetterReader<'a> {
    reader: &'a LogReader,
    base: Offset,
    /// The values of what was read last: letters and markers have no more.
    values: Vec<Option<Bytes>>,
    /// Whether letters share the bytes of what was read last.
    is_shared: bool,
    /// Bytes of the largest buffer that a read may have been given.
    largest: usize,
    buffers: Arc<Buffers>,
    /// Bytes that were read last, at least a batch.
    ahead: u64,
}

/// Bytes that are read at once where one letter after the other is wanted: first, and at most. What is read stays in the
/// processor's cache until it is used, and where a page ends little was read for nothing.
const AHEAD_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=256 << 10;
/// Bytes of a reader's own buffers that wait for its next read. They go with it: there may be a thousand partitions.
const BUFFERS_BYTES_MAX: usize = 2 << 20;
/// A letter that stands so near behind what was read is likely to be followed by more.
const NEAR: u64 = 16;
/// So many letters tell whether most of those that follow are wanted.
const RUN: u64 = 64;

impl DeadLetterView {
    /// Makes a store of buffers for [`DeadLetterView::sharing`], which keeps at most `bytes_max` bytes that nobody uses.
    #[must_use]
    pub fn buffers(bytes_max: usize) -> Arc<Buffers> {
        let each_max = usize::try_from(*AHEAD_BYTES.end()).unwrap_or(usize::MAX);
        Buffers::of_size(each_max, bytes_max)
    }

    pub(super) fn new(reader: LogReader, live: Arc<LiveSet>, places: Arc<RwLock<Places>>) -> Self {
        Self {
            reader,
            live,
            places,
            hidden: Arc::default(),
            shared: None,
        }
    }

    /// Returns the view for who needs the letters for a short time: where most of what is read at once is wanted, they share its
    /// bytes, which go back to `buffers` when none of them is left.
    #[must_use]
    pub fn sharing(self, buffers: &Arc<Buffers>) -> Self {
        Self {
            shared: Some(Arc::clone(buffers)),
            ..self
        }
    }

    /// Returns the view without these letters: they are shown as live no more.
    #[must_use]
    pub(crate) fn without(self, hidden: Arc<RoaringTreemap>) -> Self {
        Self { hidden, ..self }
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
        let hidden = self.hidden.iter().map(Offset);
        let hidden = hidden.filter(|letter| self.live.contains(*letter)).count();
        let hidden = u64::try_from(hidden).unwrap_or(u64::MAX);
        self.live.live_count().saturating_sub(hidden)
    }

    /// Returns whether a letter is live.
    #[must_use]
    pub fn is_live(&self, letter: Offset) -> bool {
        self.live.contains(letter) && !self.hidden.contains(letter.0)
    }

    /// Returns a letter, live or not; `None` when no durable letter stands at the offset.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn get(&self, letter: Offset) -> Result<Option<Box<DeadLetter>>, LogError> {
        if letter >= self.reader.durable_end() {
            Ok(None)
        } else {
            self.get_written(letter)
        }
    }

    /// As [`DeadLetterView::get`], whether or not the letter is durable yet.
    pub(super) fn get_written(&self, letter: Offset) -> Result<Option<Box<DeadLetter>>, LogError> {
        LetterReader::new(&self.reader).read(letter, &|_| false)
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
        reader.load(offset, &|_| false)?;
        let value = reader.value(offset);
        Ok(value.and_then(|value| Marker::decode(value).ok()))
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
        visit: &mut dyn FnMut(Offset, Box<DeadLetter>) -> bool,
    ) -> Result<(), LogError> {
        let to = to.min(self.reader.durable_end());
        let mut bases: Vec<_> = self.live.bases_within((from, to)).collect();
        if order == Order::NewestFirst {
            bases.reverse();
        }
        // What is read stands behind a letter: the other way round it was visited already.
        let shared = self.shared.as_ref();
        let shared = shared.filter(|_| order == Order::OldestFirst);
        let mut letters = match shared {
            Some(buffers) => LetterReader::sharing(&self.reader, Arc::clone(buffers)),
            None => LetterReader::new(&self.reader),
        };
        for base in bases {
            let (found, is_exact) = self.candidates(base, filter, (from, to));
            // A page takes a few of them: what stands behind is not looked at.
            let in_order: Box<dyn Iterator<Item = u32>> = match order {
                Order::OldestFirst => Box::new(found.iter()),
                Order::NewestFirst => Box::new(found.iter().rev()),
            };
            for offset in in_order.map(|at| absolute(base, at)) {
                let is_wanted = |offset| {
                    shared.is_some()
                        && is_exact
                        && relative(offset, base).is_some_and(|at| found.contains(at))
                };
                let Some(letter) = letters.read(offset, &is_wanted)? else {
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
                    let letter = letters.read(absolute(base, at), &|_| false)?;
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
                self.remove_hidden(&mut found, base);
            }
            _ => found.clear(),
        }
        (found, is_exact)
    }

    /// Takes the hidden letters out of candidates of a segment: only those in their range are looked at, for a page begins behind
    /// what the pages before have resolved.
    fn remove_hidden(&self, found: &mut RoaringBitmap, base: Offset) {
        let (Some(first), Some(last)) = (found.min(), found.max()) else {
            return;
        };
        let (first, last) = (absolute(base, first).0, absolute(base, last).0);
        let mut hidden = self.hidden.iter();
        hidden.advance_to(first);
        for letter in hidden.take_while(|letter| *letter <= last) {
            if let Some(at) = relative(Offset(letter), base) {
                found.remove(at);
            }
        }
    }
}

impl<'a> LetterReader<'a> {
    fn new(reader: &'a LogReader) -> Self {
        Self {
            reader,
            base: Offset::ZERO,
            values: Vec::new(),
            is_shared: false,
            largest: 0,
            buffers: Buffers::new(BUFFERS_BYTES_MAX),
            ahead: 0,
        }
    }

    /// Reads into buffers of [`DeadLetterView::buffers`], any of which others may have made as large as they get.
    fn sharing(reader: &'a LogReader, buffers: Arc<Buffers>) -> Self {
        Self {
            largest: usize::try_from(*AHEAD_BYTES.end()).unwrap_or(usize::MAX),
            buffers,
            ..Self::new(reader)
        }
    }

    /// Reads a letter. Where most bytes of what is read at once are wanted, letters share them and none is copied; elsewhere a
    /// letter would keep many times its own bytes alive.
    fn read(
        &mut self,
        offset: Offset,
        is_wanted: &dyn Fn(Offset) -> bool,
    ) -> Result<Option<Box<DeadLetter>>, LogError> {
        if self.load(offset, is_wanted)? {
            self.is_shared = self.most_is_wanted(is_wanted);
        }
        let is_shared = self.is_shared;
        let decode = |value: &Bytes| {
            let letter = if is_shared {
                DeadLetter::decode_shared(value)
            } else {
                DeadLetter::decode(value)
            };
            letter.ok().map(Box::new)
        };
        Ok(self.value(offset).and_then(decode))
    }

    fn most_is_wanted(&self, is_wanted: &dyn Fn(Offset) -> bool) -> bool {
        let values = (self.base.0..).zip(&self.values);
        let wanted = values.filter(|(at, _)| is_wanted(Offset(*at)));
        let bytes = wanted.map(|(_, value)| value.as_ref().map_or(0, Bytes::len));
        bytes.fold(0, usize::saturating_add) >= self.largest / 2
    }

    /// Reads what holds an offset unless it was read last. Returns whether it was read now.
    fn load(
        &mut self,
        offset: Offset,
        is_wanted: &dyn Fn(Offset) -> bool,
    ) -> Result<bool, LogError> {
        if self.place(offset).is_some() {
            return Ok(false);
        }
        self.ahead = self.ahead_of(offset, is_wanted);
        match self.read_from(offset) {
            Err(LogError::OffsetOutOfRange { .. }) => Ok(false),
            read => read.map(|()| true),
        }
    }

    /// Returns the value at an offset that was loaded; `None` when the log does not hold one (any more).
    fn value(&self, offset: Offset) -> Option<&Bytes> {
        let at = self.place(offset)?;
        self.values.get(at).and_then(Option::as_ref)
    }

    /// Returns how many bytes are read at once from an offset on.
    fn ahead_of(&self, offset: Offset, is_wanted: &dyn Fn(Offset) -> bool) -> u64 {
        let run = offset.0..offset.0.saturating_add(RUN);
        let wanted = run.filter(|at| is_wanted(Offset(*at))).count();
        if u64::try_from(wanted).is_ok_and(|wanted| wanted > RUN / 2) {
            return *AHEAD_BYTES.end();
        }
        let held = u64::try_from(self.values.len()).unwrap_or(u64::MAX);
        let behind = offset.since(Offset(self.base.0.saturating_add(held)));
        if behind.is_some_and(|distance| distance <= NEAR) {
            let (first, most) = (*AHEAD_BYTES.start(), *AHEAD_BYTES.end());
            self.ahead.saturating_mul(2).clamp(first, most)
        } else {
            0
        }
    }

    fn read_from(&mut self, offset: Offset) -> Result<(), LogError> {
        self.values.clear();
        let mut rest = self
            .reader
            .lend(offset, self.ahead, ReadBound::LogEnd, &self.buffers)?;
        self.largest = self.largest.max(rest.len());
        while !rest.is_empty() {
            let batch = Batch::decode_first(&mut rest)
                .and_then(|batch| Ok((batch.values(BATCH_BYTES_CEILING)?, batch)));
            let (values, batch) =
                batch.map_err(|reason| self.reader.undecodable(offset, reason))?;
            if self.values.is_empty() {
                self.base = batch.header().base_offset;
            }
            self.values.extend(values);
        }
        Ok(())
    }

    /// Returns where among the values an offset stands.
    fn place(&self, offset: Offset) -> Option<usize> {
        let at = usize::try_from(offset.since(self.base)?).ok()?;
        (at < self.values.len()).then_some(at)
    }
}
