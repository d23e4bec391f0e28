//! Opening a partition: recovering its logs, folding what they hold, and finishing republishes that a crash interrupted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::append::Partition;
use super::claims::{ClaimState, Claims};
use super::state::{self, MainState};
use crate::batch::header::BatchHeader;
use crate::cause::{Cause, CauseKind};
use crate::checkpoint::LogCheckpoint;
use crate::dead_letter::{DeadLetterLog, Marker, Resolution};
use crate::delivery::DeliveryLog;
use crate::disk::Disk;
use crate::error::LogError;
use crate::log::{FirstUse, Log, LogConfig, LogPlace, LogReader, ReadBound, RecoveryReport};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};
use crate::producers::{ProducerLimits, Producers};
use crate::reserve::Reserve;

/// Who a marker names when recovery wrote it.
const RECOVERY: &str = "recovery";

/// Where a partition stands.
#[derive(Debug, Clone)]
pub struct PartitionPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The data directory.
    pub root: PathBuf,
    /// The partition.
    pub number: PartitionNumber,
}

/// How a partition behaves.
#[derive(Debug, Clone, Default)]
pub struct PartitionConfig {
    /// The main log.
    pub main: LogConfig,
    /// The dead-letter log; always synced.
    pub dead_letters: LogConfig,
    /// The delivery log, always synced, of the topic whose records are pushed; `None` for any other.
    pub delivery: Option<LogConfig>,
    /// How long and of how many producers the partition remembers.
    pub producers: ProducerLimits,
    /// What producers and publishers leave free on the disk, if anything; all other appends may take it.
    pub reserve: Option<Arc<Reserve>>,
}

/// The newest checkpoints of a partition's logs.
#[derive(Debug, Clone, Default)]
pub struct PartitionHints {
    /// Of the main log.
    pub main: Option<LogCheckpoint>,
    /// Of the dead-letter log.
    pub dead_letters: Option<LogCheckpoint>,
    /// Of the delivery log.
    pub delivery: Option<LogCheckpoint>,
}

/// What opening found and did.
#[derive(Debug, Clone, Default)]
pub struct PartitionReport {
    /// Of the main log.
    pub main: RecoveryReport,
    /// Of the dead-letter log.
    pub dead_letters: RecoveryReport,
    /// Of the delivery log. Damage where the state comes from is told by [`Partition::delivery_damage`].
    pub delivery: RecoveryReport,
    /// Messages that had died and whose letters were standing without that being noted.
    pub dead_count: usize,
    /// Republishes whose markers were missing and have been appended.
    pub finished_count: usize,
}

/// A republish that stands in the main log.
struct Committed {
    letter: Offset,
    target: Offset,
    request_id: Option<String>,
    time: TimestampMs,
}

impl PartitionPlace {
    /// Returns where one of the partition's logs stands.
    #[must_use]
    pub fn log(&self, kind: LogKind) -> LogPlace {
        let id = LogId::new(self.number, kind);
        LogPlace {
            disk: Arc::clone(&self.disk),
            root: self.root.clone(),
            dir: crate::data_dir::log_dir(&self.root, id),
            id,
        }
    }
}

impl Partition {
    /// Opens a partition, creating its main log where it is missing.
    ///
    /// Everything that its logs then hold is durable, and every letter whose republish was committed has its marker, or its
    /// claim where the dead-letter log is damaged and takes none.
    ///
    /// # Errors
    /// As [`Log::open`]; [`LogError::Corrupt`] when a log cannot be folded.
    pub fn open(
        place: &PartitionPlace,
        config: PartitionConfig,
        hints: &PartitionHints,
        now: TimestampMs,
    ) -> Result<(Self, PartitionReport), LogError> {
        let (main, main_report) = Log::open(
            place.log(LogKind::Main),
            config.main,
            hints.main.as_ref(),
            now,
        )?;
        let dead_letter_place = place.log(LogKind::DeadLetter);
        let exists = hints.dead_letters.is_some() || dead_letter_place.exists()?;
        let mut report = PartitionReport {
            main: main_report,
            ..PartitionReport::default()
        };
        let mut dead_letters = None;
        if exists {
            let config = config.dead_letters.clone();
            let hint = hints.dead_letters.as_ref();
            let (log, opened) = DeadLetterLog::open(dead_letter_place.clone(), config, hint, now)?;
            dead_letters = Some(log);
            report.dead_letters = opened;
        }
        let (settled_up_to, producers) =
            fold(&main.reader(), hints.main.as_ref(), config.producers, now)?;
        let mut partition = Self {
            number: place.number,
            main,
            producers,
            dead_letters,
            dead_letter_place,
            dead_letter_config: config.dead_letters,
            dead_letters_first_use: FirstUse::default(),
            claims: Claims::default(),
            unsettled: BTreeMap::new(),
            push: None,
            reserve: config.reserve,
        };
        report.finished_count = partition.finish_republishes(settled_up_to, now)?;
        if let Some(config) = config.delivery {
            let hint = hints.delivery.as_ref();
            let delivery_place = place.log(LogKind::Delivery);
            let main = partition.main.reader();
            let (log, opened) = DeliveryLog::open(delivery_place, config, hint, &main, now)?;
            partition.push = Some(log);
            report.delivery = opened;
            report.dead_count = partition.finish_deaths(now)?;
        }
        Ok((partition, report))
    }

    /// Appends and syncs the markers of letters whose fresh record stands in the main log at or above `from`. A dead-letter
    /// log that is open for reads only leaves them due.
    fn finish_republishes(&mut self, from: Offset, now: TimestampMs) -> Result<usize, LogError> {
        let Some(dead_letters) = self.dead_letters.as_mut() else {
            return Ok(0);
        };
        let committed = committed(&self.main.reader(), from, dead_letters.log().reader().id())?;
        if dead_letters.log().poison().is_some() {
            // The damaged log takes no marker, and which letters have theirs cannot be told: each keeps its claim, so that
            // none is republished twice, and main retention waits.
            let start = dead_letters.log().reader().log_start();
            for committed in committed.iter().filter(|c| c.letter >= start) {
                let target = committed.target;
                self.unsettled.insert(target, None);
                self.claims
                    .set(committed.letter, ClaimState::Committed { target });
            }
            return Ok(0);
        }
        let missing: Vec<_> = committed
            .into_iter()
            .filter(|committed| dead_letters.is_live(committed.letter))
            .map(|committed| Marker {
                letter: committed.letter,
                resolution: Resolution::Republished {
                    partition: self.number,
                    offset: committed.target,
                },
                request_id: committed.request_id,
                time: committed.time,
                who: RECOVERY.to_owned(),
            })
            .collect();
        for markers in missing.chunks(super::republish::MARKERS_PER_BATCH_MAX) {
            append_synced(dead_letters, markers, now)?;
        }
        Ok(missing.len())
    }
}

fn append_synced(
    log: &mut DeadLetterLog,
    markers: &[Marker],
    now: TimestampMs,
) -> Result<(), LogError> {
    match log.append_markers(markers, now) {
        Err(LogError::Rolling { .. }) => {
            let done = log.log_mut().begin_roll()?.run();
            if let Some(facets) = log.finish_roll(done)? {
                facets.run();
            }
            log.append_markers(markers, now)?;
        }
        appended => {
            appended?;
        }
    }
    if let Some(task) = log.log_mut().begin_sync() {
        task.run()?;
    }
    Ok(())
}

/// Folds the producers from where the hint ends, and says from where causes may be unsettled.
fn fold(
    main: &LogReader,
    hint: Option<&LogCheckpoint>,
    limits: ProducerLimits,
    now: TimestampMs,
) -> Result<(Offset, Producers), LogError> {
    let log_start = main.log_start();
    let state = state::decode(hint, limits).filter(|state| state.from >= log_start);
    let MainState {
        from,
        settled_up_to,
        mut producers,
    } = state.unwrap_or_else(|| MainState {
        from: log_start,
        settled_up_to: log_start,
        producers: Producers::new(limits),
    });
    // A tail that was damaged ends before the checkpoint does: there is nothing behind it to fold.
    let from = from.min(main.log_end());
    scan_over_damage(main, from, &mut |header| {
        producers.record(header);
    })?;
    producers.forget_below(log_start);
    producers.forget_expired(now);
    Ok((settled_up_to.max(log_start), producers))
}

/// Goes over the headers from `from` to the log end, passing over what is damaged.
fn scan_over_damage(
    log: &LogReader,
    from: Offset,
    visit: &mut dyn FnMut(&BatchHeader),
) -> Result<(), LogError> {
    let mut next = from;
    loop {
        let scanned = log.scan_headers(next, ReadBound::LogEnd, &mut |header| {
            if header.next_offset() > from {
                visit(header);
            }
            ControlFlow::Continue(())
        });
        match scanned {
            Err(LogError::Corrupt { to, .. }) if to > next && to < log.log_end() => next = to,
            Err(LogError::Corrupt { .. }) | Ok(()) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Returns the republishes of letters of `letters` that stand in the main log at or above `from`.
fn committed(main: &LogReader, from: Offset, letters: LogId) -> Result<Vec<Committed>, LogError> {
    let mut bases = Vec::new();
    scan_over_damage(main, from.min(main.log_end()), &mut |header| {
        if header.attributes.holds_causes {
            bases.push(header.base_offset);
        }
    })?;
    let mut committed = Vec::new();
    for base in bases {
        let batch = match main.batch_at(base, ReadBound::LogEnd) {
            Err(LogError::Corrupt { .. }) => continue,
            batch => batch?,
        };
        if batch.header().base_offset != base {
            // It was given up: this is the one behind.
            continue;
        }
        let records = batch
            .records(crate::limits::BATCH_BYTES_CEILING)
            .map_err(|reason| main.undecodable(base, reason))?;
        for (delta, record) in (0u64..).zip(&records) {
            let cause = record
                .header(crate::cause::CAUSE_HEADER)
                .and_then(|value| Cause::decode(value).ok());
            let Some(cause) = cause else { continue };
            if cause.kind == CauseKind::Republish && cause.log == letters {
                committed.push(Committed {
                    letter: cause.offset,
                    target: Offset(base.0.saturating_add(delta)),
                    request_id: cause.detail.request_id,
                    time: batch.header().append_time,
                });
            }
        }
    }
    Ok(committed)
}
