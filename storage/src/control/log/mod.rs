//! The control log on disk: changes are checked, appended, synced, and only then applied and answered.
//!
//! # Invariants
//! 1. The state is the fold of what is durable. A change that is not known durable is never in it.
//! 2. A change of several entries is one batch: after a crash all of them are there or none.
//! 3. The state at opening is a fold from the first part of the newest complete snapshot, or from the first record of all
//!    while there is no snapshot. A log of which any of that is missing or damaged does not open.
//! 4. A snapshot begins a segment. The head of the log goes up to the newest complete and synced one, never past it.
//!
//! # A snapshot
//! Its parts are batches of one record each, one behind the other, followed by a sync. It counts from the moment its last
//! part is there; parts without their last one, which a crash leaves, count for nothing.

mod error;
mod config;
mod replay;

use std::path::Path;
use std::sync::Arc;

use super::entry::Entry;
use super::fold::Snapshot;
use super::groups::Amount;
use super::refusal::Refusal;
use super::state::ControlState;
use crate::batch::{
    BatchBuilder, BatchHeader, BrokerMark, BuildError, BuildOptions, Codec, NewRecord,
};
use crate::checkpoint::LogCheckpoint;
use crate::disk::Disk;
use crate::error::{Corruption, LogError, PoisonCause};
use crate::limits::{BATCH_BYTES_CEILING, GROUP_COMMIT_COUNT_MAX, GROUP_COUNT_MAX};
use crate::log::{
    HealTask, Log, LogConfig, LogPlace, LogReader, RecoveryReport, Unlink, Visibility,
};
use crate::log_id::LogId;
use crate::offset::{Offset, TimestampMs};
use replay::{check_damage, head_missing, replay};

pub use config::ControlConfig;
pub use error::ControlError;

/// The directory of the control log, below the data directory.
pub const CONTROL_DIR: &str = "control";

/// The control log, as its one owner has it.
#[derive(Debug)]
pub struct ControlLog {
    log: Log,
    state: ControlState,
    config: ControlConfig,
    /// The newest complete snapshot, which is synced.
    snapshot: Option<Snapshot>,
    /// Bytes appended since.
    grown_bytes: u64,
    /// What `grown_bytes` must reach for the next snapshot.
    due_bytes: u64,
    snapshot_failure: Option<ControlError>,
}

impl ControlLog {
    /// Opens the control log below the data directory `root`, creating it where it is missing.
    ///
    /// # Errors
    /// As [`ControlLog::open_with`].
    pub fn open(
        disk: Arc<dyn Disk>,
        root: &Path,
        hint: Option<&LogCheckpoint>,
        now: TimestampMs,
    ) -> Result<(Self, RecoveryReport), ControlError> {
        Self::open_with(disk, root, ControlConfig::default(), hint, now)
    }

    /// Opens the control log with other than the usual sizes.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] with the range when something that the state depends on is damaged or missing: the log is the
    /// broker's truth. Other errors of [`Log::open`]; [`ControlError::Unreadable`] for what a newer program wrote, and
    /// [`ControlError::Contradiction`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        root: &Path,
        config: ControlConfig,
        hint: Option<&LogCheckpoint>,
        now: TimestampMs,
    ) -> Result<(Self, RecoveryReport), ControlError> {
        let place = LogPlace {
            disk,
            root: root.to_path_buf(),
            dir: root.join(CONTROL_DIR),
            id: LogId::CONTROL,
        };
        let log_config = LogConfig {
            segment_bytes: config.segment_bytes,
            segment_ms: i64::MAX,
            batch_bytes_max: BATCH_BYTES_CEILING,
            visibility: Visibility::Synced,
            gaps: Vec::new(),
        };
        let dir = place.dir.clone();
        let (log, report) = Log::open(place, log_config, hint, now)?;
        let fold = replay(&log.reader())?;
        check_damage(&log, &report, fold.snapshot)?;
        let (snapshot, grown_bytes) = (fold.snapshot, fold.grown_bytes);
        let Some(state) = fold.finish() else {
            return Err(head_missing(&log.reader(), &dir).into());
        };
        let mut control = Self {
            log,
            state,
            config,
            snapshot,
            grown_bytes,
            due_bytes: 0,
            snapshot_failure: None,
        };
        control.due_bytes = control.due_after(snapshot);
        Ok((control, report))
    }

    /// Returns the state: the fold of every change that is durable.
    #[must_use]
    pub fn state(&self) -> &ControlState {
        &self.state
    }

    /// Makes one change. It is durable when this returns.
    ///
    /// # Errors
    /// As [`ControlLog::change_all`].
    pub fn change(&mut self, entry: &Entry, now: TimestampMs) -> Result<(), ControlError> {
        self.change_all(std::slice::from_ref(entry), now)
    }

    /// Makes several changes as one: all of them are there after a crash, or none. They are durable when this returns.
    ///
    /// A snapshot follows when one is due. What becomes of it does not touch the answer: see
    /// [`ControlLog::snapshot_failure`].
    ///
    /// # Errors
    /// [`ControlError::Refused`] for the first entry that does not follow from the state and the entries before it; none
    /// is made then. [`ControlError::TooLarge`], [`ControlError::Log`]; [`ControlError::OutcomeUnknown`] after a failed
    /// sync, or a failed write that could not be cut. The state is as it was after any error.
    pub fn change_all(&mut self, entries: &[Entry], now: TimestampMs) -> Result<(), ControlError> {
        if entries.is_empty() {
            return Ok(());
        }
        let next = self.check_all(entries)?;
        let mut batch = build(entries, now)?;
        self.heal()?;
        self.write(&mut batch, now)?;
        self.sync()?;
        match next {
            Some(next) => self.state = next,
            None => self.apply_all(entries),
        }
        if self.grown_bytes >= self.due_bytes {
            self.snapshot_failure = self.append_snapshot(now).err();
        }
        Ok(())
    }

    /// Appends a snapshot now, whether or not one is due.
    ///
    /// # Errors
    /// As [`ControlLog::change_all`] but for refusals. No change is lost; the next snapshot is tried after some growth.
    pub fn append_snapshot(&mut self, now: TimestampMs) -> Result<(), ControlError> {
        // Until it is known to be complete it counts as one that failed, which is not tried again with every change.
        let pause = self.config.snapshot_bytes.div_ceil(8);
        self.due_bytes = self.grown_bytes.saturating_add(pause);
        self.heal()?;
        if !self.is_active_empty() {
            self.log.roll()?;
        }
        let start = self.log.next_offset();
        let mut bytes = 0u64;
        for part in self.state.snapshot() {
            let mut batch = build(&[part], now)?;
            bytes = bytes.saturating_add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
            self.write(&mut batch, now)?;
        }
        self.sync()?;
        self.snapshot = Some(Snapshot { start, bytes });
        self.grown_bytes = 0;
        self.due_bytes = self.due_after(self.snapshot);
        Ok(())
    }

    /// Returns why the last snapshot that was due could not be appended.
    #[must_use]
    pub fn snapshot_failure(&self) -> Option<&ControlError> {
        self.snapshot_failure.as_ref()
    }

    /// Gets over a failed write by cutting what it left; every change begins with it. Does nothing when there was none.
    ///
    /// # Errors
    /// [`LogError::Io`]; the log takes no changes until it succeeds.
    pub fn heal(&mut self) -> Result<(), LogError> {
        self.log.begin_heal().map_or(Ok(()), HealTask::run)
    }

    /// Returns why the log takes no changes, if it takes none.
    #[must_use]
    pub fn poison(&self) -> Option<PoisonCause> {
        self.log.poison()
    }

    /// Returns what the system said when it became so, as far as it is known.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.log.reader().trouble()
    }

    /// Returns the checkpoint of what is written now. It may be stored only once the reader's durable end has reached its
    /// `durable_end`, which is always so unless the log is poisoned.
    #[must_use]
    pub fn checkpoint(&self) -> LogCheckpoint {
        self.log.checkpoint()
    }

    /// Returns a reader, which needs no owner.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.log.reader()
    }

    /// Returns the log start up to which the head can go: the start of the newest snapshot, when whole segments lie below.
    #[must_use]
    pub fn head_to_delete(&self) -> Option<Offset> {
        let start = self.snapshot?.start;
        let segments = self.log.reader().segments();
        segments
            .iter()
            .any(|segment| segment.is_sealed && segment.end_offset <= start)
            .then_some(start)
    }

    /// Moves the log start, which must already be durable in the checkpoint, and takes whole segments below it out.
    ///
    /// # Panics
    /// Never past the newest snapshot: a start above it would lose the state.
    pub fn apply_log_start(&mut self, start: Offset) -> Unlink {
        let newest = self
            .snapshot
            .map_or(Offset::ZERO, |snapshot| snapshot.start);
        assert!(
            start <= newest,
            "the control log is never deleted past its newest snapshot"
        );
        self.log.apply_log_start(start)
    }

    /// Checks entries one after the other. Returns the state that they lead to unless they do not touch each other: then
    /// each was checked against the state as it is, and can be applied to it in place.
    fn check_all(&self, entries: &[Entry]) -> Result<Option<ControlState>, Refusal> {
        for entry in entries {
            // Snapshots are this log's own: one from outside could take the place of the state.
            if let Entry::Snapshot(part) = entry {
                let (field, value) = ("snapshot part asked for", u64::from(part.index));
                return Err(Corruption::Field { field, value }.into());
            }
        }
        if entries.len() == 1 || self.are_apart(entries) {
            entries
                .iter()
                .try_for_each(|entry| self.state.check(entry))?;
            return Ok(None);
        }
        let mut next = self.state.clone();
        for entry in entries {
            next.check(entry)?;
            next.apply(entry)?;
        }
        Ok(Some(next))
    }

    /// Returns whether all entries are commits which, even together, keep the limits: the group commit of the hot path,
    /// which must not copy the state.
    fn are_apart(&self, entries: &[Entry]) -> bool {
        let mut commit_count = 0usize;
        let mut largest = 0usize;
        let mut growth = Amount::default();
        for entry in entries {
            let Entry::OffsetsCommitted { group, commits, .. } = entry else {
                return false;
            };
            commit_count = commit_count.saturating_add(commits.len());
            growth = growth.plus(self.state.groups.growth(group, commits));
            largest = largest.max(
                self.state
                    .group(group)
                    .map_or(0, std::collections::BTreeMap::len),
            );
        }
        let groups = self.state.groups().len().saturating_add(entries.len());
        let is_within = |count: usize, max: u32| u32::try_from(count).is_ok_and(|c| c <= max);
        is_within(groups, GROUP_COUNT_MAX)
            && is_within(largest.saturating_add(commit_count), GROUP_COMMIT_COUNT_MAX)
            && self.state.check_growth(growth).is_ok()
    }

    fn apply_all(&mut self, entries: &[Entry]) {
        for entry in entries {
            let applied = self.state.apply(entry);
            assert!(applied.is_ok(), "what was checked applies: {applied:?}");
        }
    }

    /// Writes a batch behind the log's end, in a new segment where the active one is full.
    fn write(&mut self, batch: &mut [u8], now: TimestampMs) -> Result<(), ControlError> {
        let header = BatchHeader::decode(batch).map_err(|reason| ControlError::Unreadable {
            offset: self.log.next_offset(),
            source: reason.into(),
        })?;
        if self.log.needs_roll(u64::from(header.length), now) {
            self.log.roll()?;
        }
        match self.log.append(&header, batch, now) {
            Ok(_) => {
                self.grown_bytes = self.grown_bytes.saturating_add(u64::from(header.length));
                Ok(())
            }
            // All of the batch may be there: only when it is cut is it known not to be stored.
            Err(source)
                if self.log.poison() == Some(PoisonCause::WriteFailed) && self.heal().is_err() =>
            {
                Err(ControlError::OutcomeUnknown { source })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&mut self) -> Result<(), ControlError> {
        match self.log.begin_sync() {
            Some(task) => task
                .run()
                .map(|_| ())
                .map_err(|source| ControlError::OutcomeUnknown { source }),
            None => Ok(()),
        }
    }

    fn is_active_empty(&self) -> bool {
        let segments = self.log.reader().segments();
        segments
            .last()
            .is_none_or(|active| active.end_offset == active.base_offset)
    }

    fn due_after(&self, snapshot: Option<Snapshot>) -> u64 {
        let bytes = snapshot.map_or(0, |snapshot| snapshot.bytes);
        self.config.snapshot_bytes.max(bytes)
    }
}

fn build(entries: &[Entry], now: TimestampMs) -> Result<Vec<u8>, BuildError> {
    let mut builder = BatchBuilder::new(Codec::None);
    for entry in entries {
        builder.push(&NewRecord {
            timestamp: now,
            key: None,
            value: Some(&entry.encode()),
            headers: &[],
        })?;
    }
    builder.build(BuildOptions {
        producer: None,
        broker: BrokerMark::Broker,
    })
}
