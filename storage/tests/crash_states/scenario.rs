//! Random logs: batches, syncs, rolls and checkpoints, and how the disk stood behind every operation.

use std::path::PathBuf;
use std::sync::Arc;

use storage::batch::header::{Attributes, BatchHeader, HEADER_BYTES_U32};
use storage::checkpoint::LogCheckpoint;
use storage::checksum::crc32;
use storage::disk::Disk;
use storage::log::{Log, LogConfig, LogPlace, Visibility};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};

use crate::flat::{File, Flat, is_segment};

pub const NOW: TimestampMs = TimestampMs(1_000_000);

/// A small generator that is fast and the same everywhere (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}

/// How a run stood behind one of its operations.
#[derive(Debug, Clone)]
pub struct Moment {
    pub files: Vec<File>,
    /// Batches that were written, and how many of them were acknowledged.
    pub written: usize,
    pub acknowledged: usize,
    /// What a stored checkpoint said.
    pub hint: Option<LogCheckpoint>,
    /// Base offset of the active segment.
    pub active_base: Offset,
}

/// A batch as it was written: where it begins and what it is.
#[derive(Debug, Clone)]
pub struct Written {
    pub offset: Offset,
    pub next: Offset,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Scenario {
    pub segment_bytes: u32,
    pub visibility: Visibility,
    pub batches: Vec<Written>,
    pub moments: Vec<Moment>,
}

impl Scenario {
    /// Runs a random workload, and notes how the disk stands behind each operation that leaves something unsynced.
    pub fn make(random: &mut Random) -> Self {
        let disk = Flat::recording();
        let mut scenario = Self {
            segment_bytes: 4096 + random.below(5) as u32 * 2048,
            visibility: [Visibility::Synced, Visibility::Written][random.below(2) as usize],
            batches: Vec::new(),
            moments: Vec::new(),
        };
        let opened = Log::open(place(Arc::new(disk.clone())), scenario.config(), None, NOW);
        let mut log = opened.unwrap().0;
        let mut hint = None;
        let operations = 4 + random.below(16);
        let rarity = [8, 20, 60][random.below(3) as usize];
        for _ in 0..operations {
            match random.below(rarity) {
                2.. => scenario.append(&mut log, random),
                0 => {
                    if let Some(task) = log.begin_sync() {
                        task.run().unwrap();
                    }
                    if random.below(3) == 0 {
                        hint = Some(log.checkpoint());
                    }
                    continue;
                }
                _ => log.roll().unwrap(),
            }
            let has_indexes = random.below(2) == 0;
            scenario.note((&disk, has_indexes), &log, hint.as_ref());
        }
        scenario
    }

    fn append(&mut self, log: &mut Log, random: &mut Random) {
        let size = [40, 120, 500, 1500, 2600][random.below(5) as usize];
        let body = 1 + random.below(size) as u32;
        let mut bytes = batch(1 + random.below(5) as u32, body, random.next());
        let header = BatchHeader::decode(&bytes).unwrap();
        if log.needs_roll(u64::from(header.length), NOW) {
            log.roll().unwrap();
        }
        let appended = log.append(&header, &mut bytes, NOW).unwrap();
        self.batches.push(Written {
            offset: appended.base_offset,
            next: appended.next_offset,
            bytes,
        });
    }

    /// Index files, which nobody syncs, are there whole or not at all.
    fn note(&mut self, disk: (&Flat, bool), log: &Log, hint: Option<&LogCheckpoint>) {
        let durable_end = log.reader().durable_end();
        let acknowledged = self.batches.iter().filter(|b| b.next <= durable_end);
        let mut files = disk.0.files();
        files.retain(|file| disk.1 || is_segment(&file.name));
        for index in files.iter_mut().filter(|file| !is_segment(&file.name)) {
            index.durable.clone_from(&index.bytes);
            index.changes.clear();
        }
        if files.iter().all(|file| file.changes.is_empty()) {
            return;
        }
        self.moments.push(Moment {
            files,
            written: self.batches.len(),
            acknowledged: acknowledged.count(),
            hint: hint.cloned(),
            active_base: log.active_base(),
        });
    }

    pub fn config(&self) -> LogConfig {
        LogConfig {
            segment_bytes: self.segment_bytes,
            visibility: self.visibility,
            ..LogConfig::default()
        }
    }
}

pub fn place(disk: Arc<dyn Disk>) -> LogPlace {
    LogPlace {
        disk,
        root: PathBuf::from("/data"),
        dir: PathBuf::from("/data/main"),
        id: LogId::new(PartitionNumber(1), LogKind::Main),
    }
}

/// Makes a batch as a producer sends it; `number` makes it like no other.
pub fn batch(records: u32, body_bytes: u32, number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let body: Vec<u8> = (0..body_bytes).map(|_| random.next() as u8).collect();
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
