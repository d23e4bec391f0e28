//! Disks that are full or damaged, and a state that does not fit a segment: the partition heals, or says what it cannot read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::delivery::{Entry, SnapshotStep};
use storage::disk::Site;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::{SimDisk, Survival};
use storage::error::{LogError, PoisonCause};
use storage::log::RetentionPolicy;
use storage::log_id::LogKind;
use storage::offset::{Offset, TimestampMs};
use storage::partition::{NewMessage, Partition, PartitionRetention};

use crate::check::When;
use crate::crashes::{check_now, new_disk, same_again};
use crate::machine::{Machine, Watch, new_message, open_partition};
use crate::mutants::Order;
use crate::oracle::Oracle;
use crate::workload::{LONG_MS, Op, PLAIN, Spec, WORKLOAD};

const NOW: TimestampMs = TimestampMs(5_000_000);

/// Returns a disk on which those operations of the workload were run that `is_asked` asks for, and what is known of it.
fn worked(seed: u64, is_asked: fn(&Op) -> bool) -> (SimDisk, Oracle) {
    let disk = new_disk(seed);
    let watch = Watch::new(&disk);
    let mut oracle = Oracle::default();
    let (mut machine, _) = Machine::open(&watch, Order::Right, 0).unwrap();
    for op in WORKLOAD.iter().filter(|op| is_asked(op)) {
        machine.run(*op, &mut oracle).unwrap();
    }
    (disk, oracle)
}

fn open(disk: &SimDisk) -> Partition {
    open_partition(Arc::new(disk.clone()), &HashMap::new(), NOW)
        .unwrap()
        .0
}

fn logs(disk: &SimDisk, kind: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| {
        let text = path.to_string_lossy();
        text.contains(&format!("/{kind}/")) && path.extension().is_some_and(|found| found == "log")
    };
    let mut paths: Vec<_> = disk.paths().into_iter().filter(is_it).collect();
    paths.sort();
    paths
}

fn message(number: usize) -> NewMessage {
    new_message(&plain(number), NOW.0)
}

fn plain(number: usize) -> Spec {
    Spec {
        pad: number % 7,
        delay_ms: LONG_MS,
        ..PLAIN
    }
}

fn append(partition: &mut Partition, messages: &[NewMessage]) -> Result<(), LogError> {
    let appended = partition.append_messages(messages, NOW);
    let appended = match appended {
        Err(LogError::Rolling { .. }) => {
            partition.main_mut().roll()?;
            partition.append_messages(messages, NOW)
        }
        appended => appended,
    };
    appended?;
    sync(partition, LogKind::Main)?;
    partition.admit_durable();
    Ok(())
}

fn sync(partition: &mut Partition, kind: LogKind) -> Result<(), LogError> {
    let task = partition.log_mut(kind).unwrap().begin_sync();
    task.map_or(Ok(()), |task| task.run().map(drop))
}

#[test]
fn damage_where_the_state_comes_from_stops_deliveries_and_nothing_else() {
    let (disk, _) = worked(3, |op| !matches!(op, Op::Retain | Op::RetainOver(_)));
    let whole = open(&disk);
    let state = whole.delivery().unwrap().encode();
    let snapshot = whole.delivery_log().unwrap().durable_snapshot().unwrap();
    let segments = whole
        .delivery_log()
        .unwrap()
        .log()
        .unwrap()
        .reader()
        .segments();
    let main_end = whole.main().next_offset();
    drop(whole);
    assert!(segments.len() > 1 && snapshot.start > segments[0].base_offset);
    for path in logs(&disk, "delivery") {
        let base: u64 = path.file_stem().unwrap().to_string_lossy().parse().unwrap();
        let segment = segments.iter().find(|s| s.base_offset.0 == base);
        for bit in (60 * 8..segment.unwrap().bytes * 8).step_by(301) {
            let disk = disk.snapshot();
            disk.flip_bit(&path, bit).unwrap();
            let mut partition = open(&disk);
            let counts = base >= snapshot.start.0;
            let Some(damage) = partition.delivery_damage().cloned() else {
                // What lies below the snapshot may be gone; a tail that nobody knows to be durable is torn.
                let is_last = Some(&path) == logs(&disk, "delivery").last();
                assert!(!counts || is_last, "{} bit {bit}", path.display());
                let found = partition.delivery().unwrap().encode();
                assert!(counts || found == state, "{} bit {bit}", path.display());
                continue;
            };
            assert!(counts, "{damage:?}");
            assert!(damage.from <= damage.to && damage.log.kind == LogKind::Delivery);
            assert!(partition.delivery().is_none() && partition.take_due(NOW, 9).is_empty());
            let refused = partition.append_messages(&[message(1)], NOW);
            let is_said = matches!(
                refused,
                Err(LogError::Poisoned { log, cause: PoisonCause::Damaged })
                    if log.kind == LogKind::Delivery
            );
            assert!(is_said, "{refused:?}");
            let reader = partition.push_reader();
            let last = Offset(main_end.0 - 1);
            assert_eq!(reader.message(last, None).unwrap().offset, last);
            assert_eq!(partition.plan_main_retention(&everything(), NOW), None);
            assert_eq!(partition.plan_delivery_retention(&everything(), NOW), None);
            assert!(!partition.snapshot_is_due(&PartitionRetention::default(), NOW));
        }
    }
}

fn everything() -> RetentionPolicy {
    RetentionPolicy {
        retention_ms: None,
        retention_bytes: Some(0),
    }
}

#[test]
fn a_delivery_log_that_is_gone_is_not_taken_for_an_empty_one() {
    let (disk, _) = worked(3, |_| true);
    for path in disk.paths() {
        if path.to_string_lossy().contains("/delivery/") {
            disk.remove_file(&path).unwrap();
        }
    }
    let partition = open(&disk);
    assert!(partition.main().reader().log_start() > Offset::ZERO);
    assert!(partition.delivery_damage().is_some());
}

#[test]
fn a_main_log_that_has_lost_what_the_state_knows_stops_deliveries() {
    let (disk, _) = worked(3, |_| true);
    let path = logs(&disk, "main").pop().unwrap();
    disk.truncate_file(&path, 100).unwrap();
    let partition = open(&disk);
    let damage = partition.delivery_damage();
    assert!(damage.is_some(), "{:?}", partition.delivery());
}

#[test]
fn damage_in_the_main_log_is_passed_over() {
    let disk = new_disk(5);
    let mut partition = open(&disk);
    for batch in 0..20 {
        let messages: Vec<_> = (0..8).map(|number| message(batch * 8 + number)).collect();
        append(&mut partition, &messages).unwrap();
    }
    let segments = partition.main().reader().segments();
    assert!(segments.len() > 2);
    drop(partition);
    let first = &logs(&disk, "main")[0];
    disk.flip_bit(first, 8 * 400).unwrap();
    let mut partition = open(&disk);
    assert!(partition.delivery_damage().is_none());
    let counts = partition.delivery().unwrap().counts();
    assert!(counts.accepted > 0 && counts.accepted < 160, "{counts:?}");
    let due = partition.take_due(TimestampMs(NOW.0 + LONG_MS), 500);
    assert_eq!(due.len() as u64, counts.accepted);
    let reader = partition.push_reader();
    let places: Vec<_> = due.iter().map(|offset| (*offset, None)).collect();
    for (offset, message) in reader.look_at(&places, Clone::clone) {
        assert_eq!(message.unwrap().offset, offset);
    }
    assert!(matches!(
        reader.message(Offset(1), None),
        Err(LogError::Corrupt { .. })
    ));
}

#[test]
fn a_state_larger_than_a_segment_is_snapshot_in_parts_between_other_entries() {
    let disk = new_disk(7);
    let mut partition = open(&disk);
    for batch in 0..25 {
        let messages: Vec<_> = (0..8).map(|number| message(batch * 8 + number)).collect();
        append(&mut partition, &messages).unwrap();
    }
    let mut images = Vec::new();
    let mut written = None;
    let mut number = 0;
    while written.is_none() {
        match partition.append_snapshot(NOW) {
            Ok(SnapshotStep::Written { end }) => {
                written = Some(end);
            }
            Ok(SnapshotStep::More) => {}
            Err(LogError::Rolling { .. }) => {
                let has_begun = !images.is_empty();
                partition
                    .log_mut(LogKind::Delivery)
                    .unwrap()
                    .roll()
                    .unwrap();
                if has_begun {
                    let message = Offset(number);
                    number += 1;
                    let cancelled = Entry::Cancelled { message, time: NOW };
                    partition.append_entries(&[cancelled], NOW).unwrap();
                }
            }
            Err(error) => panic!("{error:?}"),
        }
        images.push((
            disk.restart_process(),
            partition.delivery().unwrap().encode(),
        ));
    }
    assert!(number > 2, "entries stand between the parts");
    let log = partition.delivery_log().unwrap();
    assert_eq!(log.durable_snapshot(), None, "it is not synced");
    sync(&mut partition, LogKind::Delivery).unwrap();
    let snapshot = partition
        .delivery_log()
        .unwrap()
        .durable_snapshot()
        .unwrap();
    let segments = partition
        .delivery_log()
        .unwrap()
        .log()
        .unwrap()
        .reader()
        .segments();
    let spanned = segments
        .iter()
        .filter(|s| s.end_offset > snapshot.start && s.base_offset < snapshot.end);
    assert!(spanned.count() > 2, "it spans segments");
    images.push((
        disk.restart_process(),
        partition.delivery().unwrap().encode(),
    ));
    let count = images.len();
    for (at, (disk, state)) in images.into_iter().enumerate() {
        let again = open(&disk);
        assert_eq!(again.delivery().unwrap().encode(), state, "image {at}");
        let found = again.delivery_log().unwrap().durable_snapshot();
        assert_eq!(found.is_some(), at + 2 >= count, "image {at}");
    }
}

#[test]
fn a_failed_write_is_healed_and_loses_nothing() {
    let mut failures = [0; 2];
    for nth in 1.. {
        let disk = new_disk(nth);
        let faults = FaultDisk::new(Arc::new(disk.clone()));
        let effect = Effect::WritePart(20 + nth as usize % 90, std::io::ErrorKind::StorageFull);
        faults.add(Rule::new(OpClass::Write, effect).on(".log").nth(nth));
        let mut watch = Watch::new(&disk);
        watch.faults = Some(faults);
        watch.fails = true;
        let mut oracle = Oracle::default();
        let Ok((mut machine, _)) = Machine::open(&watch, Order::Right, 0) else {
            continue;
        };
        let mut has_failed = false;
        for op in WORKLOAD {
            if machine.run(*op, &mut oracle).is_ok() {
                continue;
            }
            assert!(!has_failed, "one write fails: {nth} {op:?}");
            has_failed = true;
            // An attempt whose outcome was not written is made again after a restart.
            oracle.crashes += 1;
            let healed = heal(&machine);
            failures[usize::from(healed)] += 1;
            machine.aftermath(&mut oracle).unwrap();
            check_now(&machine, When::AtRest, &watch, &mut oracle).unwrap();
        }
        if !has_failed {
            break;
        }
        check_now(&machine, When::AtRest, &watch, &mut oracle).unwrap();
        same_again(&machine, &watch).unwrap();
        drop(machine);
        let rebooted = Watch::new(&disk.reboot(Survival::Nothing));
        let (mut machine, report) = Machine::open(&rebooted, Order::Right, oracle.now).unwrap();
        check_now(&machine, When::Opened(&report), &rebooted, &mut oracle).unwrap();
        while machine.pass(&mut oracle).unwrap() {}
        check_now(&machine, When::AtRest, &rebooted, &mut oracle).unwrap();
    }
    assert!(
        failures[0] > 10 && failures[1] > 50,
        "rolls and appends: {failures:?}"
    );
}

/// Gets over the failed write. Returns whether a log was poisoned by it.
fn heal(machine: &Machine<'_>) -> bool {
    let mut has_healed = false;
    for kind in [LogKind::Main, LogKind::DeadLetter, LogKind::Delivery] {
        let task = {
            let mut owner = machine.owner.lock();
            owner.log_mut(kind).and_then(storage::log::Log::begin_heal)
        };
        if let Some(task) = task {
            task.run().unwrap();
            machine.owner.lock().release_unknown(kind);
            has_healed = true;
        }
    }
    has_healed
}

#[test]
fn a_log_whose_name_could_not_be_synced_is_created_by_the_next_start_and_not_before() {
    let disk = new_disk(1);
    let faults = FaultDisk::over(&disk);
    let stored = HashMap::new();
    let (mut partition, _) = open_partition(Arc::new(faults.clone()), &stored, NOW).unwrap();
    append(&mut partition, &[message(1)]).unwrap();
    let failure = Effect::Fail(std::io::ErrorKind::Other);
    faults.add(Rule::new(OpClass::SyncDir, failure).at(Site::LogName));
    let entries = [Entry::Cancelled {
        message: Offset(0),
        time: NOW,
    }];
    let failed = partition.append_entries(&entries, NOW);
    assert!(
        matches!(failed, Err(LogError::Io { op: "sync", .. })),
        "{failed:?}"
    );
    for _ in 0..3 {
        let refused = partition.append_entries(&entries, NOW);
        let is_said = matches!(
            refused,
            Err(LogError::Poisoned { log, cause: PoisonCause::SyncFailed })
                if log.kind == LogKind::Delivery
        );
        assert!(is_said, "{refused:?}");
    }
    assert_eq!(faults.synced_again(), Vec::<PathBuf>::new());
    drop(partition);
    let mut partition = open(&disk);
    partition.append_entries(&entries, NOW).unwrap();
}

#[test]
fn paths_are_what_the_tests_take_them_for() {
    let (disk, _) = worked(1, |_| true);
    for kind in ["main", "delivery", "dead-letter"] {
        assert!(!logs(&disk, kind).is_empty(), "{kind}");
    }
    assert!(logs(&disk, "main")[0].starts_with(Path::new("/data")));
}
