//! What a log costs on a real disk: append, read, lookup in the index, recovery. The directory is a temporary one; set
//! `TMPDIR` to choose the disk.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "benches may panic, and the macros of criterion write undocumented functions"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use storage::batch::{BatchBuilder, BatchHeader, BuildOptions, Codec, NewRecord};
use storage::checkpoint::LogCheckpoint;
use storage::disk::Disk;
use storage::disk::real::RealDisk;
use storage::log::{Log, LogConfig, LogPlace, ReadBound, Visibility};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use tempfile::TempDir;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// Records of a batch in the benches that move bytes.
const RECORDS: u32 = 64;
/// Batches of the log that is read and recovered: 64 MiB in segments of 8 MiB.
const BATCHES: u64 = 1000;
const READ_BYTES: u64 = 1 << 20;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 8 << 20,
        visibility: Visibility::Written,
        ..LogConfig::default()
    }
}

fn open(dir: &Path, hint: Option<&LogCheckpoint>) -> Log {
    let place = LogPlace {
        disk: Arc::new(RealDisk),
        root: dir.to_path_buf(),
        dir: dir.join("0000000001/main"),
        id: LogId::new(PartitionNumber(1), LogKind::Main),
    };
    Log::open(place, config(), hint, NOW).unwrap().0
}

fn new_log() -> (TempDir, Log) {
    let dir = tempfile::tempdir().unwrap();
    RealDisk.create_dir(dir.path()).unwrap();
    let log = open(dir.path(), None);
    (dir, log)
}

/// A batch of records of 1 KiB.
fn batch(records: u32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..records {
        let record = NewRecord {
            timestamp: NOW,
            value: Some(&[7; 1024]),
            ..NewRecord::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build(BuildOptions::default()).unwrap()
}

fn append_written(log: &mut Log, sent: &BatchHeader, bytes: &mut [u8]) {
    if log.needs_roll(u64::from(sent.length), NOW) {
        log.roll().unwrap();
    }
    log.append(sent, bytes, NOW).unwrap();
}

/// Drops what lies below the active segment, so that a bench fills no disk.
fn drop_sealed(log: &mut Log) {
    let sealed = log
        .reader()
        .segments()
        .iter()
        .rfind(|s| s.is_sealed)
        .copied();
    if let Some(segment) = sealed {
        log.apply_log_start(segment.end_offset).run().unwrap();
    }
}

fn filled() -> (TempDir, Log) {
    let (dir, mut log) = new_log();
    let sent = batch(RECORDS);
    let header = BatchHeader::decode(&sent).unwrap();
    let mut bytes = sent;
    for _ in 0..BATCHES {
        append_written(&mut log, &header, &mut bytes);
    }
    if let Some(sync) = log.begin_sync() {
        sync.run().unwrap();
    }
    (dir, log)
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for (name, records) in [("1 record", 1), ("64 records", RECORDS)] {
        let (_dir, mut log) = new_log();
        let mut bytes = batch(records);
        let header = BatchHeader::decode(&bytes).unwrap();
        group.throughput(Throughput::Bytes(u64::from(header.length)));
        group.bench_function(format!("written, {name} of 1 KiB"), |b| {
            b.iter(|| {
                if log.needs_roll(u64::from(header.length), NOW) {
                    drop_sealed(&mut log);
                }
                append_written(&mut log, &header, &mut bytes);
            });
        });
    }
    let (_dir, mut log) = new_log();
    let mut bytes = batch(1);
    group.throughput(Throughput::Elements(1));
    group.bench_function("synced, 1 record of 1 KiB", |b| {
        b.iter(|| log.append_synced(&mut bytes, NOW).unwrap());
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let (_dir, log) = filled();
    let reader = log.reader();
    let end = reader.high_watermark();
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Bytes(READ_BYTES));
    group.bench_function("1 MiB at a time, from the page cache", |b| {
        let mut from = Offset::ZERO;
        b.iter(|| {
            let bytes = reader
                .read(from, READ_BYTES, ReadBound::HighWatermark)
                .unwrap();
            from = Offset((from.0 + 1024) % (end.0 - 1024));
            bytes
        });
    });
    group.throughput(Throughput::Elements(1));
    let mut state = 1_u64;
    let mut anywhere = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Offset((state >> 33) % end.0)
    };
    group.bench_function("lookup of one offset, and its batch", |b| {
        b.iter(|| {
            reader
                .batch_at(black_box(anywhere()), ReadBound::HighWatermark)
                .unwrap()
        });
    });
    group.bench_function("lookup of one time", |b| {
        b.iter(|| reader.offset_at_time(black_box(NOW)).unwrap());
    });
    group.finish();
}

fn recover(c: &mut Criterion) {
    let (dir, log) = filled();
    let checkpoint = log.checkpoint();
    let bytes: u64 = log.reader().segments().iter().map(|s| s.bytes).sum();
    drop(log);
    let mut group = c.benchmark_group("recover");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(bytes));
    for (name, hint) in [
        ("without a checkpoint", None),
        ("from a checkpoint", Some(&checkpoint)),
    ] {
        group.bench_function(format!("64 MiB {name}"), |b| {
            b.iter_batched(|| (), |()| open(dir.path(), hint), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, append, read, recover);
criterion_main!(benches);
