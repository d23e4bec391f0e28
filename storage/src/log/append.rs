//! The owner's side of a log: appending, and handing out what takes time.

use std::sync::Arc;

use super::config::{LogConfig, LogPlace, Visibility};
use super::heal::HealTask;
use super::reader::LogReader;
use super::recovery::{self, RecoveryReport};
use super::retention::{self, RetentionPolicy, Unlink};
use super::roll::{RollDone, RollTask};
use super::shared::{Segment, Shared};
use super::sync::SyncTask;
use crate::batch::header::{BatchHeader, HEADER_BYTES, Stamp};
use crate::checkpoint::LogCheckpoint;
use crate::disk::DiskFile;
use crate::error::{Corruption, LogError, PoisonCause};
use crate::limits::{PREALLOCATE_BYTES_MAX, PREALLOCATE_BYTES_MIN};
use crate::offset::{FilePosition, Offset, TimestampMs};
use crate::reserve::{Growth, Reserve};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64};

/// Where an append stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// First offset behind the batch (exclusive end): durable when the log's durable end has reached it.
    pub next_offset: Offset,
    /// The append time that the batch was given.
    pub append_time: TimestampMs,
}

/// A log, as its one owner has it.
#[derive(Debug)]
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) config: LogConfig,
    pub(super) tail: LogTail,
    /// A roll has been handed out and not come back.
    pub(super) is_rolling: bool,
    /// A roll has failed: the segment was cut to its data and takes no more.
    pub(super) must_roll: bool,
    /// Bytes of the largest batch that was refused since the active segment began, because it needs a new one.
    pub(super) refused_bytes: u64,
}

/// The active segment and where the next batch goes.
#[derive(Debug)]
pub(super) struct LogTail {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) position: u64,
    pub(super) allocated: u64,
    pub(super) chain: Chain,
}

impl Log {
    /// Opens a log, creating it where it is missing, and recovers what an interrupted run left.
    ///
    /// Everything that the log then holds is durable. A log with damage at its tail opens for reads only: see
    /// [`Log::poison`] and the report.
    ///
    /// # Errors
    /// [`LogError::Io`], or [`LogError::UnknownVersion`] for files of a newer program, which are left untouched.
    pub fn open(
        place: LogPlace,
        config: LogConfig,
        hint: Option<&LogCheckpoint>,
        now: TimestampMs,
    ) -> Result<(Self, RecoveryReport), LogError> {
        recovery::open(place, config, hint, now)
    }

    /// Returns a reader, which needs no owner.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Returns why the log takes no appends, if it takes none.
    #[must_use]
    pub fn poison(&self) -> Option<PoisonCause> {
        self.shared.poison()
    }

    /// Returns the offset that the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.tail.chain.next_offset
    }

    /// Returns the base offset of the active segment.
    #[must_use]
    pub fn active_base(&self) -> Offset {
        self.tail.segment.base
    }

    /// Returns the base offset of the segment that holds `offset`, or that will hold it.
    #[must_use]
    pub fn segment_base_of(&self, offset: Offset) -> Offset {
        let segments = self.shared.segments();
        let at = segments.partition_point(|segment| segment.base <= offset);
        at.checked_sub(1)
            .and_then(|at| segments.get(at))
            .map_or(Offset::ZERO, |segment| segment.base)
    }

    /// Changes the configuration for what comes. The visibility stays that of the open log.
    pub fn reconfigure(&mut self, config: &LogConfig) {
        self.config = LogConfig {
            visibility: self.config.visibility,
            gaps: std::mem::take(&mut self.config.gaps),
            ..config.clone()
        };
    }

    /// Appends a verified batch: fills in the broker's fields in place, and writes it whole.
    ///
    /// `header` is the decoded header of `batch`. The batch is durable once the durable end has reached its end, which takes
    /// a [`SyncTask`] begun after this returns.
    ///
    /// # Errors
    /// [`LogError::BatchTooLarge`]; [`LogError::Rolling`] while a new segment is due or under way; [`LogError::Poisoned`];
    /// [`LogError::Io`], which poisons the log unless no space was found before a byte was written.
    ///
    /// # Panics
    /// When `header` is not that of `batch`.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        batch: &mut [u8],
        now: TimestampMs,
    ) -> Result<Appended, LogError> {
        self.append_beside(None, header, batch, now)
    }

    /// As [`Log::append`], and leaves the reserve alone, if there is one.
    pub(crate) fn append_beside(
        &mut self,
        reserve: Option<&Reserve>,
        header: &BatchHeader,
        batch: &mut [u8],
        now: TimestampMs,
    ) -> Result<Appended, LogError> {
        self.shared.check_poison()?;
        let bytes = u64::from(header.length);
        if bytes > u64::from(self.config.batch_bytes_max) {
            let bytes_max = u64::from(self.config.batch_bytes_max);
            return Err(LogError::BatchTooLarge { bytes, bytes_max });
        }
        if self.is_rolling || self.needs_roll(bytes, now) {
            self.refused_bytes = self.refused_bytes.max(bytes);
            return Err(LogError::Rolling {
                log: self.shared.place.id,
            });
        }
        self.allocate(bytes, reserve)?;
        let header = header.stamp(&Stamp {
            log: self.shared.place.id,
            base_offset: self.tail.chain.next_offset,
            append_time: self.tail.chain.append_time.max(now),
            prev_header_crc: self.tail.chain.prev_header_crc.unwrap_or(0),
            durable_up_to: self.shared.durable_end(),
        });
        assert_eq!(
            u64::try_from(batch.len()).ok(),
            Some(bytes),
            "a batch is as long as its header says"
        );
        if let Some(place) = batch.first_chunk_mut::<HEADER_BYTES>() {
            *place = header.encode();
        }
        if let Err(source) = self.tail.file.write_all_at(batch, self.tail.position) {
            self.shared.set_poison(PoisonCause::WriteFailed);
            let path = self.shared.segment_path(self.tail.segment.base);
            let error = LogError::io("write", &path, source);
            self.shared.trouble.note(&error);
            return Err(error);
        }
        self.shared.recent.keep(&header, batch);
        Ok(self.publish(&header))
    }

    /// Appends a batch, rolling before and syncing after it where needed, on the calling thread.
    ///
    /// # Errors
    /// As [`Log::append`], [`RollTask::run`] and [`SyncTask::run`]; [`LogError::Corrupt`] for a batch whose header does not
    /// verify. An error after the write leaves it open whether the batch survives.
    pub fn append_synced(
        &mut self,
        batch: &mut [u8],
        now: TimestampMs,
    ) -> Result<Appended, LogError> {
        let header = BatchHeader::decode(batch).map_err(|reason| self.refused(reason))?;
        if self.needs_roll(u64::from(header.length), now) {
            self.roll()?;
        }
        let appended = self.append(&header, batch, now)?;
        if let Some(task) = self.begin_sync() {
            task.run()?;
        }
        Ok(appended)
    }

    /// Begins a new segment. Appends are refused with [`LogError::Rolling`] until [`Log::finish_roll`].
    ///
    /// # Errors
    /// [`LogError::Poisoned`]; [`LogError::Rolling`] when one is under way.
    pub fn begin_roll(&mut self) -> Result<RollTask, LogError> {
        self.shared.check_poison()?;
        if self.is_rolling {
            return Err(LogError::Rolling {
                log: self.shared.place.id,
            });
        }
        self.is_rolling = true;
        self.must_roll = true;
        Ok(RollTask {
            shared: Arc::clone(&self.shared),
            segment: Arc::clone(&self.tail.segment),
            file: Arc::clone(&self.tail.file),
            position: FilePosition(self.tail.position),
            chain: self.tail.chain,
        })
    }

    /// Takes the new segment over.
    ///
    /// # Errors
    /// The error of the roll. Unless it poisoned the log, the next append asks for a roll again.
    pub fn finish_roll(&mut self, done: RollDone) -> Result<(), LogError> {
        self.is_rolling = false;
        let (segment, file) = done.result?;
        self.must_roll = false;
        self.refused_bytes = 0;
        if Arc::ptr_eq(&segment, &self.tail.segment) {
            return Ok(());
        }
        self.shared.push_segment(Arc::clone(&segment));
        self.tail = LogTail {
            segment,
            file,
            position: SEGMENT_HEADER_BYTES_U64,
            allocated: SEGMENT_HEADER_BYTES_U64,
            chain: self.tail.chain,
        };
        Ok(())
    }

    /// Begins a sync of everything written so far; `None` when all of it is durable, or when no sync can help.
    pub fn begin_sync(&mut self) -> Option<SyncTask> {
        let end = self.tail.chain.next_offset;
        let is_needed = self.shared.durable_end() < end;
        let can_help = !matches!(
            self.shared.poison(),
            Some(PoisonCause::SyncFailed | PoisonCause::Damaged)
        );
        (is_needed && can_help && !self.is_rolling).then(|| SyncTask {
            shared: Arc::clone(&self.shared),
            file: Arc::clone(&self.tail.file),
            end,
        })
    }

    /// Begins to get over a failed write; `None` when there was none.
    pub fn begin_heal(&mut self) -> Option<HealTask> {
        (self.shared.poison() == Some(PoisonCause::WriteFailed) && !self.is_rolling).then(|| {
            self.tail.allocated = self.tail.position;
            HealTask {
                shared: Arc::clone(&self.shared),
                file: Arc::clone(&self.tail.file),
                segment_base: self.tail.segment.base,
                position: FilePosition(self.tail.position),
                end: self.tail.chain.next_offset,
            }
        })
    }

    /// Returns the checkpoint of what is written now. It may be stored only once the durable end has reached its
    /// `durable_end`. The state is left to the caller.
    #[must_use]
    pub fn checkpoint(&self) -> LogCheckpoint {
        LogCheckpoint {
            id: self.shared.place.id,
            log_start: self.shared.log_start(),
            durable_end: self.tail.chain.next_offset,
            segment_base: self.tail.segment.base,
            position: FilePosition(self.tail.position),
            header_crc: self.tail.chain.prev_header_crc.unwrap_or(0),
            append_time: self.tail.chain.append_time,
            state: Vec::new(),
        }
    }

    /// Plans retention: returns the new log start, or `None` when nothing has had its time. Nothing at or above `ceiling`
    /// goes, and nothing changes before [`Log::apply_log_start`].
    #[must_use]
    pub fn plan_retention(
        &self,
        policy: &RetentionPolicy,
        ceiling: Offset,
        now: TimestampMs,
    ) -> Option<Offset> {
        let segments = self.shared.stats();
        let ceiling = ceiling.min(self.shared.durable_end());
        let count = retention::expired(&segments, policy, ceiling, now);
        count
            .checked_sub(1)
            .and_then(|last| segments.get(last))
            .map(|segment| segment.end_offset)
    }

    /// Moves the log start, which must already be durable in the checkpoint, and takes whole segments below it out.
    pub fn apply_log_start(&mut self, start: Offset) -> Unlink {
        self.shared
            .set_log_start(start.min(self.tail.chain.next_offset));
        let gone = self.shared.take_segments_below(start);
        Unlink {
            disk: Arc::clone(&self.shared.place.disk),
            dir: self.shared.place.dir.clone(),
            bases: gone.iter().map(|segment| segment.base).collect(),
        }
    }

    fn refused(&self, reason: Corruption) -> LogError {
        let next = self.tail.chain.next_offset;
        LogError::Corrupt {
            path: self.shared.segment_path(self.tail.segment.base),
            position: FilePosition(self.tail.position),
            from: next,
            to: next,
            reason,
        }
    }

    /// Reserves room for a batch. Finding none is refused before a byte is written and poisons nothing.
    fn allocate(&mut self, bytes: u64, reserve: Option<&Reserve>) -> Result<(), LogError> {
        let needed = self.tail.position.saturating_add(bytes);
        if needed <= self.tail.allocated {
            return Ok(());
        }
        let step = self
            .tail
            .position
            .clamp(PREALLOCATE_BYTES_MIN, PREALLOCATE_BYTES_MAX);
        let full = u64::from(self.config.segment_bytes).max(needed);
        let target = self.tail.position.saturating_add(step);
        let growth = Growth {
            from: self.tail.allocated,
            needed,
            wanted: target.max(needed).min(full),
        };
        let file = self.tail.file.as_ref();
        let allocated = match reserve {
            Some(reserve) => reserve.allocate(file, growth),
            None => growth.allocate(file, u64::MAX),
        };
        self.tail.allocated = allocated.map_err(|source| {
            let path = self.shared.segment_path(self.tail.segment.base);
            LogError::io("allocate", &path, source)
        })?;
        Ok(())
    }

    /// Makes a written batch known: the segment first, then the offsets that lead readers to it.
    fn publish(&mut self, header: &BatchHeader) -> Appended {
        let position = FilePosition(self.tail.position);
        let end = position.0.saturating_add(u64::from(header.length));
        self.tail.segment.change(|state| {
            if state.extent.end_offset == state.extent.base_offset {
                state.extent.first_append_time = header.append_time;
            }
            state.extent.last_append_time = header.append_time;
            state.extent.end_offset = header.next_offset();
            state.extent.end = FilePosition(end);
            state.extent.last_header_crc = header.header_crc;
            let base = state.extent.base_offset;
            state
                .index
                .note(base, header.base_offset, position, header.append_time);
        });
        self.tail.position = end;
        self.tail.chain.advance(header);
        self.shared.set_log_end(header.next_offset());
        Appended {
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
            append_time: header.append_time,
        }
    }
}

/// Opens the shared state of a log for `place` and `config`.
pub(super) fn shared(place: LogPlace, config: &LogConfig) -> Arc<Shared> {
    let visibility: Visibility = config.visibility;
    Arc::new(Shared::new(place, visibility, config.gaps.clone()))
}
