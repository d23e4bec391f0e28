//! One log under real threads: an owner that appends and rolls, syncs and heals that others run at any time, retention that
//! unlinks, and readers that must get the right bytes or be told that the offset is gone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::string_slice,
    missing_docs,
    reason = "tests may panic"
)]

#[path = "../../tests/support/hold.rs"]
#[allow(dead_code, unreachable_pub, reason = "no suite uses all of it")]
mod hold;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use storage::batch::header::{BatchHeader, HEADER_BYTES};
use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec, NewRecord, Records};
use storage::disk::RealDisk;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::SimDisk;
use storage::disk::{DirEntry, Disk};
use storage::error::{LogError, PoisonCause};
use storage::log::retention::SegmentStats;
use storage::log::{Log, LogConfig, LogPlace, LogReader, ReadBound, RetentionPolicy, Visibility};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_000_000);
const BATCHES: u64 = 1_000;
const READERS: u64 = 3;

/// What the threads met: reads, offsets that were gone or not there yet, and segments that were unlinked.
#[derive(Debug, Default, Clone, Copy)]
struct Met {
    reads: u64,
    out_of_range: u64,
    unlinked: u64,
}

/// How a stage is set.
#[derive(Debug, Clone, Copy)]
struct Setting {
    visibility: Visibility,
    segment_bytes: u32,
    retention_bytes: u64,
    readers: u64,
    batches: u64,
}

impl Setting {
    fn usual(visibility: Visibility) -> Self {
        Self {
            visibility,
            segment_bytes: 16 << 10,
            retention_bytes: 128 << 10,
            readers: READERS,
            batches: BATCHES,
        }
    }
}

fn config(setting: Setting) -> LogConfig {
    let visibility = setting.visibility;
    LogConfig {
        segment_bytes: setting.segment_bytes,
        visibility,
        ..LogConfig::default()
    }
}

/// A batch of `records` records; each says which offset it has.
fn batch(first: u64, records: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for offset in first..first + records {
        let value = value_of(offset);
        builder
            .push(&NewRecord {
                timestamp: NOW,
                key: None,
                value: Some(&value),
                headers: &[],
            })
            .unwrap();
    }
    let broker = BrokerMark::Client;
    builder
        .build(BuildOptions {
            producer: None,
            broker,
        })
        .unwrap()
}

fn value_of(offset: u64) -> Vec<u8> {
    let mut value = offset.to_be_bytes().to_vec();
    value.resize(8 + (offset % 900) as usize, offset as u8);
    value
}

/// Checks that every record is the one of its offset, and returns the first offset behind them.
fn check_batch(header: &BatchHeader, body: &[u8]) -> u64 {
    let mut offset = header.base_offset.0;
    for record in Records::new(header, body) {
        assert_eq!(
            record.unwrap().value,
            Some(value_of(offset).as_slice()),
            "offset {offset}"
        );
        offset += 1;
    }
    assert_eq!(offset, header.next_offset().0);
    offset
}

struct Stage {
    log: Mutex<Log>,
    reader: LogReader,
    is_over: AtomicBool,
    reads: AtomicU64,
    out_of_range: AtomicU64,
    unlinked: AtomicU64,
}

impl Stage {
    fn owner(&self, batches: u64, faults: Option<&FaultDisk>) {
        let mut next = 0;
        let mut appended = 0;
        let mut fault_at = 0;
        while appended < batches {
            if let (Some(faults), true) = (faults, appended == fault_at) {
                let effect = Effect::WritePart(150, std::io::ErrorKind::StorageFull);
                faults.add(Rule::new(OpClass::Write, effect).on(".log"));
                fault_at += 23;
            }
            let records = 1 + next % 7;
            let mut bytes = batch(next, records);
            let header = BatchHeader::decode(&bytes).unwrap();
            let result = self.log.lock().unwrap().append(&header, &mut bytes, NOW);
            match result {
                Ok(at) => {
                    assert_eq!(at.base_offset.0, next);
                    next += records;
                    appended += 1;
                }
                Err(LogError::Rolling { .. }) => self.roll(),
                Err(LogError::Poisoned { .. } | LogError::Io { .. }) if faults.is_some() => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn roll(&self) {
        let begun = self.log.lock().unwrap().begin_roll();
        let Ok(task) = begun else { return };
        let done = task.run();
        self.log.lock().unwrap().finish_roll(done).ok();
    }

    fn syncer(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let task = self.log.lock().unwrap().begin_sync();
            match task {
                Some(task) => {
                    let end = task.run().unwrap();
                    assert!(self.reader.durable_end() >= end);
                }
                None => std::thread::yield_now(),
            }
        }
    }

    fn healer(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let task = self.log.lock().unwrap().begin_heal();
            match task {
                // Another healer may have been first, and the log may be poisoned anew by then.
                Some(task) => drop(task.run()),
                None => std::thread::yield_now(),
            }
            assert_ne!(self.reader.poison(), Some(PoisonCause::SyncFailed));
        }
    }

    fn retention(&self, retention_bytes: u64) {
        let policy = RetentionPolicy {
            retention_ms: None,
            retention_bytes: Some(retention_bytes),
        };
        while !self.is_over.load(Ordering::Relaxed) {
            let plan = {
                let log = self.log.lock().unwrap();
                log.plan_retention(&policy, log.next_offset(), NOW)
            };
            if let Some(start) = plan {
                let mut log = self.log.lock().unwrap();
                // Whatever has had its time, the segment that is written to stays. While the log rolls there is none.
                let segments = self.reader.segments();
                if let Some(active) = segments.last().filter(|last| !last.is_sealed) {
                    assert!(
                        start <= active.base_offset,
                        "retention up to {start} takes the active segment: {active:?}"
                    );
                }
                let unlink = log.apply_log_start(start);
                drop(log);
                let count = unlink.segment_count() as u64;
                self.unlinked.fetch_add(count, Ordering::Relaxed);
                unlink.run().unwrap();
            }
            std::thread::yield_now();
        }
    }

    fn reader(&self, seed: u64) {
        let mut random = seed;
        while !self.is_over.load(Ordering::Relaxed) {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (start, end) = (self.reader.log_start().0, self.reader.high_watermark().0);
            // What was not yet to be seen has not gone.
            assert!(start <= end, "the log starts at {start}, and ends at {end}");
            let span = (end - start.min(end)).max(1);
            let from = match random >> 62 {
                0 => start.saturating_sub(random >> 33 & 15),
                1 => end.saturating_sub(random >> 33 & 3),
                _ => start + (random >> 20) % span,
            };
            let result = match random >> 60 & 3 {
                0 => self.scan(from),
                _ => self.read(from),
            };
            match result {
                Ok(()) => drop(self.reads.fetch_add(1, Ordering::Relaxed)),
                Err(LogError::OffsetOutOfRange {
                    requested,
                    log_start,
                    log_end,
                }) => {
                    // The range that is named is one that there was while it was asked for, and does not hold the offset.
                    let now = self.reader.log_start();
                    // A scan says how far it had got.
                    assert!(requested.0 >= from);
                    assert!((start..=now.0).contains(&log_start.0), "{log_start}");
                    assert!(requested < log_start || requested >= log_end, "{requested}");
                    assert!(
                        from < self.reader.log_start().0
                            || from > end
                            || self.reader.log_start().0 > start
                    );
                    self.out_of_range.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("seed {seed}, from {from}: {error:?}"),
            }
        }
    }

    fn read(&self, from: u64) -> Result<(), LogError> {
        let end_before = self.reader.high_watermark().0;
        let bytes = self
            .reader
            .read(Offset(from), 5_000, ReadBound::HighWatermark)?;
        let mut rest = bytes.as_slice();
        if rest.is_empty() {
            assert!(from >= end_before, "nothing at {from} below {end_before}");
        }
        let mut next = None;
        while !rest.is_empty() {
            let header = BatchHeader::decode(rest).unwrap();
            assert!(next.is_none_or(|next| next == header.base_offset.0));
            if next.is_none() {
                assert!(header.base_offset.0 <= from && from < header.next_offset().0);
            }
            let (whole, behind) = rest.split_at(header.length as usize);
            next = Some(check_batch(&header, &whole[HEADER_BYTES..]));
            rest = behind;
        }
        Ok(())
    }

    fn scan(&self, from: u64) -> Result<(), LogError> {
        let mut next = None;
        let mut left = 40;
        self.reader
            .scan(Offset(from), ReadBound::LogEnd, &mut |header, body| {
                assert!(next.is_none_or(|next| next == header.base_offset.0));
                next = Some(check_batch(header, body));
                left -= 1;
                if left == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
    }
}

fn run(disk: Arc<dyn Disk>, root: PathBuf, setting: Setting, faults: Option<&FaultDisk>) -> Met {
    let place = LogPlace {
        disk,
        dir: root.join("0000000001/main"),
        root,
        id: LogId::new(PartitionNumber(1), LogKind::Main),
    };
    let (log, _) = Log::open(place.clone(), config(setting), None, NOW).unwrap();
    let stage = Stage {
        reader: log.reader(),
        log: Mutex::new(log),
        is_over: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        out_of_range: AtomicU64::new(0),
        unlinked: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| stage.syncer());
        scope.spawn(|| stage.syncer());
        scope.spawn(|| stage.retention(setting.retention_bytes));
        if faults.is_some() {
            scope.spawn(|| stage.healer());
            scope.spawn(|| stage.healer());
        }
        for seed in 1..=setting.readers {
            let stage = &stage;
            scope.spawn(move || stage.reader(seed));
        }
        let over = Over(&stage.is_over);
        stage.owner(setting.batches, faults);
        // On a busy machine the readers may not have had their turn yet.
        for _ in 0..10_000_000 {
            if stage.reads.load(Ordering::Relaxed) > 0 {
                break;
            }
            std::thread::yield_now();
        }
        drop(over);
    });
    assert!(stage.reads.load(Ordering::Relaxed) > 0);
    assert_eq!(stage.reader.damage(), vec![]);
    let met = Met {
        reads: stage.reads.load(Ordering::Relaxed),
        out_of_range: stage.out_of_range.load(Ordering::Relaxed),
        unlinked: stage.unlinked.load(Ordering::Relaxed),
    };
    let mut log = stage.log.into_inner().unwrap();
    if let Some(task) = log.begin_heal() {
        task.run().unwrap();
    }
    if let Some(task) = log.begin_sync() {
        task.run().unwrap();
    }
    let (checkpoint, end) = (log.checkpoint(), log.next_offset());
    let (start, segments) = (log.reader().log_start(), log.reader().segments());
    drop(log);
    check_files(&place, &segments);
    let (log, report) = Log::open(place, config(setting), Some(&checkpoint), NOW).unwrap();
    assert_eq!((report.damage, report.cut), (vec![], None));
    assert_eq!(log.next_offset(), end);
    assert_eq!(read_all(&log.reader(), start), end);
    met
}

/// Every segment has its file, and nothing that retention took has one.
fn check_files(place: &LogPlace, segments: &[SegmentStats]) {
    let names = place.disk.list(&place.dir).unwrap();
    let is_segment = |entry: &&DirEntry| Path::new(&entry.name).extension() == Some("log".as_ref());
    let files = names.iter().filter(is_segment).count();
    assert_eq!(files, segments.len(), "{names:?} {segments:?}");
}

/// Reads everything from the start on, and returns the first offset behind it.
fn read_all(reader: &LogReader, start: Offset) -> Offset {
    let mut next = start.0;
    reader
        .scan(start, ReadBound::LogEnd, &mut |header, body| {
            assert!(header.base_offset.0 <= next);
            next = check_batch(header, body);
            ControlFlow::Continue(())
        })
        .unwrap();
    Offset(next)
}

/// Ends the other threads also when the owner panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_get_right_bytes_while_a_log_rolls_syncs_and_loses_its_head() {
    for visibility in [Visibility::Synced, Visibility::Written] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk);
        let setting = Setting::usual(visibility);
        run(disk, dir.path().to_path_buf(), setting, None);
        let disk = SimDisk::new(1);
        disk.create_dir(&PathBuf::from("/data")).unwrap();
        run(Arc::new(disk), PathBuf::from("/data"), setting, None);
    }
}

#[test]
fn a_log_whose_writes_fail_now_and_then_is_healed_by_whoever_comes_first() {
    for visibility in [Visibility::Synced, Visibility::Written] {
        let dir = tempfile::tempdir().unwrap();
        let faults = FaultDisk::new(Arc::new(RealDisk));
        let disk = Arc::new(faults.clone());
        let setting = Setting::usual(visibility);
        run(disk, dir.path().to_path_buf(), setting, Some(&faults));
    }
}

#[test]
fn retention_races_64_readers() {
    let mut hold = hold::Hold::begin("log_threads/retention_races_64_readers");
    let (mut round, mut unlinked, mut out_of_range) = (0, 0, 0);
    while hold.goes_on(round, 8) {
        let visibility = [Visibility::Synced, Visibility::Written][round as usize % 2];
        let setting = Setting {
            visibility,
            segment_bytes: 4 << 10,
            // Some, or as few as there can be: then the active segment is next.
            retention_bytes: if round % 8 < 4 { 12 << 10 } else { 0 },
            readers: 64,
            batches: match (hold.is_long(), round % 8 < 4) {
                (true, _) => BATCHES,
                (false, true) => 400,
                (false, false) => 80,
            },
        };
        let dir = tempfile::tempdir().unwrap();
        let met = if round % 4 < 2 {
            run(Arc::new(RealDisk), dir.path().to_path_buf(), setting, None)
        } else {
            let disk = SimDisk::new(1);
            disk.create_dir(&PathBuf::from("/data")).unwrap();
            run(Arc::new(disk), PathBuf::from("/data"), setting, None)
        };
        hold.count("reads", met.reads);
        hold.count("out_of_range", met.out_of_range);
        hold.count("unlinked", met.unlinked);
        unlinked += met.unlinked;
        out_of_range += met.out_of_range;
        round += 1;
    }
    assert!(unlinked > 0 && out_of_range > 0, "nothing has raced");
    hold.count("rounds", round);
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}
