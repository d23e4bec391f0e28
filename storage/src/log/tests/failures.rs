//! Writes and syncs that fail, and healing behind them.

use std::path::Path;

use super::*;
use crate::disk::Site;
use crate::disk::fault::{Effect, Rule};
use crate::disk::sim::Survival;

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

/// Three batches that are synced, and two behind them that are only written.
fn half_synced(disk: &SimDisk) -> Log {
    let (mut log, _) = open_with(disk, LogConfig::default(), None);
    disk.sync_dir(Path::new("/"), Site::DataDir).unwrap();
    for fill in 1..=3 {
        append(&mut log, 1, fill);
    }
    for fill in 4..=5 {
        let mut written = batch(1, fill, 500);
        let header = BatchHeader::decode(&written).unwrap();
        log.append(&header, &mut written, NOW).unwrap();
    }
    log
}

#[test]
fn a_start_accepts_anew_only_what_no_sync_is_known_to_have_reached() {
    let disk = SimDisk::new(1);
    drop(half_synced(&disk));
    let after = disk.restart_process();
    let (log, report) = open_with(&after, LogConfig::default(), None);
    assert_eq!(contents(&log).len(), 5);
    let bytes = 2 * u64::from(HEADER_BYTES_U32 + 500);
    assert_eq!(report.accepted_bytes, bytes, "two batches");
}

#[test]
fn a_start_serves_what_the_disk_has_and_not_what_a_failed_sync_has_left_in_memory() {
    let disk = SimDisk::new(1);
    let mut log = half_synced(&disk);
    disk.fail_sync_at(disk.op_count() + 1);
    log.begin_sync().unwrap().run().unwrap_err();
    let in_memory = contents(&log).len();
    assert_eq!(in_memory, 5);
    drop(log);
    let after = disk.restart_process();
    let (mut log, _) = open_with(&after, LogConfig::default(), None);
    assert_eq!(contents(&log), [(0, 1), (1, 2), (2, 3)]);
    append(&mut log, 1, 6);
    drop(log);
    let (log, report) = open(&after.reboot(Survival::Nothing));
    assert_eq!(contents(&log), [(0, 1), (1, 2), (2, 3), (3, 6)]);
    assert_eq!(report.damage, []);
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
    let fail = |log: &mut Log| {
        let effect = Effect::WritePart(150, std::io::ErrorKind::StorageFull);
        fault.add(Rule::new(OpClass::Write, effect).on(".log"));
        log.append_synced(&mut batch(1, 9, 500), NOW).unwrap_err();
        assert_eq!(log.poison(), Some(PoisonCause::WriteFailed));
    };
    let (mut log, _) = Log::open(place_on(&fault, &sim), small(), None, NOW).unwrap();
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
