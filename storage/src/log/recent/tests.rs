#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::io::ErrorKind;

use super::super::tests::{NOW, batch, place};
use super::super::{Log, LogConfig, LogPlace, LogReader, ReadBound, RetentionPolicy, Visibility};
use super::*;
use crate::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use crate::disk::sim::SimDisk;
use crate::error::PoisonCause;

const SEED_COUNT: u64 = 60;
const STEP_COUNT: u32 = 250;

struct Machine {
    sim: SimDisk,
    fault: FaultDisk,
    config: LogConfig,
    log: Log,
    memory: Arc<FetchMemory>,
    random: u64,
    /// Where the reader that follows the end has got.
    cursor: Offset,
    /// Fetches that gave batches and read nothing from the disk.
    hit_count: u32,
}

fn open(sim: &SimDisk, fault: &FaultDisk, config: &LogConfig) -> Log {
    let place = LogPlace {
        disk: Arc::new(fault.clone()),
        ..place(sim)
    };
    Log::open(place, config.clone(), None, NOW).unwrap().0
}

fn machine(seed: u64, visibility: Visibility, segment_bytes: u32) -> Machine {
    let sim = SimDisk::new(seed);
    let fault = FaultDisk::over(&sim);
    let config = LogConfig {
        segment_bytes,
        visibility,
        ..LogConfig::default()
    };
    Machine {
        log: open(&sim, &fault, &config),
        sim,
        fault,
        config,
        memory: Arc::default(),
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        cursor: Offset::ZERO,
        hit_count: 0,
    }
}

impl Machine {
    fn below(&mut self, count: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % count
    }

    fn append(&mut self, records: u32, body_bytes: u32) {
        let mut bytes = batch(records, records as u8, body_bytes);
        let header = BatchHeader::decode(&bytes).unwrap();
        if self.log.needs_roll(u64::from(header.length), NOW) {
            self.log.roll().unwrap();
        }
        self.log.append(&header, &mut bytes, NOW).unwrap();
    }

    fn sync(&mut self) {
        if let Some(task) = self.log.begin_sync() {
            task.run().unwrap();
        }
    }

    /// Fetches, and compares with what the file gives at this moment. Returns the offset behind what was fetched.
    fn fetch(&mut self, from: Offset, bytes_max: u64) -> Offset {
        let reader = self.log.reader();
        let reads = self.fault.count(OpClass::Read);
        let fetched = reader.fetch(from, bytes_max, &self.memory);
        let is_hit = reads == self.fault.count(OpClass::Read);
        let read = reader.read(from, bytes_max, ReadBound::HighWatermark);
        let (fetched, read) = match (fetched, read) {
            (Ok(fetched), Ok(read)) => (fetched, read),
            (Err(fetched), Err(read)) => {
                assert_eq!(fetched.to_string(), read.to_string());
                return reader.high_watermark();
            }
            (fetched, read) => panic!("from {from:?}: fetched {fetched:?}, the file has {read:?}"),
        };
        assert_eq!(fetched.is_empty(), read.is_empty(), "from {from:?}");
        self.hit_count += u32::from(is_hit && !fetched.is_empty());
        let file = file_bytes(&reader, read, fetched.len());
        assert!(file.starts_with(&fetched), "from {from:?}");
        end_of(&fetched).unwrap_or(from)
    }

    fn step(&mut self) {
        match self.below(20) {
            0..8 => {
                let (records, body_bytes) = (self.below(5) as u32 + 1, self.below(1500) as u32);
                self.append(records, body_bytes + 10);
            }
            8..11 => self.sync(),
            11..15 => {
                let bytes_max = self.below(4000);
                self.cursor = self.fetch(self.cursor, bytes_max);
            }
            15 => {
                let from = Offset(self.below(self.log.next_offset().0 + 3));
                self.fetch(from, 3000);
            }
            16 => self.apply_retention(),
            17 => self.fail_a_write(),
            18 if self.below(10) == 0 => self.fail_a_sync(),
            _ => self.log.reader().rest(),
        }
    }

    fn apply_retention(&mut self) {
        let policy = RetentionPolicy {
            retention_ms: None,
            retention_bytes: Some(8000),
        };
        if let Some(start) = self.log.plan_retention(&policy, Offset(u64::MAX), NOW) {
            self.log.apply_log_start(start).run().unwrap();
            self.fetch(start, 3000);
        }
        self.fetch(
            Offset(self.log.reader().log_start().0.saturating_sub(1)),
            10,
        );
    }

    fn fail_a_write(&mut self) {
        let effect = Effect::WritePart(100, ErrorKind::StorageFull);
        self.fault.add(Rule::new(OpClass::Write, effect).on(".log"));
        let mut bytes = batch(1, 0xEE, 300);
        let header = BatchHeader::decode(&bytes).unwrap();
        if self.log.append(&header, &mut bytes, NOW).is_err() {
            self.cursor = self.fetch(self.cursor, 3000);
        }
        self.fault.heal();
        if let Some(task) = self.log.begin_heal() {
            task.run().unwrap();
        }
        self.cursor = self.fetch(self.cursor, 3000);
    }

    /// What was written and not synced is lost, also to those who had it in memory.
    fn fail_a_sync(&mut self) {
        self.append(1, 200);
        let fail = Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other));
        self.fault.add(fail.on(".log"));
        if let Some(task) = self.log.begin_sync() {
            task.run().unwrap_err();
            assert_eq!(self.log.poison(), Some(PoisonCause::SyncFailed));
        }
        for from in self.log.reader().log_start().0..self.log.next_offset().0 {
            self.fetch(Offset(from), 3000);
        }
        self.fault.heal();
        self.log = open(&self.sim, &self.fault, &self.config);
        self.cursor = self.cursor.min(self.log.next_offset());
        self.cursor = self.fetch(self.cursor, 3000);
    }
}

/// Goes on reading the file until there are `count` bytes: what is in memory may reach into the next segment.
fn file_bytes(reader: &LogReader, mut bytes: Vec<u8>, count: usize) -> Vec<u8> {
    while bytes.len() < count {
        let next = end_of(&bytes).unwrap();
        let more = reader
            .read(next, 1 << 20, ReadBound::HighWatermark)
            .unwrap();
        assert!(!more.is_empty(), "more is served than the file has");
        bytes.extend(more);
    }
    bytes
}

fn end_of(mut bytes: &[u8]) -> Option<Offset> {
    let mut end = None;
    while !bytes.is_empty() {
        let header = BatchHeader::decode(bytes).unwrap();
        bytes = bytes.get(header.length as usize..).unwrap();
        end = Some(header.next_offset());
    }
    end
}

#[test]
fn whatever_happens_a_fetch_gives_what_the_file_gives() {
    let mut hit_count = 0;
    for seed in 0..SEED_COUNT {
        for visibility in [Visibility::Synced, Visibility::Written] {
            println!("seed {seed}, {visibility:?}");
            let mut machine = machine(seed, visibility, 4096);
            for _ in 0..STEP_COUNT {
                machine.step();
            }
            hit_count += machine.hit_count;
        }
    }
    println!("{hit_count} fetches were served from memory");
    assert!(
        hit_count > 500,
        "{hit_count} fetches were served from memory"
    );
}

#[test]
fn what_is_not_synced_is_not_served_from_a_synced_log() {
    let mut machine = machine(1, Visibility::Synced, 1 << 20);
    assert_eq!(machine.fetch(Offset(0), 9000), Offset(0));
    machine.append(3, 500);
    let first = machine.log.begin_sync().unwrap();
    machine.append(2, 500);
    assert_eq!(machine.fetch(Offset(0), 9000), Offset(0));
    first.run().unwrap();
    assert_eq!(machine.fetch(Offset(0), 9000), Offset(3));
    assert_eq!(machine.fetch(Offset(3), 9000), Offset(3));
    machine.sync();
    assert_eq!(machine.fetch(Offset(1), 9000), Offset(5));
    assert_eq!(machine.hit_count, 2);
}

#[test]
fn a_poisoned_log_serves_nothing_from_memory() {
    let mut machine = machine(1, Visibility::Written, 1 << 20);
    machine.fetch(Offset(0), 1);
    machine.append(1, 500);
    assert_eq!(machine.fetch(Offset(0), 1), Offset(1));
    assert_eq!(machine.hit_count, 1);
    let fail = Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other));
    machine.fault.add(fail.on(".log"));
    machine.log.begin_sync().unwrap().run().unwrap_err();
    machine.fetch(Offset(0), 1);
    assert_eq!(machine.hit_count, 1);
}

#[test]
fn what_is_held_is_bounded_and_the_room_is_given_back() {
    let mut machine = machine(1, Visibility::Written, 64 << 20);
    machine.fetch(Offset(0), 1);
    let left = |memory: &FetchMemory| memory.recent_bytes_left.load(Ordering::Acquire);
    let mut at = Offset(0);
    for _ in 0..20 {
        machine.append(1, 1 << 20);
        at = machine.fetch(at, 1 << 20);
        assert!(RECENT_BYTES_TOTAL_MAX - left(&machine.memory) <= RECENT_BYTES_MAX);
    }
    assert_eq!((at, machine.hit_count), (Offset(20), 20));
    // It keeps reading, but nothing is appended any more.
    let shared = Arc::clone(&machine.log.reader().shared);
    shared.recent.rest();
    assert!(left(&machine.memory) < RECENT_BYTES_TOTAL_MAX);
    machine.fetch(at, 1);
    shared.recent.rest();
    assert_eq!(left(&machine.memory), RECENT_BYTES_TOTAL_MAX);
}

#[test]
fn nothing_is_held_when_nobody_follows_any_more() {
    let mut machine = machine(1, Visibility::Written, 64 << 20);
    machine.append(1, 1 << 20);
    let left = |memory: &FetchMemory| memory.recent_bytes_left.load(Ordering::Acquire);
    assert_eq!(
        left(&machine.memory),
        RECENT_BYTES_TOTAL_MAX,
        "nobody has read"
    );
    machine.fetch(Offset(1), 1);
    for _ in 0..9 {
        machine.append(1, 1 << 20);
    }
    assert_eq!(left(&machine.memory), RECENT_BYTES_TOTAL_MAX);
    machine.append(1, 1 << 20);
    assert_eq!(left(&machine.memory), RECENT_BYTES_TOTAL_MAX);
}

#[test]
fn a_log_that_finds_no_room_reads_its_file() {
    let mut machine = machine(1, Visibility::Written, 64 << 20);
    assert!(machine.memory.take_room(RECENT_BYTES_TOTAL_MAX - 1000));
    machine.fetch(Offset(0), 1);
    machine.append(1, 500);
    assert_eq!(machine.fetch(Offset(0), 1), Offset(1));
    machine.append(1, 500);
    machine.append(1, 500);
    assert_eq!(machine.fetch(Offset(1), 9000), Offset(3));
    assert_eq!(machine.hit_count, 1);
    assert!(machine.memory.recent_bytes_left.load(Ordering::Acquire) <= 1000);
}
