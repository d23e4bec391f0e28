//! The workload: a log with its checkpoints, used as a broker uses them, and told to the oracle step by step.

use std::path::PathBuf;
use std::sync::Arc;

use storage::batch::header::{Attributes, BatchHeader, HEADER_BYTES_U32};
use storage::checkpoint::CheckpointStore;
use storage::checksum::crc32;
use storage::disk::Disk;
use storage::disk::sim::{SimDisk, Survival};
use storage::error::LogError;
use storage::log::{
    Log, LogConfig, LogPlace, RecoveryReport, RetentionPolicy, RollTask, SyncTask, Visibility,
};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};

use crate::oracle::{Broken, Oracle, broken};

pub const ID: LogId = LogId::new(PartitionNumber(1), LogKind::Main);
pub const NOW: TimestampMs = TimestampMs(1_000_000);
pub const DIR: &str = "/data/0000000001/main";
pub const SLOTS: [&str; 2] = ["/data/.checkpoints/0", "/data/.checkpoints/1"];

/// One step of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Appends without a sync, after a roll where one is due.
    Append { records: u32, body_bytes: u32 },
    /// Syncs now.
    Sync,
    /// Begins a sync that is run later.
    BeginSync,
    /// Runs the syncs that were begun.
    RunSyncs,
    /// Starts a new segment.
    Roll,
    /// Begins a new segment, which takes no append until it is finished.
    BeginRoll,
    /// Finishes the new segment that was begun.
    FinishRoll,
    /// Stores a checkpoint, if everything it speaks of is durable.
    Checkpoint,
    /// Lets go of segments until this many bytes are left.
    Retain { bytes: u64 },
    /// Gets over a failed write.
    Heal,
}

/// How a run ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// An operation failed, as it must when the power is cut or a sync fails.
    Failed(String),
    /// A promise was broken.
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(format!("{error:?}"))
    }
}

/// How a run of the broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Crash {
    /// The power is cut.
    Power(Survival),
    /// The process is killed: what was written stays visible, and unsynced.
    Kill,
}

impl Crash {
    /// Returns the disk as the next run finds it, and tells the oracle.
    pub fn after(self, disk: &SimDisk, oracle: &mut Oracle) -> SimDisk {
        match self {
            Self::Power(survival) => {
                oracle.was_power_cut = true;
                disk.reboot(survival)
            }
            Self::Kill => {
                // What a failed sync has lost is gone when the file is read from the disk again.
                oracle.was_power_cut |= disk.has_lost();
                disk.restart_process()
            }
        }
    }
}

/// A new disk with the data directory, all of it durable.
pub fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let file = PathBuf::from("/data/.checkpoints/.made");
    disk.write_file(&file, b"").unwrap();
    disk
}

pub fn config(visibility: Visibility) -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        visibility,
        ..LogConfig::default()
    }
}

pub fn place(disk: Arc<dyn Disk>) -> LogPlace {
    LogPlace {
        disk,
        root: PathBuf::from("/data"),
        dir: PathBuf::from(DIR),
        id: ID,
    }
}

/// Makes a batch as a producer sends it; `number` makes it like no other.
pub fn batch(records: u32, body_bytes: u32, number: u64) -> Vec<u8> {
    let pattern = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    let body: Vec<u8> = pattern
        .into_iter()
        .cycle()
        .take(body_bytes as usize)
        .collect();
    let header = BatchHeader {
        log: None,
        attributes: Attributes::default(),
        length: HEADER_BYTES_U32 + body_bytes,
        base_offset: Offset::ZERO,
        record_count: records,
        unpacked_bytes: body_bytes,
        producer: None,
        body_crc: crc32(&body),
        first_timestamp: NOW,
        max_timestamp: NOW,
        append_time: TimestampMs(0),
        prev_header_crc: 0,
        durable_up_to: Offset::ZERO,
        header_crc: 0,
    };
    [header.encode().as_slice(), &body].concat()
}

/// A running broker: one log and the checkpoints.
#[derive(Debug)]
pub struct Broker {
    pub log: Log,
    pub store: CheckpointStore,
    later: Vec<SyncTask>,
    rolling: Option<RollTask>,
}

impl Broker {
    /// Opens everything, without looking at it.
    pub fn open(
        disk: Arc<dyn Disk>,
        visibility: Visibility,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let (store, entries) = CheckpointStore::open(disk.as_ref(), SLOTS.map(PathBuf::from))?;
        let (log, report) = Log::open(place(disk), config(visibility), entries.first(), NOW)?;
        let (later, rolling) = (Vec::new(), None);
        Ok((
            Self {
                log,
                store,
                later,
                rolling,
            },
            report,
        ))
    }

    /// Opens everything, compares it with the promises, and tells the oracle what is there now.
    pub fn reopen(disk: &SimDisk, oracle: &mut Oracle) -> Result<(Self, RecoveryReport), Stop> {
        let (broker, report) = match Self::open(Arc::new(disk.clone()), oracle.visibility) {
            Err(error) if !disk.is_power_cut() => broken("opens", format!("{error:?}"))?,
            opened => opened?,
        };
        oracle.check(&broker.log, &report)?;
        oracle.reopened(&broker.log);
        Ok((broker, report))
    }

    /// Runs steps until one fails.
    pub fn run(&mut self, steps: &[Step], oracle: &mut Oracle) -> Result<(), Stop> {
        for step in steps {
            let done = self.step(*step, oracle);
            oracle.observe(&self.log);
            done?;
        }
        Ok(())
    }

    pub fn step(&mut self, step: Step, oracle: &mut Oracle) -> Result<(), Stop> {
        match step {
            Step::Append {
                records,
                body_bytes,
            } => self.append(records, body_bytes, oracle)?,
            Step::Sync => self.sync()?,
            Step::BeginSync => self.later.extend(self.log.begin_sync()),
            Step::RunSyncs => {
                for task in self.later.drain(..) {
                    task.run()?;
                }
            }
            Step::Roll if self.rolling.is_none() => self.log.roll()?,
            Step::BeginRoll if self.rolling.is_none() => {
                self.rolling = Some(self.log.begin_roll()?);
            }
            Step::Roll | Step::BeginRoll => {}
            Step::FinishRoll => {
                if let Some(task) = self.rolling.take() {
                    self.log.finish_roll(task.run())?;
                }
            }
            Step::Checkpoint => drop(self.checkpoint(None, oracle)?),
            Step::Retain { bytes } => self.retain(bytes, oracle)?,
            Step::Heal => {
                if let Some(task) = self.log.begin_heal() {
                    task.run()?;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, records: u32, body_bytes: u32, oracle: &mut Oracle) -> Result<(), Stop> {
        oracle.batch_count += 1;
        let mut bytes = batch(records, body_bytes, oracle.batch_count);
        let header = BatchHeader::decode(&bytes).unwrap();
        if self.rolling.is_some() {
            return match self.log.append(&header, &mut bytes, NOW) {
                Err(LogError::Rolling { .. }) => Ok(()),
                Err(other) => Err(other.into()),
                Ok(appended) => Ok(broken("refused while rolling", format!("{appended:?}"))?),
            };
        }
        if self.log.needs_roll(u64::from(header.length), NOW) {
            self.log.roll()?;
        }
        let appended = self.log.append(&header, &mut bytes, NOW);
        let stamped = BatchHeader::decode(&bytes).unwrap();
        if stamped.log.is_some() {
            // Written, or perhaps: an append that fails leaves that open.
            oracle.batches.insert(stamped.base_offset.0, bytes);
        }
        oracle.written_end = appended?.next_offset.0;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.log
            .begin_sync()
            .map_or(Ok(()), |task| task.run().map(drop))
    }

    fn checkpoint(
        &mut self,
        log_start: Option<Offset>,
        oracle: &mut Oracle,
    ) -> Result<bool, LogError> {
        let mut checkpoint = self.log.checkpoint();
        if self.log.reader().durable_end() < checkpoint.durable_end {
            return Ok(false);
        }
        checkpoint.log_start = log_start.unwrap_or(checkpoint.log_start);
        self.store.write(std::slice::from_ref(&checkpoint))?;
        oracle.log_start = oracle.log_start.max(checkpoint.log_start.0);
        Ok(true)
    }

    fn retain(&mut self, bytes: u64, oracle: &mut Oracle) -> Result<(), LogError> {
        let policy = RetentionPolicy {
            retention_ms: None,
            retention_bytes: Some(bytes),
        };
        self.sync()?;
        let Some(start) = self.log.plan_retention(&policy, Offset(u64::MAX), NOW) else {
            return Ok(());
        };
        oracle.log_start_tried = oracle.log_start_tried.max(start.0);
        if self.checkpoint(Some(start), oracle)? {
            self.log.apply_log_start(start).run()?;
        }
        Ok(())
    }
}

/// Every kind of step, with rolls, unsynced groups, checkpoints at odd moments and two retentions.
pub fn full_workload() -> Vec<Step> {
    use Step::{BeginRoll, BeginSync, Checkpoint, FinishRoll, Retain, Roll, RunSyncs, Sync};
    let append = |records, body_bytes| Step::Append {
        records,
        body_bytes,
    };
    vec![
        append(1, 100),
        Sync,
        append(3, 700),
        append(1, 40),
        Sync,
        Checkpoint,
        append(2, 900),
        append(2, 900),
        Sync,
        append(1, 1300),
        BeginSync,
        append(2, 500),
        append(4, 200),
        RunSyncs,
        Sync,
        Roll,
        append(1, 600),
        append(1, 300),
        append(1, 600),
        Sync,
        Checkpoint,
        append(5, 1900),
        append(2, 1700),
        append(2, 400),
        Sync,
        Retain { bytes: 6000 },
        append(1, 80),
        append(1, 800),
        BeginSync,
        BeginRoll,
        append(3, 900),
        RunSyncs,
        FinishRoll,
        Checkpoint,
        append(1, 1000),
        Sync,
        Roll,
        Roll,
        append(2, 600),
        append(2, 600),
        append(2, 600),
        Sync,
        Checkpoint,
        Retain { bytes: 4000 },
        append(1, 700),
        append(1, 700),
        append(1, 64),
    ]
}
