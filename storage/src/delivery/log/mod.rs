//! The delivery log of a partition and the state that it and the main log add up to.
//!
//! # Invariants
//! 1. The state at opening is a fold from the newest complete snapshot, or from the first record of all. Where anything that
//!    it depends on is missing or damaged there is no state: the partition delivers nothing, says which range it is, and takes
//!    no messages. Its main log is read as before, and nothing of it is deleted.
//! 2. A message enters the state when it is durable in the main log ([`DeliveryLog::admit_durable`]), an entry when it is
//!    written: nothing follows from an entry before its sync.
//! 3. What is read back of a message never lies below the log's head: see [`DeliveryState::head_ceiling`].

mod heads;
mod opening;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use super::entry::Entry;
use super::fold::Fresh;
use super::snapshots::Snapshots;
use super::state::{Arrival, DeliveryState};
use crate::batch::{BatchBuilder, BatchHeader, BrokerMark, BuildOptions, Codec, NewRecord};
use crate::checkpoint::LogCheckpoint;
use crate::error::{Corruption, LogError, PoisonCause};
use crate::log::{
    Appended, DamagedRange, FirstUse, Log, LogConfig, LogPlace, LogReader, RecoveryReport,
};
use crate::offset::{FilePosition, Offset, TimestampMs};

/// Where entries stand that were appended together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntriesAppended {
    /// Offset of the first entry; the others follow one by one.
    pub base_offset: Offset,
    /// First offset behind them (exclusive end): they are durable when the log's durable end has reached it.
    pub next_offset: Offset,
}

/// A copy of what stands further below in the delivery log, or in the main log, so that it may go there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryCopy {
    /// The entry of the delivery log that it was made of; `None` for a record of the main log.
    pub of: Option<Offset>,
    /// The copy: a history or a carried record.
    pub entry: Entry,
}

/// The delivery log of one partition, as its one owner has it. Its files come into being with the first entry.
#[derive(Debug)]
pub struct DeliveryLog {
    place: LogPlace,
    config: LogConfig,
    log: Option<Log>,
    first_use: FirstUse,
    reader: Arc<OnceLock<LogReader>>,
    state: DeliveryState,
    /// Batches of the main log that are not admitted, in order.
    fresh: VecDeque<Fresh>,
    snapshots: Snapshots,
    /// Why there is no state.
    damage: Option<DamagedRange>,
}

impl DeliveryLog {
    /// Opens a delivery log, where there is one, and folds it over the main log, all of which is durable.
    ///
    /// # Errors
    /// As [`Log::open`]. Damage is no error: see [`DeliveryLog::damage`].
    pub fn open(
        place: LogPlace,
        config: LogConfig,
        hint: Option<&LogCheckpoint>,
        main: &LogReader,
        now: TimestampMs,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let mut opened = Self {
            place,
            config,
            log: None,
            first_use: FirstUse::default(),
            reader: Arc::default(),
            state: DeliveryState::default(),
            fresh: VecDeque::new(),
            snapshots: Snapshots::default(),
            damage: None,
        };
        let mut report = RecoveryReport::default();
        if hint.is_some() || opened.place.exists()? {
            let (place, config) = (opened.place.clone(), opened.config.clone());
            let (log, found) = Log::open(place, config, hint, now)?;
            report = found;
            opened.set_log(log);
        }
        match opened.fold(&report, main) {
            Ok(()) => {}
            Err(LogError::Corrupt {
                path,
                position,
                from,
                to,
                reason,
            }) => {
                opened.state = DeliveryState::default();
                opened.damage = Some(DamagedRange {
                    log: opened.place.id,
                    path,
                    position,
                    from,
                    to,
                    reason,
                });
            }
            Err(error) => return Err(error),
        }
        Ok((opened, report))
    }

    /// Returns the log; `None` before the first entry.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Returns the log, for its syncs, rolls and heals. Appends go through this type's own methods.
    pub fn log_mut(&mut self) -> Option<&mut Log> {
        self.log.as_mut()
    }

    /// Returns the place where the reader of the log stands once there is one.
    #[must_use]
    pub fn reader(&self) -> Arc<OnceLock<LogReader>> {
        Arc::clone(&self.reader)
    }

    /// Returns the state; `None` when the log is damaged where it comes from.
    #[must_use]
    pub fn state(&self) -> Option<&DeliveryState> {
        self.damage.is_none().then_some(&self.state)
    }

    /// Returns the state, for what the engine decides with it. What a restart is to find again goes through entries.
    pub fn state_mut(&mut self) -> Option<&mut DeliveryState> {
        self.damage.is_none().then_some(&mut self.state)
    }

    /// Returns what is damaged or missing where the state comes from, if anything is.
    #[must_use]
    pub fn damage(&self) -> Option<&DamagedRange> {
        self.damage.as_ref()
    }

    /// Changes how the log behaves from now on. Its visibility and gaps stay.
    pub fn reconfigure(&mut self, config: &LogConfig) {
        if let Some(log) = self.log.as_mut() {
            log.reconfigure(config);
        }
        self.config = LogConfig {
            gaps: std::mem::take(&mut self.config.gaps),
            ..config.clone()
        };
    }

    /// Refuses when there is no state to change.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub fn check_state(&self) -> Result<(), LogError> {
        match self.damage {
            None => Ok(()),
            Some(_) => Err(LogError::Poisoned {
                log: self.place.id,
                cause: PoisonCause::Damaged,
            }),
        }
    }

    /// Takes note of a batch that was written to the main log, to be admitted when it is durable. `arrivals` has one place for
    /// each of its records.
    pub fn note_fresh(&mut self, appended: &Appended, bytes: u64, arrivals: Vec<Option<Arrival>>) {
        self.snapshots.note_main(bytes);
        if self.damage.is_none() {
            self.fresh.push_back(Fresh {
                base: appended.base_offset,
                next: appended.next_offset,
                append_time: appended.append_time,
                arrivals,
            });
        }
    }

    /// Admits what is durable in the main log, and forgets what a healed write has taken back. Returns how many batches were
    /// admitted.
    pub fn admit_durable(&mut self, main: &LogReader) -> usize {
        let (durable_end, log_end) = (main.durable_end(), main.log_end());
        let mut count = 0;
        while let Some(fresh) = self.fresh.front()
            && fresh.next <= durable_end
        {
            let (base, time) = (fresh.base, fresh.append_time);
            self.state.admit(base, time, &fresh.arrivals);
            self.fresh.pop_front();
            count += 1;
        }
        self.fresh.retain(|fresh| fresh.base < log_end);
        count
    }

    /// Appends entries as one batch, without syncing it, and applies them. An outcome is given its place in the chain of its
    /// message's attempts, whatever it says of that.
    ///
    /// # Errors
    /// The log's error: [`LogError::Rolling`] asks the caller to roll and call again. [`LogError::Corrupt`] for a part of a
    /// snapshot, which nobody but the log itself makes.
    ///
    /// # Panics
    /// For an entry about a message that was not admitted: a crash would leave an entry about nothing.
    pub fn append_entries(
        &mut self,
        entries: &[Entry],
        now: TimestampMs,
    ) -> Result<EntriesAppended, LogError> {
        self.append_applied(entries, now)
            .map(|(appended, _)| appended)
    }

    fn append_applied(
        &mut self,
        entries: &[Entry],
        now: TimestampMs,
    ) -> Result<(EntriesAppended, u64), LogError> {
        self.check_state()?;
        for entry in entries {
            let message = entry.message().ok_or_else(|| self.not_asked_for())?;
            assert!(
                message < self.state.admitted_up_to(),
                "message {message} was not admitted"
            );
        }
        let next = self.log.as_ref().map_or(Offset::ZERO, Log::next_offset);
        if entries.is_empty() {
            let nothing = EntriesAppended {
                base_offset: next,
                next_offset: next,
            };
            return Ok((nothing, 0));
        }
        let chained = self.chained(entries, next);
        let (appended, bytes) = self.append(&chained, now)?;
        for (at, entry) in (0u64..).zip(chained.iter()) {
            let offset = Offset(appended.base_offset.0.saturating_add(at));
            self.state.apply(offset, entry);
        }
        Ok((appended, bytes))
    }

    fn set_log(&mut self, log: Log) {
        self.reader.get_or_init(|| log.reader());
        self.log = Some(log);
    }

    fn log_or_create(&mut self, now: TimestampMs) -> Result<&mut Log, LogError> {
        if self.log.is_none() {
            let (place, config) = (self.place.clone(), self.config.clone());
            let created =
                (self.first_use).create(self.place.id, || Log::open(place, config, None, now));
            let (log, _) = created?;
            self.set_log(log);
        }
        let id = self.place.id;
        self.log.as_mut().ok_or(LogError::Rolling { log: id })
    }

    fn durable_end(&self) -> Offset {
        let log = self.log.as_ref();
        log.map_or(Offset::ZERO, |log| log.reader().durable_end())
    }

    /// Links outcomes to the entries that their messages' attempts are read from, as they will stand when the first of
    /// `entries` stands at `base`.
    fn chained<'a>(&self, entries: &'a [Entry], base: Offset) -> Cow<'a, [Entry]> {
        let mut linked = HashMap::new();
        let mut chained = Cow::Borrowed(entries);
        for (at, entry) in entries.iter().enumerate() {
            let offset = Offset(base.0.saturating_add(u64::try_from(at).unwrap_or(u64::MAX)));
            match entry {
                Entry::Outcome(outcome) => {
                    let message = outcome.message;
                    let before = linked.insert(message, offset);
                    let previous = before.or_else(|| self.state.history_at(message));
                    if previous != outcome.previous
                        && let Some(Entry::Outcome(outcome)) = chained.to_mut().get_mut(at)
                    {
                        outcome.previous = previous;
                    }
                }
                Entry::History { message, .. } => {
                    linked.insert(*message, offset);
                }
                _ => {}
            }
        }
        chained
    }

    /// Appends entries as one batch. Returns also the bytes of the batch.
    fn append(
        &mut self,
        entries: &[Entry],
        now: TimestampMs,
    ) -> Result<(EntriesAppended, u64), LogError> {
        let mut builder = BatchBuilder::new(Codec::None);
        for entry in entries {
            let value = entry.encode();
            let record = NewRecord {
                timestamp: now,
                key: None,
                value: Some(&value),
                headers: &[],
            };
            builder
                .push(&record)
                .map_err(|error| error.as_log_error())?;
        }
        let options = BuildOptions {
            producer: None,
            broker: BrokerMark::Broker,
        };
        let mut batch = builder
            .build(options)
            .map_err(|error| error.as_log_error())?;
        let log = self.log_or_create(now)?;
        let header = BatchHeader::decode(&batch)
            .map_err(|reason| log.reader().undecodable(log.next_offset(), reason))?;
        let appended = log.append(&header, &mut batch, now)?;
        let bytes = u64::from(header.length);
        self.snapshots.note_delivery(bytes);
        let appended = EntriesAppended {
            base_offset: appended.base_offset,
            next_offset: appended.next_offset,
        };
        Ok((appended, bytes))
    }

    fn not_asked_for(&self) -> LogError {
        let reason = Corruption::Field {
            field: "snapshot part asked for",
            value: 0,
        };
        LogError::Corrupt {
            path: self.place.dir.clone(),
            position: FilePosition(0),
            from: Offset::ZERO,
            to: Offset::ZERO,
            reason,
        }
    }
}
