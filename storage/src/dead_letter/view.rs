//! Looking at the letters of a partition without its owner: a snapshot of which are live, over the log as it is now.

use std::sync::Arc;

use parking_lot::RwLock;

use super::letter::DeadLetter;
use super::live::{LiveCounts, LiveSet};
use super::log::Places;
use super::marker::Marker;
use crate::batch::record::Record;
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::Offset;

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
        LetterReader {
            reader: &self.reader,
            base: Offset::ZERO,
            records: Vec::new(),
        }
        .read(letter)
    }

    /// Returns the marker that resolved a letter, while the letter's segment stands.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn resolution_of(&self, letter: Offset) -> Result<Option<Marker>, LogError> {
        let Some(offset) = self.places.read().markers.get(&letter).copied() else {
            return Ok(None);
        };
        let mut reader = LetterReader {
            reader: &self.reader,
            base: Offset::ZERO,
            records: Vec::new(),
        };
        let record = reader.record(offset)?;
        Ok(record.and_then(|record| Marker::decode(record.value.as_deref()?).ok()))
    }

    /// Calls `visit` with each live durable letter from `from` up to `to` (exclusive), in rising or falling order of offsets,
    /// until it returns false.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn visit(
        &self,
        (from, to): (Offset, Offset),
        is_newest_first: bool,
        visit: &mut dyn FnMut(Offset, DeadLetter) -> bool,
    ) -> Result<(), LogError> {
        let to = to.min(self.reader.durable_end());
        let mut offsets = self.live.offsets(from, to);
        if is_newest_first {
            offsets.reverse();
        }
        let mut letters = LetterReader {
            reader: &self.reader,
            base: Offset::ZERO,
            records: Vec::new(),
        };
        for offset in offsets {
            if let Some(letter) = letters.read(offset)?
                && !visit(offset, letter)
            {
                break;
            }
        }
        Ok(())
    }
}

impl LetterReader<'_> {
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
