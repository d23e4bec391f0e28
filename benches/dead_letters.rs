//! What dead letters cost on a real disk: a filtered page and counts over a sealed segment of 100,000 letters, and appending
//! letters. The directory is a temporary one; set `TMPDIR` to choose the disk.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "benches may panic, and the macros of criterion write undocumented functions"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use storage::batch::Record;
use storage::dead_letter::select::{LetterFilter, Order};
use storage::dead_letter::{
    Attempt, AttemptResult, DeadLetter, DeadLetterLog, DeadLetterView, Destination, Disposition,
    Fingerprint, History, Lineage, Receiver, Source,
};
use storage::disk::Disk;
use storage::disk::real::RealDisk;
use storage::log::{LogConfig, LogPlace, Visibility};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use tempfile::TempDir;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// Letters of the sealed segment.
const LETTERS: u32 = 100_000;
/// Letters of one batch.
const BATCH_LETTERS: u32 = 500;
/// Letters of one page.
const PAGE_LETTERS: usize = 100;

fn open(dir: &Path, segment_bytes: u32) -> DeadLetterLog {
    let place = LogPlace {
        disk: Arc::new(RealDisk),
        root: dir.to_path_buf(),
        dir: dir.join("0000000001/dead-letters"),
        id: LogId::new(PartitionNumber(1), LogKind::DeadLetter),
    };
    let config = LogConfig {
        segment_bytes,
        visibility: Visibility::Synced,
        ..LogConfig::default()
    };
    DeadLetterLog::open(place, config, None, NOW).unwrap().0
}

fn new_log(segment_bytes: u32) -> (TempDir, DeadLetterLog) {
    let dir = tempfile::tempdir().unwrap();
    RealDisk.create_dir(dir.path()).unwrap();
    let log = open(dir.path(), segment_bytes);
    (dir, log)
}

/// A letter of a record of 200 bytes after one attempt: 10 destinations and 10 groups, 20 failures, 3 statuses.
fn letter(number: u32) -> DeadLetter {
    let mut history = History::default();
    let statuses = [500, 502, 503];
    let status = statuses.into_iter().cycle().nth(number as usize % 3);
    history.push(Attempt {
        number: 1,
        time: NOW,
        duration_ms: 20,
        result: AttemptResult::Status(status.unwrap_or_default()),
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: Bytes::from_static(b"upstream is not available"),
        is_body_cut: false,
        are_headers_cut: false,
    });
    let receiver = if number % 20 < 10 {
        Receiver::Group(format!("group-{}", number % 10))
    } else {
        Receiver::Destination(Destination {
            url: format!("https://host-{}.example/hook", number % 10),
            method: "POST".to_owned(),
            ..Destination::default()
        })
    };
    DeadLetter {
        source: Source {
            topic: "orders".to_owned(),
            partition_index: 0,
            partition: PartitionNumber(1),
            offset: Offset(u64::from(number)),
        },
        receiver,
        record: Record {
            timestamp: NOW,
            key: Some(Bytes::from(number.to_string())),
            value: Some(Bytes::from_static(&[7; 200])),
            headers: Vec::new(),
        },
        disposition: Disposition::RETRIES_EXHAUSTED,
        died_at: NOW.saturating_add(i64::from(number)),
        reason: "deliveries ran out".to_owned(),
        details: None,
        history,
        fingerprint: Fingerprint {
            version: 1,
            hash: u64::from(number % 20),
        },
        lineage: Lineage::default(),
        labels: vec![format!("label-{}", number % 50)],
        message_id: Some(format!("message-{number}")),
        caller: None,
        cut: 0,
    }
}

fn roll(log: &mut DeadLetterLog) {
    let done = log.log_mut().begin_roll().unwrap().run();
    if let Some(facets) = log.finish_roll(done).unwrap() {
        facets.run();
    }
}

fn sync(log: &mut DeadLetterLog) {
    if let Some(task) = log.log_mut().begin_sync() {
        task.run().unwrap();
    }
}

/// A log whose letters all stand in one sealed segment, with its facets.
fn sealed() -> (TempDir, DeadLetterLog) {
    let (dir, mut log) = new_log(1 << 30);
    for first in (0..LETTERS).step_by(BATCH_LETTERS as usize) {
        let letters: Vec<_> = (first..first + BATCH_LETTERS).map(letter).collect();
        log.append_letters(&letters, NOW).unwrap();
    }
    sync(&mut log);
    roll(&mut log);
    (dir, log)
}

/// Reads a page of a selection, and returns how many letters it has.
fn page(view: &DeadLetterView, filter: &LetterFilter, order: Order) -> usize {
    let mut page = Vec::with_capacity(PAGE_LETTERS);
    let everything = (Offset::ZERO, view.reader().durable_end());
    view.visit(filter, order, everything, &mut |offset, letter| {
        page.push((offset, letter));
        page.len() < PAGE_LETTERS
    })
    .unwrap();
    page.len()
}

fn read(criterion: &mut Criterion) {
    let (_dir, log) = sealed();
    let view = log.view();
    let by_group = LetterFilter {
        groups: vec!["group-3".to_owned()],
        statuses: vec![503],
        ..LetterFilter::default()
    };
    let by_id = LetterFilter {
        message_ids: vec!["message-77777".to_owned()],
        ..LetterFilter::default()
    };
    let mut group = criterion.benchmark_group("dead_letters");
    assert_eq!(page(&view, &by_group, Order::NewestFirst), PAGE_LETTERS);
    group.bench_function("page_of_100_by_group_and_status", |b| {
        b.iter(|| black_box(page(&view, &by_group, Order::NewestFirst)));
    });
    assert_eq!(page(&view, &by_id, Order::OldestFirst), 1);
    group.bench_function("one_by_message_id", |b| {
        b.iter(|| black_box(page(&view, &by_id, Order::OldestFirst)));
    });
    let all = LetterFilter::default();
    assert_eq!(view.count(&all, NOW).unwrap().letters, u64::from(LETTERS));
    for (name, filter) in [("stats_of_all", &all), ("stats_of_a_group", &by_group)] {
        group.bench_function(name, |b| {
            b.iter(|| black_box(view.count(filter, NOW).unwrap()));
        });
    }
    group.finish();
}

/// Drops what lies below the active segment, so that the bench fills no disk.
fn drop_sealed(log: &mut DeadLetterLog) {
    let segments = log.log().reader().segments();
    if let Some(active) = segments.last() {
        log.apply_log_start(active.base_offset).run().unwrap();
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dead_letters");
    for count in [1, 100] {
        let (_dir, mut log) = new_log(32 << 20);
        let letters: Vec<_> = (0..count).map(letter).collect();
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(format!("append_{count}_written"), |b| {
            b.iter(|| {
                if log.log().needs_roll(1 << 20, NOW) {
                    sync(&mut log);
                    roll(&mut log);
                    drop_sealed(&mut log);
                }
                black_box(log.append_letters(&letters, NOW).unwrap());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, read, append);
criterion_main!(benches);
