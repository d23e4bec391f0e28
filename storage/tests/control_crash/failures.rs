//! Failed syncs, failed writes and full disks while the broker runs.

use std::io::ErrorKind;
use std::sync::Arc;

use storage::control::{Commit, ControlConfig, ControlError, ControlLog, Entry, Refusal};
use storage::disk::Site;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::Survival;
use storage::error::{LogError, PoisonCause};
use storage::limits::{COMMIT_METADATA_BYTES_MAX, COMMITS_METADATA_BYTES_MAX};
use storage::log_id::PartitionNumber;
use storage::offset::Offset;

use crate::failing_disk::FailingDisk;
use crate::machine::{Machine, NOW, SMALL, committed, created, new_disk, states, workload};

#[test]
fn after_a_failed_sync_the_state_is_unchanged_and_only_opening_again_tells() {
    let changes = workload(40, 40);
    let states = states(&changes);
    let whole = new_disk(7);
    let mut machine = Machine::start(Arc::new(whole.clone()), SMALL).unwrap();
    for change in &changes {
        machine.change(change).unwrap().unwrap();
    }
    let mut unknown = 0;
    for op in 1..=whole.op_count() {
        let disk = new_disk(7);
        disk.fail_sync_at(op);
        let mut answered = 0;
        let mut attempted = 0;
        if let Ok(mut machine) = Machine::start(Arc::new(disk.clone()), SMALL) {
            for change in &changes {
                attempted = answered + 1;
                match machine.change(change) {
                    Ok(_) => answered += 1,
                    Err(error) => {
                        unknown +=
                            usize::from(matches!(error, ControlError::OutcomeUnknown { .. }));
                        break;
                    }
                }
            }
            assert_eq!(*machine.control.state(), states[answered], "op {op}");
            if answered < changes.len() {
                assert_eq!(machine.control.poison(), Some(PoisonCause::SyncFailed));
                let again = machine.change(&changes[answered]);
                assert!(
                    matches!(again, Err(ControlError::Log(LogError::Poisoned { .. }))),
                    "op {op}: {again:?}"
                );
            }
        }
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::Random(op),
        ] {
            let disk = disk.reboot(survival);
            let machine = Machine::start(Arc::new(disk), SMALL).unwrap();
            let state = machine.control.state();
            assert!(
                states[answered..=attempted].contains(state),
                "op {op}, {survival:?}: {answered} were answered"
            );
        }
    }
    assert!(unknown > 30, "{unknown}");
}

/// What a failed sync has done to the writes that waited for it.
#[derive(Clone, Copy)]
enum Writes {
    Lost,
    StillWaiting,
}

/// Fails each sync in turn, opens the log again without a power cut, then cuts the power. Returns how often a state that
/// had been shown was lost.
fn lost_after_a_failed_sync(writes: Writes, lie: Option<Site>) -> usize {
    let changes = workload(20, 40);
    let mut lost = 0;
    for nth in 1..80 {
        let disk = new_disk(11);
        let failing = match writes {
            Writes::Lost => FaultDisk::over(&disk),
            Writes::StillWaiting => FaultDisk::new(Arc::new(disk.clone())),
        };
        failing.add(Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other)).nth(nth));
        if let Ok(mut machine) = Machine::start(Arc::new(failing), SMALL) {
            for change in &changes {
                if machine.change(change).is_err() {
                    break;
                }
            }
        }
        if let Some(site) = lie {
            disk.lie_at(site);
        }
        let machine = Machine::start(Arc::new(disk.clone()), SMALL).unwrap();
        let shown = machine.control.state().clone();
        let after = disk.reboot(Survival::Nothing);
        let machine = Machine::start(Arc::new(after), SMALL);
        lost += usize::from(machine.map_or(true, |m| *m.control.state() != shown));
    }
    lost
}

#[test]
fn what_was_shown_after_a_failed_sync_survives_a_power_cut() {
    assert_eq!(lost_after_a_failed_sync(Writes::Lost, None), 0);
    assert_eq!(lost_after_a_failed_sync(Writes::StillWaiting, None), 0);
    let lied = lost_after_a_failed_sync(Writes::StillWaiting, Some(Site::RecoveryAccepted));
    assert!(
        lied > 0,
        "no promise needs the sync of what recovery accepts"
    );
}

#[test]
fn a_failed_write_is_cut_and_the_log_goes_on() {
    let changes = workload(40, 40);
    let states = states(&changes);
    for write in 1..60 {
        let sim = new_disk(3);
        let disk = FailingDisk::new(&sim);
        let mut machine = Machine::start(Arc::new(disk.clone()), SMALL).unwrap();
        disk.fail_write(write);
        for (at, change) in changes.iter().enumerate() {
            match machine.change(change) {
                Ok(_) => {}
                Err(ControlError::Log(LogError::Io { .. })) => {
                    assert_eq!(*machine.control.state(), states[at], "write {write}");
                    machine.change(change).unwrap().unwrap();
                }
                Err(other) => panic!("write {write}: {other:?}"),
            }
            assert_eq!(*machine.control.state(), states[at + 1], "write {write}");
        }
        let last = sim.reboot(Survival::Nothing);
        let machine = Machine::start(Arc::new(last), SMALL).unwrap();
        assert_eq!(
            machine.control.state(),
            states.last().unwrap(),
            "write {write}"
        );
    }
}

#[test]
fn a_failed_write_that_cannot_be_cut_leaves_the_outcome_unknown_until_it_can() {
    let sim = new_disk(3);
    let disk = FailingDisk::new(&sim);
    let mut machine = Machine::start(Arc::new(disk.clone()), ControlConfig::default()).unwrap();
    machine.change(&[created("a", &[1])]).unwrap().unwrap();
    disk.fail_write(1);
    disk.fail_truncation(1);
    let change = [committed("group", 1, 5, String::new())];
    let failed = machine.change(&change);
    assert!(
        matches!(failed, Err(ControlError::OutcomeUnknown { .. })),
        "{failed:?}"
    );
    assert_eq!(machine.control.poison(), Some(PoisonCause::WriteFailed));
    assert!(machine.control.state().group("group").is_none());
    disk.fail_truncation(1);
    let failed = machine.change(&change);
    assert!(
        matches!(failed, Err(ControlError::Log(LogError::Io { .. }))),
        "{failed:?}"
    );
    machine.change(&change).unwrap().unwrap();
    let machine = Machine::start(Arc::new(sim.reboot(Survival::Nothing)), SMALL).unwrap();
    assert!(machine.control.state().group("group").is_some());
}

#[test]
fn a_full_disk_refuses_changes_and_takes_them_again_when_there_is_room() {
    let disk = new_disk(3);
    let mut machine = Machine::start(Arc::new(disk.clone()), SMALL).unwrap();
    let changes = workload(40, 40);
    let states = states(&changes);
    disk.set_capacity_bytes(Some(4000));
    let mut refused = 0;
    for (at, change) in changes.iter().enumerate() {
        while let Err(error) = machine.change(change) {
            assert!(
                matches!(error, ControlError::Log(LogError::Io { .. })),
                "{error:?}"
            );
            assert_eq!(*machine.control.state(), states[at]);
            refused += 1;
            assert!(refused < 3);
            disk.set_capacity_bytes(None);
        }
        assert_eq!(*machine.control.state(), states[at + 1]);
    }
    assert_eq!(refused, 1);
}

const ONLY_SNAPSHOTS_ROLL: ControlConfig = ControlConfig {
    segment_bytes: 1 << 20,
    snapshot_bytes: 2000,
};

#[test]
fn a_snapshot_that_fails_does_not_fail_the_change_and_is_made_later() {
    let sim = new_disk(3);
    let disk = FailingDisk::new(&sim);
    let mut machine = Machine::start(Arc::new(disk.clone()), ONLY_SNAPSHOTS_ROLL).unwrap();
    let changes = workload(60, 40);
    let mut failed = false;
    for (at, change) in changes.iter().enumerate() {
        if at == 2 {
            // A roll begins with a truncation.
            disk.fail_truncation(1);
        }
        machine
            .change(change)
            .unwrap_or_else(|error| panic!("{at}: {error:?}"))
            .unwrap();
        failed |= machine.control.snapshot_failure().is_some();
    }
    assert!(failed);
    assert!(machine.control.snapshot_failure().is_none());
    assert!(machine.control.reader().log_start().0 > 0);
}

#[test]
fn refused_changes_write_nothing() {
    let disk = new_disk(3);
    let mut machine = Machine::start(Arc::new(disk.clone()), SMALL).unwrap();
    machine.change(&[created("a", &[1])]).unwrap().unwrap();
    let before = (disk.op_count(), machine.control.state().clone());
    let snapshot = machine.control.state().snapshot();
    for refused in [
        vec![created("a", &[2])],
        vec![created("b", &[2]), created("b", &[3])],
        vec![
            committed("group", 1, 1, String::new()),
            committed("group", 9, 1, String::new()),
        ],
        snapshot,
    ] {
        let error = machine.change(&refused);
        assert!(matches!(error, Err(ControlError::Refused(_))), "{error:?}");
    }
    machine.change(&[]).unwrap().unwrap();
    assert_eq!((disk.op_count(), machine.control.state().clone()), before);
}

#[test]
#[should_panic(expected = "never deleted past its newest snapshot")]
fn the_head_is_never_deleted_past_the_newest_snapshot() {
    let disk = new_disk(3);
    let (mut control, _): (ControlLog, _) =
        ControlLog::open(Arc::new(disk), std::path::Path::new("/data"), None, NOW).unwrap();
    control.change(&created("a", &[1]), NOW).unwrap();
    drop(control.apply_log_start(Offset(1)));
}

#[test]
fn commits_that_come_together_keep_the_bound_on_all_that_is_left_with_them() {
    let disk = new_disk(3);
    let (mut control, _): (ControlLog, _) =
        ControlLog::open(Arc::new(disk), std::path::Path::new("/data"), None, NOW).unwrap();
    let longest = usize::try_from(COMMIT_METADATA_BYTES_MAX).unwrap();
    let count = COMMITS_METADATA_BYTES_MAX / u64::from(COMMIT_METADATA_BYTES_MAX);
    let partitions: Vec<u32> = (1..=u32::try_from(count).unwrap() / 16).collect();
    control.change(&created("a", &partitions), NOW).unwrap();
    for group in 0..16 {
        let commits = partitions.iter().map(|partition| Commit {
            partition: PartitionNumber(*partition),
            offset: Offset(1),
            // The last one leaves room for one byte.
            metadata: "m".repeat(longest - usize::from(group == 15 && *partition == 1)),
        });
        let entry = Entry::OffsetsCommitted {
            group: group.to_string(),
            time: NOW,
            commits: commits.collect(),
        };
        control.change(&entry, NOW).unwrap();
    }
    let one = |group: &str| committed(group, 1, 1, "m".to_owned());
    let error = control.change_all(&[one("x"), one("y")], NOW);
    assert!(
        matches!(error, Err(ControlError::Refused(Refusal::TooMany { .. }))),
        "{error:?}"
    );
    control.change_all(&[one("x")], NOW).unwrap();
}
