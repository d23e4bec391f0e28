#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::batch::header::{Attributes, BatchHeader, HEADER_BYTES, HEADER_BYTES_U32};
use crate::checkpoint::LogCheckpoint;
use crate::checksum::crc32;
use crate::disk::Disk;
use crate::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use crate::disk::sim::SimDisk;
use crate::error::{LogError, PoisonCause};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

const ID: LogId = LogId::new(PartitionNumber(1), LogKind::Main);
pub(super) const NOW: TimestampMs = TimestampMs(1_000_000);

pub(super) fn place(disk: &SimDisk) -> LogPlace {
    let root = PathBuf::from("/data");
    disk.create_dir(&root).unwrap();
    LogPlace {
        disk: Arc::new(disk.clone()),
        dir: root.join("0000000001/main"),
        root,
        id: ID,
    }
}

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        ..LogConfig::default()
    }
}

fn flip(disk: &SimDisk, path: &Path, bit: u64) {
    disk.flip_bit(path, bit).unwrap();
}

pub(super) fn batch(records: u32, fill: u8, body_bytes: u32) -> Vec<u8> {
    let body = vec![fill; body_bytes as usize];
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

fn open(disk: &SimDisk) -> (Log, RecoveryReport) {
    open_with(disk, small(), None)
}

fn open_with(
    disk: &SimDisk,
    config: LogConfig,
    hint: Option<&LogCheckpoint>,
) -> (Log, RecoveryReport) {
    Log::open(place(disk), config, hint, NOW).unwrap()
}

fn append(log: &mut Log, records: u32, fill: u8) -> Appended {
    log.append_synced(&mut batch(records, fill, 500), NOW)
        .unwrap()
}

/// The fill byte and the base offset of every batch.
fn contents(log: &Log) -> Vec<(u64, u8)> {
    let mut all = Vec::new();
    let reader = log.reader();
    reader
        .scan(
            reader.log_start(),
            ReadBound::LogEnd,
            &mut |header, body| {
                all.push((header.base_offset.0, body[0]));
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    all
}

#[test]
fn what_is_appended_is_read_across_segments_and_after_reopening() {
    let disk = SimDisk::new(1);
    let (mut log, report) = open(&disk);
    assert_eq!(report, RecoveryReport::default());
    let expected: Vec<_> = (0..50u8)
        .map(|fill| (append(&mut log, 3, fill).base_offset.0, fill))
        .collect();
    assert_eq!(expected[49].0, 147);
    assert_eq!(contents(&log), expected);
    assert!(log.reader().segments().len() > 5);
    let checkpoint = log.checkpoint();
    drop(log);
    for hint in [None, Some(&checkpoint)] {
        let (log, report) = open_with(&disk, small(), hint);
        assert_eq!(contents(&log), expected);
        assert_eq!((report.cut, report.damage), (None, vec![]));
        assert_eq!(log.checkpoint(), checkpoint);
    }
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset_and_stops_at_the_high_watermark() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..20 {
        append(&mut log, 5, fill);
    }
    let mut unsynced = batch(5, 99, 100);
    let header = BatchHeader::decode(&unsynced).unwrap();
    if log.needs_roll(u64::from(header.length), NOW) {
        log.roll().unwrap();
    }
    log.append(&header, &mut unsynced, NOW).unwrap();
    let reader = log.reader();
    assert_eq!(
        (reader.high_watermark(), reader.log_end()),
        (Offset(100), Offset(105))
    );
    for offset in 0..100 {
        let bytes = reader
            .read(Offset(offset), 1, ReadBound::HighWatermark)
            .unwrap();
        let header = BatchHeader::decode(&bytes).unwrap();
        assert_eq!(header.base_offset.0, offset / 5 * 5);
        assert_eq!(bytes.len(), header.length as usize);
    }
    assert!(
        reader
            .read(Offset(100), 1, ReadBound::HighWatermark)
            .unwrap()
            .is_empty()
    );
    assert!(matches!(
        reader.read(Offset(101), 1, ReadBound::HighWatermark),
        Err(LogError::OffsetOutOfRange {
            requested: Offset(101),
            log_start: Offset(0),
            log_end: Offset(100)
        })
    ));
    log.begin_sync().unwrap().run().unwrap();
    assert_eq!(
        reader
            .read(Offset(104), 1, ReadBound::HighWatermark)
            .unwrap()
            .len(),
        HEADER_BYTES + 100
    );
}

#[test]
fn what_was_in_a_buffer_before_is_never_read_from_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..30u8 {
        append(&mut log, 3, fill);
    }
    let reader = log.reader();
    let memory = Arc::new(FetchMemory::default());
    for from in (0..90).map(Offset) {
        for bytes_max in [0, 700, 1 << 20] {
            for used in [vec![0xA5; 10], vec![0xA5; 1 << 16]] {
                drop(memory.buffers.lend(used, 1));
                let read = reader.read(from, bytes_max, ReadBound::HighWatermark);
                let fetched = reader.fetch(from, bytes_max, &memory);
                assert_eq!(fetched.unwrap(), read.unwrap(), "from {from:?}");
            }
        }
    }
}

#[test]
fn a_time_leads_to_the_first_batch_appended_then_or_later() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for at in 0..40 {
        log.append_synced(&mut batch(2, 0, 500), TimestampMs(1000 + at * 10))
            .unwrap();
    }
    // A clock that falls back does not make append times fall.
    log.append_synced(&mut batch(2, 0, 500), TimestampMs(5))
        .unwrap();
    let reader = log.reader();
    assert_eq!(
        reader.offset_at_time(TimestampMs(0)).unwrap(),
        Some(Offset(0))
    );
    for at in 0..40u64 {
        let time = TimestampMs(1000 + i64::try_from(at).unwrap() * 10);
        assert_eq!(reader.offset_at_time(time).unwrap(), Some(Offset(at * 2)));
        assert_eq!(
            reader.offset_at_time(time.saturating_add(-9)).unwrap(),
            Some(Offset(at * 2))
        );
    }
    assert_eq!(reader.offset_at_time(TimestampMs(1391)).unwrap(), None);
}

#[test]
fn a_log_of_one_batch_a_segment_takes_batches_larger_than_a_segment() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..4 {
        log.append_synced(&mut batch(1, fill, 9000), NOW).unwrap();
    }
    assert_eq!(contents(&log), vec![(0, 0), (1, 1), (2, 2), (3, 3)]);
    assert_eq!(log.reader().segments().len(), 4);
}

#[test]
fn a_segment_rolls_by_age() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(
        &disk,
        LogConfig {
            segment_ms: 100,
            ..LogConfig::default()
        },
        None,
    );
    for at in [0, 99, 100, 150, 199, 200] {
        log.append_synced(&mut batch(1, 0, 10), TimestampMs(at))
            .unwrap();
    }
    let bases: Vec<_> = log
        .reader()
        .segments()
        .iter()
        .map(|s| s.base_offset.0)
        .collect();
    assert_eq!(bases, [0, 2, 5]);
}

#[test]
fn a_segment_rolls_by_the_age_of_its_first_batch_also_after_reopening() {
    let disk = SimDisk::new(7);
    let config = LogConfig {
        segment_ms: 10_000,
        ..small()
    };
    let (mut log, _) = open_with(&disk, config.clone(), None);
    for ms in [0, 6_000] {
        let mut bytes = batch(1, 1, 10);
        let header = BatchHeader::decode(&bytes).unwrap();
        let now = TimestampMs(NOW.0 + ms);
        log.append(&header, &mut bytes, now).unwrap();
    }
    log.begin_sync().unwrap().run().unwrap();
    drop(log);
    let (log, _) = open_with(&disk, config, None);
    assert!(!log.needs_roll(0, TimestampMs(NOW.0 + 9_999)));
    assert!(log.needs_roll(0, TimestampMs(NOW.0 + 10_000)));
}

#[test]
fn retention_moves_the_start_and_a_reader_behind_is_told() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..50 {
        append(&mut log, 1, fill);
    }
    let reader = log.reader();
    let policy = RetentionPolicy {
        retention_ms: None,
        retention_bytes: Some(10_000),
    };
    let start = log.plan_retention(&policy, Offset(u64::MAX), NOW).unwrap();
    assert!(
        log.plan_retention(&policy, Offset(start.0 - 1), NOW)
            .unwrap()
            < start
    );
    let segments = reader.segments();
    let unlink = log.apply_log_start(start);
    assert!(unlink.segment_count() > 3);
    unlink.run().unwrap();
    assert_eq!(reader.log_start(), start);
    assert!(matches!(
        reader.read(Offset(0), 1, ReadBound::HighWatermark),
        Err(LogError::OffsetOutOfRange { log_start, .. }) if log_start == start
    ));
    assert_eq!(contents(&log)[0].0, start.0);
    let gone = segments.iter().filter(|s| s.end_offset <= start).count();
    assert_eq!(reader.segments().len(), segments.len() - gone);
    // With the start in the checkpoint the log opens there, and a file that came back goes again.
    let hint = log.checkpoint();
    drop(log);
    let (log, report) = open_with(&disk, small(), Some(&hint));
    assert_eq!((log.reader().log_start(), report.damage), (start, vec![]));
}

#[test]
fn a_missing_first_segment_is_damage_and_appends_go_on() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..50 {
        append(&mut log, 1, fill);
    }
    let hint = log.checkpoint();
    let second = log.reader().segments()[1].base_offset;
    drop(log);
    disk.remove(Path::new("/data/0000000001/main/00000000000000000000.log"))
        .unwrap();
    let (mut log, report) = open_with(&disk, small(), Some(&hint));
    assert_eq!(report.damage.len(), 1);
    assert_eq!(
        (report.damage[0].from, report.damage[0].to),
        (Offset(0), second)
    );
    assert_eq!(log.poison(), None);
    append(&mut log, 1, 77);
    let reader = log.reader();
    assert!(matches!(
        reader.read(Offset(0), 1, ReadBound::HighWatermark),
        Err(LogError::Corrupt { from: Offset(0), to, .. }) if to == second
    ));
    assert!(
        !reader
            .read(second, 1, ReadBound::HighWatermark)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_costs_its_batch_and_no_other() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..50 {
        append(&mut log, 2, fill);
    }
    let segment = log.reader().segments()[1];
    let path = PathBuf::from(format!(
        "/data/0000000001/main/{:020}.log",
        segment.base_offset.0
    ));
    // The third batch of the segment.
    flip(&disk, &path, (32 + 2 * 596 + 300) * 8);
    let reader = log.reader();
    let bad = segment.base_offset.0 + 4;
    for offset in 0..100 {
        match reader.read(Offset(offset), 1, ReadBound::HighWatermark) {
            Ok(bytes) => assert_eq!(
                BatchHeader::decode(&bytes).unwrap().base_offset.0,
                offset / 2 * 2
            ),
            Err(LogError::Corrupt { from, to, .. }) => {
                assert_eq!((from.0, to.0), (bad, bad + 2), "asked for {offset}");
                assert!((bad..bad + 2).contains(&offset));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(reader.damage().len(), 1);
    append(&mut log, 1, 1);
}

#[test]
fn damage_below_the_durable_end_is_never_cut() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..10 {
        append(&mut log, 1, fill);
    }
    drop(log);
    let path = Path::new("/data/0000000001/main/00000000000000000000.log");
    flip(&disk, path, (32 + 4 * 596 + 200) * 8);
    let before = disk.read_file(path).unwrap();
    // No checkpoint: the headers behind say that offset 4 was durable.
    let (mut log, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!(log.poison(), Some(PoisonCause::Damaged));
    assert_eq!(
        (report.damage[0].from, report.damage[0].to, report.cut),
        (Offset(4), Offset(5), None)
    );
    assert!(matches!(
        log.append_synced(&mut batch(1, 0, 10), NOW),
        Err(LogError::Poisoned {
            cause: PoisonCause::Damaged,
            ..
        })
    ));
    for offset in [0, 3, 5, 9] {
        assert!(
            log.reader()
                .read(Offset(offset), 1, ReadBound::HighWatermark)
                .is_ok(),
            "{offset}"
        );
    }
    assert!(
        log.reader()
            .read(Offset(4), 1, ReadBound::HighWatermark)
            .is_err()
    );
    drop(log);
    assert_eq!(
        disk.read_file(path).unwrap(),
        before,
        "recovery changed a damaged file"
    );
    // The operator gives the range up: everything else is there, and appends go on.
    let config = LogConfig {
        gaps: vec![Gap {
            from: Offset(4),
            to: Offset(5),
        }],
        ..LogConfig::default()
    };
    let (mut log, report) = open_with(&disk, config, None);
    assert_eq!((report.damage, log.poison()), (vec![], None));
    append(&mut log, 1, 50);
    let offsets: Vec<_> = contents(&log).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]);
    let bytes = log
        .reader()
        .read(Offset(4), 1, ReadBound::HighWatermark)
        .unwrap();
    assert_eq!(BatchHeader::decode(&bytes).unwrap().base_offset, Offset(5));
}

#[test]
fn damage_at_the_tail_can_be_given_up_and_the_log_goes_on_behind_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..10 {
        append(&mut log, 1, fill);
    }
    let hint = log.checkpoint();
    drop(log);
    flip(
        &disk,
        Path::new("/data/0000000001/main/00000000000000000000.log"),
        (32 + 9 * 596 + 200) * 8,
    );
    let (log, _) = open_with(&disk, LogConfig::default(), Some(&hint));
    // The header still says where it ends; only a read meets the damage below the checkpoint.
    drop(log);
    let config = LogConfig {
        gaps: vec![Gap {
            from: Offset(9),
            to: Offset(10),
        }],
        ..LogConfig::default()
    };
    for _ in 0..2 {
        let (mut log, report) = open_with(&disk, config.clone(), None);
        assert_eq!(report.damage, vec![]);
        append(&mut log, 1, 50);
    }
    let (log, _) = open_with(&disk, config, None);
    let offsets: Vec<_> = contents(&log).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]);
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_batch() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..3 {
        append(&mut log, 1, fill);
    }
    let mut unsynced = batch(1, 9, 500);
    let header = BatchHeader::decode(&unsynced).unwrap();
    log.append(&header, &mut unsynced, NOW).unwrap();
    drop(log);
    flip(
        &disk,
        Path::new("/data/0000000001/main/00000000000000000000.log"),
        (32 + 3 * 596 + 200) * 8,
    );
    let (log, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!(
        report.cut.map(|cut| (cut.offset.0, cut.position.0)),
        Some((3, 32 + 3 * 596))
    );
    assert_eq!(contents(&log).len(), 3);
    drop(log);
    let (_, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!(report.cut, None, "recovery is idempotent");
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    append(&mut log, 1, 1);
    // The next append is a write and its sync.
    disk.fail_sync_at(disk.op_count() + 2);
    assert!(log.append_synced(&mut batch(1, 2, 500), NOW).is_err());
    assert_eq!(log.poison(), Some(PoisonCause::SyncFailed));
    assert!(log.begin_sync().is_none());
    assert!(log.begin_heal().is_none());
    assert!(matches!(
        log.append_synced(&mut batch(1, 3, 500), NOW),
        Err(LogError::Poisoned {
            cause: PoisonCause::SyncFailed,
            ..
        })
    ));
    assert_eq!(log.reader().high_watermark(), Offset(1));
}

#[test]
fn a_full_disk_refuses_before_a_byte_is_written_and_heals_by_itself() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    append(&mut log, 1, 1);
    disk.set_capacity_bytes(Some(300_000));
    let mut appended = 1;
    let error = loop {
        match log.append_synced(&mut batch(1, 2, 20_000), NOW) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    );
    assert_eq!(log.poison(), None);
    assert_eq!(contents(&log).len(), appended);
    disk.set_capacity_bytes(None);
    append(&mut log, 1, 3);
    assert_eq!(contents(&log).len(), appended + 1);
}

#[test]
fn a_heal_that_comes_late_cuts_nothing_that_was_written_since() {
    let sim = SimDisk::new(1);
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let on_fault = || LogPlace {
        disk: Arc::new(fault.clone()),
        ..place(&sim)
    };
    let fail = |log: &mut Log| {
        let effect = Effect::WritePart(150, std::io::ErrorKind::StorageFull);
        fault.add(Rule::new(OpClass::Write, effect).on(".log"));
        log.append_synced(&mut batch(1, 9, 500), NOW).unwrap_err();
        assert_eq!(log.poison(), Some(PoisonCause::WriteFailed));
    };
    let (mut log, _) = Log::open(on_fault(), small(), None, NOW).unwrap();
    append(&mut log, 1, 1);
    fail(&mut log);
    let (first, late) = (log.begin_heal().unwrap(), log.begin_heal().unwrap());
    first.run().unwrap();
    append(&mut log, 1, 2);
    fail(&mut log);
    assert!(matches!(late.run(), Err(LogError::Poisoned { .. })));
    assert_eq!(log.poison(), Some(PoisonCause::WriteFailed));
    assert_eq!(contents(&log), [(0, 1), (1, 2)]);
    // The same offset, and another segment.
    let (first, late) = (log.begin_heal().unwrap(), log.begin_heal().unwrap());
    first.run().unwrap();
    log.roll().unwrap();
    fail(&mut log);
    assert!(late.run().is_err());
    assert_eq!(log.poison(), Some(PoisonCause::WriteFailed));
    log.begin_heal().unwrap().run().unwrap();
    append(&mut log, 1, 3);
    assert_eq!(contents(&log), [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn a_file_that_retention_has_taken_is_not_kept_open() {
    let sim = SimDisk::new(1);
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let on_fault = LogPlace {
        disk: Arc::new(fault.clone()),
        ..place(&sim)
    };
    let (mut log, _) = Log::open(on_fault, small(), None, NOW).unwrap();
    append(&mut log, 1, 1);
    log.roll().unwrap();
    let unlink = log.apply_log_start(Offset(1));
    // A reader that had found the segment just before opens its file just before it goes.
    for expected in 1..=2 {
        let before = fault.count(OpClass::Open);
        drop(log.shared.file(Offset(0)).unwrap());
        assert_eq!(fault.count(OpClass::Open), before + 1, "time {expected}");
    }
    unlink.run().unwrap();
    assert!(log.shared.file(Offset(0)).is_err());
}
