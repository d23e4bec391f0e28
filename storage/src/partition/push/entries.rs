//! Reading delivery entries back: attempts, outcomes, and everything in order.

use std::ops::ControlFlow;

use super::read::{MessagePlace, PushReader};
use super::recent::RecentBatches;
use crate::batch::Records;
use crate::dead_letter::{Attempt, History};
use crate::delivery::fold::scan_entries;
use crate::delivery::limits::{ENTRIES_PER_WINDOW, RETRIES_MAX};
use crate::delivery::{Entry, Outcome};
use crate::error::{Corruption, LogError};
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// An entry with its offset and append time.
pub type PlacedEntry = (Offset, TimestampMs, Entry);

impl PushReader {
    /// Reads the attempts of a message, whose newest outcome or history stands at `history_at`: those behind the newest entry that
    /// an operator has given up.
    ///
    /// # Errors
    /// As [`PushReader::outcome`].
    pub fn history(&self, history_at: Option<Offset>) -> Result<History, LogError> {
        self.history_by(history_at, |at| self.entry(at))
    }

    /// Reads attempts as [`PushReader::history`] does; entries of `recent` batches of the delivery log are taken
    /// from there.
    ///
    /// # Errors
    /// As [`PushReader::outcome`].
    pub fn history_near(
        &self,
        history_at: Option<Offset>,
        recent: &mut RecentBatches,
    ) -> Result<History, LogError> {
        self.history_by(history_at, |at| self.entry_near(at, recent))
    }

    fn history_by(
        &self,
        history_at: Option<Offset>,
        mut entry: impl FnMut(Offset) -> Result<Entry, LogError>,
    ) -> Result<History, LogError> {
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut history = History::default();
        let mut next = history_at;
        let steps_max = u64::from(RETRIES_MAX).saturating_add(1);
        for _ in 0..=steps_max {
            let Some(at) = next else { break };
            if self.is_given_up(at) {
                break;
            }
            match entry(at)? {
                Entry::Outcome(mut outcome) => {
                    // What a callback tells may be long: a history keeps little of each.
                    outcome.attempt.cap();
                    attempts.push(outcome.attempt);
                    next = outcome.previous.filter(|previous| *previous < at);
                }
                Entry::History { history: begun, .. } => {
                    history = begun;
                    next = None;
                }
                other => return Err(self.wrong_kind(at, &other)),
            }
        }
        for attempt in attempts.into_iter().rev() {
            history.push(attempt);
        }
        Ok(history)
    }

    /// Returns whether an operator has given up the entry at `at` of the delivery log.
    #[must_use]
    pub fn is_given_up(&self, at: Offset) -> bool {
        self.delivery.get().is_some_and(|log| log.gap_holds(at))
    }

    /// Returns whether an operator has given up the record of a message, and its copy if it has one.
    #[must_use]
    pub fn is_record_given_up(&self, (offset, carried_at): MessagePlace) -> bool {
        let is_lost = self.main.gap_holds(offset);
        match carried_at {
            Some(at) => self.is_given_up(at) && (is_lost || offset < self.main.log_start()),
            None => is_lost,
        }
    }

    /// Reads the outcome that stands at `at` in the delivery log.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`]; [`LogError::Corrupt`], also when something else stands there; [`LogError::Io`].
    pub fn outcome(&self, at: Offset) -> Result<Outcome, LogError> {
        self.expect_outcome(at, self.entry(at)?)
    }

    /// Reads an outcome as [`PushReader::outcome`] does; those of `recent` batches of the delivery log are taken
    /// from there.
    ///
    /// # Errors
    /// As [`PushReader::outcome`].
    pub fn outcome_near(
        &self,
        at: Offset,
        recent: &mut RecentBatches,
    ) -> Result<Outcome, LogError> {
        self.expect_outcome(at, self.entry_near(at, recent)?)
    }

    fn expect_outcome(&self, at: Offset, entry: Entry) -> Result<Outcome, LogError> {
        match entry {
            Entry::Outcome(outcome) => Ok(outcome),
            other => Err(self.wrong_kind(at, &other)),
        }
    }

    /// Reads durable entries in order, from `from` or the log start on, at most about `bytes_max` bytes and at least one if
    /// there is one. Parts of snapshots are left out.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] with the damaged range, [`LogError::Io`].
    pub fn entries(&self, from: Offset, bytes_max: usize) -> Result<Vec<PlacedEntry>, LogError> {
        let Some(log) = self.delivery.get() else {
            return Ok(Vec::new());
        };
        let range = (from, log.durable_end());
        Self::entries_between(log, range, bytes_max, no_snapshot)
    }

    /// Reads durable entries backwards, the newest below `to` first, until there are `bytes_max` bytes of them or the log start
    /// is reached: empty means that there are none. Parts of snapshots are left out, and copies of messages; attempts are cut to
    /// what a history keeps of them: a window of either may have hundreds of megabytes.
    ///
    /// # Errors
    /// As [`PushReader::entries`].
    pub fn entries_back(&self, to: Offset, bytes_max: usize) -> Result<Vec<PlacedEntry>, LogError> {
        let Some(log) = self.delivery.get() else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        let mut bytes = 0usize;
        let mut end = to.min(log.durable_end());
        while end > log.log_start() && bytes < bytes_max {
            let start = Offset(end.0.saturating_sub(ENTRIES_PER_WINDOW)).max(log.log_start());
            let window = Self::entries_between(log, (start, end), usize::MAX, what_became)?;
            for placed in window.into_iter().rev() {
                bytes = bytes.saturating_add(weight(&placed.2));
                entries.push(placed);
            }
            end = start;
        }
        Ok(entries)
    }

    fn entries_between(
        log: &LogReader,
        (from, to): (Offset, Offset),
        bytes_max: usize,
        take: impl Fn(Entry) -> Option<Entry>,
    ) -> Result<Vec<PlacedEntry>, LogError> {
        let from = from.max(log.log_start());
        let mut entries = Vec::new();
        let mut bytes = 0usize;
        if from >= to {
            return Ok(entries);
        }
        scan_entries(
            log,
            from,
            ReadBound::HighWatermark,
            &mut |offset, header, entry| {
                if offset >= to || (bytes >= bytes_max && !entries.is_empty()) {
                    return ControlFlow::Break(());
                }
                if let Some(entry) = take(entry) {
                    bytes = bytes.saturating_add(weight(&entry));
                    entries.push((offset, header.append_time, entry));
                }
                ControlFlow::Continue(())
            },
        )?;
        Ok(entries)
    }

    /// Reads the entry that stands at an offset.
    pub(super) fn entry(&self, at: Offset) -> Result<Entry, LogError> {
        let log = self.delivery_log(at)?;
        if at >= log.log_end() {
            return Err(out_of_range(log, at));
        }
        let batch = log.batch_at(at, ReadBound::LogEnd)?;
        let undecodable = |reason| log.undecodable(at, reason);
        let section = batch.section(BATCH_BYTES_CEILING).map_err(undecodable)?;
        let delta = at.since(batch.header().base_offset);
        for record in Records::new(batch.header(), &section) {
            let record = record.map_err(undecodable)?;
            if Some(u64::from(record.offset_delta)) == delta {
                return Entry::decode(record.value.unwrap_or_default()).map_err(undecodable);
            }
        }
        Err(out_of_range(log, at))
    }

    /// Reads an entry, from `recent` batches when it is in one. What is not durable may change, and is not kept there.
    pub(super) fn entry_near(
        &self,
        at: Offset,
        recent: &mut RecentBatches,
    ) -> Result<Entry, LogError> {
        let log = self.delivery_log(at)?;
        if at >= log.high_watermark() {
            return self.entry(at);
        }
        let record = recent.batch(log, at)?.record(at);
        let record = record.ok_or_else(|| out_of_range(log, at))?;
        Entry::decode(record.value.as_deref().unwrap_or_default())
            .map_err(|reason| log.undecodable(at, reason))
    }

    /// Reads the copy of a message's record, from `recent` batches when it is in one.
    pub(super) fn carried_near(
        &self,
        (wanted, at): (Offset, Offset),
        recent: &mut RecentBatches,
    ) -> Result<Entry, LogError> {
        match self.entry_near(at, recent)? {
            carried @ Entry::Carried { message, .. } if message == wanted => Ok(carried),
            other => Err(self.wrong_kind(at, &other)),
        }
    }

    fn delivery_log(&self, asked: Offset) -> Result<&LogReader, LogError> {
        self.delivery.get().ok_or(LogError::OffsetOutOfRange {
            requested: asked,
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
        })
    }

    pub(super) fn wrong_kind(&self, at: Offset, entry: &Entry) -> LogError {
        let reason = Corruption::Field {
            field: "delivery entry kind",
            value: u64::from(entry.kind()),
        };
        let log = self.delivery.get().unwrap_or(&self.main);
        log.undecodable(at, reason)
    }
}

fn out_of_range(log: &LogReader, requested: Offset) -> LogError {
    LogError::OffsetOutOfRange {
        requested,
        log_start: log.log_start(),
        log_end: log.log_end(),
    }
}

fn no_snapshot(entry: Entry) -> Option<Entry> {
    (!matches!(entry, Entry::Snapshot(_))).then_some(entry)
}

/// Returns an entry as far as it says what became of a message.
fn what_became(entry: Entry) -> Option<Entry> {
    match entry {
        Entry::Snapshot(_) | Entry::Carried { .. } => None,
        Entry::Outcome(mut outcome) => {
            outcome.attempt.cap();
            Some(Entry::Outcome(outcome))
        }
        other => Some(other),
    }
}

/// Bytes that an entry holds in memory, about.
fn weight(entry: &Entry) -> usize {
    const FIXED_BYTES: usize = 64;
    let attempts = |attempts: &[Attempt]| -> usize {
        let of = |attempt: &Attempt| {
            let headers = attempt.headers.iter();
            let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
            attempt.body.len().saturating_add(headers)
        };
        attempts.iter().map(of).sum()
    };
    let held = match entry {
        Entry::Outcome(outcome) => attempts(std::slice::from_ref(&outcome.attempt)),
        Entry::History { history, .. } => attempts(history.attempts()),
        Entry::Carried { record, .. } => record.weight(),
        Entry::Snapshot(part) => part.bytes.len(),
        Entry::Intent(_) | Entry::Cancelled { .. } | Entry::Dead { .. } | Entry::GivenUp { .. } => {
            0
        }
    };
    held.saturating_add(FIXED_BYTES)
}
