//! When segments begin, and how retention takes them.

use super::*;
use crate::segment::file_name::FileKind;

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
    let dir = place(&disk).dir;
    let kept = crate::segment::file_name::path(&dir, Offset(0), FileKind::OldHeader);
    disk.write_file(&kept, b"as repair keeps it").unwrap();
    let unlink = log.apply_log_start(start);
    assert!(unlink.segment_count() > 3);
    unlink.run().unwrap();
    assert!(!disk.paths().contains(&kept), "it goes with its segment");
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
fn a_file_that_retention_has_taken_is_not_kept_open() {
    let sim = SimDisk::new(1);
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let (mut log, _) = Log::open(place_on(&fault, &sim), small(), None, NOW).unwrap();
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

#[test]
fn what_comes_behind_a_mark_is_counted_without_reading() {
    let sim = SimDisk::new(1);
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let (mut log, _) = Log::open(place_on(&fault, &sim), small(), None, NOW).unwrap();
    let reader = log.reader();
    append(&mut log, 3, 1);
    let reads = fault.count(OpClass::Read);
    let (start, end) = (
        reader.mark(Offset(0)).unwrap(),
        reader.mark(Offset(3)).unwrap(),
    );
    assert_eq!(reader.bytes_behind(start), Some(596));
    assert_eq!(reader.bytes_behind(end), Some(0));
    append(&mut log, 2, 2);
    assert_eq!(reader.bytes_behind(end), Some(596));
    // Not the log end any more: it may be counted from a little before.
    let within = reader.mark(Offset(3)).unwrap();
    assert!(reader.bytes_behind(within) >= Some(596));
    // What is written counts before it is seen.
    let mut unsynced = batch(1, 3, 500);
    let header = BatchHeader::decode(&unsynced).unwrap();
    log.append(&header, &mut unsynced, NOW).unwrap();
    assert_eq!(reader.bytes_behind(end), Some(2 * 596));
    for fill in 4..9 {
        append(&mut log, 1, fill);
    }
    assert!(reader.segments().len() > 1);
    assert_eq!(reader.bytes_behind(end), None);
    assert_eq!(reader.mark(Offset(0)), None);
    assert_eq!(fault.count(OpClass::Read), reads);
}
