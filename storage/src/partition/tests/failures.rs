//! Writes, syncs and reads that fail amid a retry: what nobody knows stays claimed, and nothing comes twice.

use std::collections::HashSet;

use super::*;
use crate::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use crate::error::PoisonCause;

const FULL: std::io::ErrorKind = std::io::ErrorKind::StorageFull;

/// A partition on a disk whose operations can be made to fail.
fn open_faulty() -> (SimDisk, FaultDisk, Mutex<Partition>) {
    let sim = new_disk();
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let (owner, _) = open_on(Arc::new(fault.clone()));
    (sim, fault, owner)
}

#[test]
fn markers_that_could_not_be_written_are_due_after_healing() {
    let (sim, fault, owner) = open_faulty();
    let letters: Vec<_> = ["a", "b", "c"]
        .map(|value| reject(&owner, "g", produce(&owner, value)).letter())
        .into();
    let held: Vec<_> = letters.iter().map(|at| load(&owner, *at)).collect();
    let (_, first) = resolver(&owner).republish(&held[..2]);
    let (_, second) = resolver(&owner).republish(&held[2..]);
    let committed = [first.unwrap(), second.unwrap()];
    fault.add(Rule::new(OpClass::Write, Effect::WritePart(50, FULL)).on(".log"));
    assert!(resolver(&owner).finish(&committed[..1]).is_err());
    assert_eq!(owner.lock().due_markers(), committed);
    fault.heal();
    let task = owner
        .lock()
        .log_mut(LogKind::DeadLetter)
        .unwrap()
        .begin_heal();
    task.unwrap().run().unwrap();
    owner.lock().release_unknown(LogKind::DeadLetter);
    assert_eq!(owner.lock().due_markers(), committed);
    resolver(&owner).finish(&committed).unwrap();
    assert_eq!(owner.lock().due_markers(), []);
    assert_eq!(owner.lock().dead_letters().unwrap().live_count(), 0);
    assert_eq!(causes(&owner).len(), 3);
    drop(owner);
    assert_eq!(open_on(Arc::new(sim)).1.finished_count, 0);
}

/// Reopens what a crash of each kind leaves of the disk.
fn after_crashes(disk: &SimDisk) -> Vec<SimDisk> {
    let random = (0..8).map(Survival::Random);
    let survivals = [Survival::Nothing, Survival::Everything].into_iter();
    let rebooted = survivals.chain(random).map(|how| disk.reboot(how));
    rebooted.chain([disk.restart_process()]).collect()
}

#[test]
fn a_letter_whose_append_was_not_synced_stays_claimed_and_is_live_or_resolved_after_reopening() {
    let mut found = HashSet::new();
    // A failed sync has lost everything, or nothing.
    for has_lost in [true, false] {
        let disk = new_disk();
        let fault = if has_lost {
            FaultDisk::over(&disk)
        } else {
            FaultDisk::new(Arc::new(disk.clone()))
        };
        let (owner, _) = open_on(Arc::new(fault.clone()));
        let letter = reject(&owner, "g", produce(&owner, "one")).letter();
        let held = load(&owner, letter);
        fault.add(Rule::new(OpClass::Sync, Effect::Fail(FULL)));
        let (outcomes, committed) = resolver(&owner).republish(std::slice::from_ref(&held));
        assert_eq!(outcomes.letters, [(letter, Outcome::Failed)]);
        assert!(committed.is_none(), "{}", disk.trace());
        assert_eq!(owner.lock().main().poison(), Some(PoisonCause::SyncFailed));
        let (again, _) = resolver(&owner).republish(std::slice::from_ref(&held));
        assert_eq!(again.letters, [(letter, Outcome::Busy)], "nobody knows");
        assert_eq!(delete(&owner, letter), Outcome::Busy);
        drop(owner);
        for disk in after_crashes(&disk) {
            let owner = open(&disk);
            let causes = causes(&owner);
            let is_live = owner.lock().dead_letters().unwrap().is_live(letter);
            assert_eq!(causes.len(), usize::from(!is_live), "live or resolved");
            found.insert(is_live);
            let (outcomes, _) = resolver(&owner).republish(std::slice::from_ref(&held));
            let Outcome::Republished { target, is_repeat } = outcomes.letters[0].1 else {
                panic!("{outcomes:?}");
            };
            assert_eq!(is_repeat, !is_live);
            assert_eq!(self::causes(&owner), [(letter, target)]);
        }
    }
    assert_eq!(found.len(), 2, "both ends were met");
}

/// A partition whose write of a fresh record reached the disk and failed all the same.
fn half_republished() -> (SimDisk, FaultDisk, Mutex<Partition>, Offset) {
    let (sim, fault, owner) = open_faulty();
    let record = produce(&owner, "one");
    let letter = reject(&owner, "g", record).letter();
    fault.add(Rule::new(OpClass::Write, Effect::WritePart(usize::MAX, FULL)).on(".log"));
    assert_eq!(retry_failed(&owner, letter), Outcome::Failed);
    (sim, fault, owner, letter)
}

fn retry_failed(owner: &Mutex<Partition>, letter: Offset) -> Outcome {
    let (outcome, committed) = republish(owner, letter);
    assert_eq!(committed, None);
    outcome
}

fn heal(owner: &Mutex<Partition>, kind: LogKind) {
    let task = owner.lock().log_mut(kind).unwrap().begin_heal();
    task.unwrap().run().unwrap();
    owner.lock().release_unknown(kind);
}

#[test]
fn a_failed_write_of_a_fresh_record_is_unknown_until_the_main_log_is_healed() {
    let (disk, _, owner, letter) = half_republished();
    assert_eq!(retry_failed(&owner, letter), Outcome::Busy);
    heal(&owner, LogKind::Main);
    assert!(
        matches!(
            retry(&owner, letter),
            Outcome::Republished {
                is_repeat: false,
                ..
            }
        ),
        "the heal has cut what the write left"
    );
    assert_eq!(causes(&owner).len(), 1);
    drop(owner);
    for disk in after_crashes(&disk) {
        assert_eq!(causes(&open(&disk)).len(), 1);
    }
}

#[test]
fn healing_one_log_does_not_release_what_is_unknown_of_the_other() {
    let (disk, fault, owner, letter) = half_republished();
    let other = {
        let record = Offset(0);
        reject(&owner, "h", record).letter()
    };
    // Now the dead-letter log fails as well, and is healed before the main log is.
    fault.add(Rule::new(OpClass::Write, Effect::WritePart(usize::MAX, FULL)).on(".log"));
    assert_eq!(delete(&owner, other), Outcome::Failed);
    heal(&owner, LogKind::DeadLetter);
    assert_eq!(delete(&owner, other), Outcome::Deleted);
    assert_eq!(
        delete(&owner, letter),
        Outcome::Busy,
        "it may stand in the main log"
    );
    drop(owner);
    for disk in after_crashes(&disk) {
        let owner = open(&disk);
        let is_live = owner.lock().dead_letters().unwrap().is_live(letter);
        assert_eq!(causes(&owner).len(), usize::from(!is_live));
    }
}

#[test]
fn a_marker_that_cannot_be_read_is_no_answer() {
    let (_, fault, owner) = open_faulty();
    let record = produce(&owner, "one");
    let letter = reject(&owner, "g", record).letter();
    let held = load(&owner, letter);
    let first = retry(&owner, letter);
    let Outcome::Republished { target, .. } = first else {
        panic!("{first:?}");
    };
    let ask = || {
        resolver(&owner)
            .republish(std::slice::from_ref(&held))
            .0
            .letters[0]
            .1
    };
    fault.add(Rule::new(OpClass::Read, Effect::Fail(std::io::ErrorKind::Other)).forever());
    assert_eq!(
        ask(),
        Outcome::Failed,
        "it was republished: not to be found would be a lie"
    );
    fault.heal();
    let is_repeat = true;
    assert_eq!(ask(), Outcome::Republished { target, is_repeat });
}

#[test]
fn a_damaged_dead_letter_log_keeps_no_partition_closed_and_no_letter_is_republished_twice() {
    let disk = new_disk();
    let (owner, letter) = rejected(&disk);
    let (outcome, _) = republish(&owner, letter);
    let Outcome::Republished { target, .. } = outcome else {
        panic!("{outcome:?}");
    };
    let held = load(&owner, letter);
    for text in ["two", "three", "four"] {
        let offset = produce(&owner, text);
        reject(&owner, "g", offset);
    }
    let end = owner.lock().dead_letter_checkpoint().unwrap().position.0;
    drop(owner);
    let path = disk
        .paths()
        .into_iter()
        .filter(|path| {
            path.to_string_lossy().contains("dead") && path.extension().is_some_and(|e| e == "log")
        })
        .max()
        .unwrap();
    // In the last letter but one: what stands behind it says that it was durable.
    disk.flip_bit(&path, (end / 2) * 8).unwrap();
    let (owner, report) = open_on(Arc::new(disk));
    assert!(!report.dead_letters.damage.is_empty());
    assert_eq!(report.finished_count, 0);
    let partition = owner.lock();
    assert!(partition.dead_letters().unwrap().log().poison().is_some());
    assert!(partition.settled_up_to() <= target);
    drop(partition);
    let (outcomes, _) = resolver(&owner).republish(&[held]);
    let is_repeat = true;
    assert_eq!(
        outcomes.letters,
        [(letter, Outcome::Republished { target, is_repeat })]
    );
    assert_eq!(causes(&owner), [(letter, target)]);
    produce(&owner, "the main log goes on");
}
