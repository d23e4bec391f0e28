#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::batch::{
    BatchBuilder, BrokerMark, BuildOptions, Codec, Producer, Record, check_produced,
};
use crate::cause::{CAUSE_HEADER, Cause, CauseKind, GROUP_HEADER, LINEAGE_HEADER, RESERVED_PREFIX};
use crate::dead_letter::{DeadLetter, Lineage, PlacedLetter};
use crate::disk::Disk;
use crate::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use crate::disk::sim::{SimDisk, Survival};
use crate::error::PoisonCause;
use crate::log::{LogConfig, ReadBound, RetentionPolicy, Visibility};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_000_000);
const NUMBER: PartitionNumber = PartitionNumber(3);
const WHO: Who<'static> = Who {
    name: "tester",
    request_id: Some("r1"),
};
const HOOKS: Hooks<'static> = Hooks {
    now: &|| NOW,
    after: &|_| {},
    wait: &std::thread::yield_now,
};

fn config() -> PartitionConfig {
    let log = LogConfig {
        segment_bytes: 4096,
        ..LogConfig::default()
    };
    PartitionConfig {
        main: log.clone(),
        dead_letters: log,
        ..PartitionConfig::default()
    }
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/made"), b"").unwrap();
    disk
}

fn open_on(disk: Arc<dyn Disk>) -> (Mutex<Partition>, PartitionReport) {
    let place = PartitionPlace {
        disk,
        root: PathBuf::from("/data"),
        number: NUMBER,
    };
    let (partition, report) =
        Partition::open(&place, config(), &PartitionHints::default(), NOW).unwrap();
    (Mutex::new(partition), report)
}

fn open(disk: &SimDisk) -> Mutex<Partition> {
    open_on(Arc::new(disk.clone())).0
}

fn resolver(owner: &Mutex<Partition>) -> Resolver<'_> {
    Resolver {
        owner,
        who: WHO,
        hooks: HOOKS,
    }
}

fn build(values: &[&str], producer: Option<Producer>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        let record = Record {
            timestamp: NOW,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: vec![("user".to_owned(), Some(Bytes::from_static(b"h")))],
        };
        builder.push(&record.as_new(&record.header_refs())).unwrap();
    }
    let broker = BrokerMark::Client;
    builder.build(BuildOptions { producer, broker }).unwrap()
}

fn append(owner: &Mutex<Partition>, mut batch: Vec<u8>) -> Result<AppendOutcome, Refused> {
    let header = check_produced(&batch, &crate::batch::BatchLimits::default()).unwrap();
    let mut partition = owner.lock();
    if partition.main().needs_roll(u64::from(header.length), NOW) {
        partition.main_mut().roll().unwrap();
    }
    let outcome = partition.append(&header, &mut batch, NOW)?;
    if let Some(task) = partition.main_mut().begin_sync() {
        task.run().unwrap();
    }
    Ok(outcome)
}

fn produce(owner: &Mutex<Partition>, value: &str) -> Offset {
    match append(owner, build(&[value], None)) {
        Ok(AppendOutcome::Appended(appended)) => appended.base_offset,
        other => panic!("{other:?}"),
    }
}

fn letter_of(owner: &Mutex<Partition>, group: &str, offset: Offset) -> DeadLetter {
    let rejection = Rejection {
        topic: "orders",
        partition_index: 0,
        group,
        offset,
        reason: "it does not parse",
        details: None,
    };
    let reader = owner.lock().main().reader();
    prepare_letter(&reader, &mut RecentBatches::default(), &rejection, NOW).unwrap()
}

fn reject(owner: &Mutex<Partition>, group: &str, offset: Offset) -> RejectOutcome {
    let letter = letter_of(owner, group, offset);
    let outcomes = resolver(owner).reject(&[letter]).unwrap();
    outcomes.first().copied().unwrap()
}

/// A partition with one record that group `g` has rejected.
fn rejected(disk: &SimDisk) -> (Mutex<Partition>, Offset) {
    let owner = open(disk);
    let offset = produce(&owner, "one");
    let letter = reject(&owner, "g", offset).letter();
    (owner, letter)
}

fn load(owner: &Mutex<Partition>, letter: Offset) -> PlacedLetter {
    let view = owner.lock().dead_letters().unwrap().view();
    (letter, view.get(letter).unwrap().unwrap())
}

fn republish(owner: &Mutex<Partition>, letter: Offset) -> (Outcome, Option<Republished>) {
    let (outcomes, committed) = resolver(owner).republish(&[load(owner, letter)]);
    (outcomes.letters[0].1, committed)
}

fn retry(owner: &Mutex<Partition>, letter: Offset) -> Outcome {
    let (outcome, committed) = republish(owner, letter);
    if let Some(committed) = committed {
        resolver(owner).finish(&[committed]).unwrap();
    }
    outcome
}

fn delete(owner: &Mutex<Partition>, letter: Offset) -> Outcome {
    resolver(owner).delete(&[letter]).letters[0].1
}

fn record_at(owner: &Mutex<Partition>, offset: Offset) -> Record {
    let reader = owner.lock().main().reader();
    let batch = reader.batch_at(offset, ReadBound::LogEnd).unwrap();
    let at = offset.since(batch.header().base_offset).unwrap();
    batch.records(1 << 20).unwrap().swap_remove(at as usize)
}

/// The letters that records of the main log name as their cause, with the records' offsets.
fn causes(owner: &Mutex<Partition>) -> Vec<(Offset, Offset)> {
    let reader = owner.lock().main().reader();
    (reader.log_start().0..reader.log_end().0)
        .filter_map(|offset| {
            let record = record_at(owner, Offset(offset));
            let cause = Cause::decode(record.header(CAUSE_HEADER)?).unwrap();
            assert_eq!(cause.kind, CauseKind::Republish);
            Some((cause.offset, Offset(offset)))
        })
        .collect()
}

fn roll_dead_letters(owner: &Mutex<Partition>) {
    let mut partition = owner.lock();
    let done = partition.begin_roll(LogKind::DeadLetter).unwrap().run();
    partition.finish_roll(LogKind::DeadLetter, done).unwrap();
}

const FULL: std::io::ErrorKind = std::io::ErrorKind::StorageFull;

const EVERYTHING: RetentionPolicy = RetentionPolicy {
    retention_ms: None,
    retention_bytes: Some(0),
};

#[test]
fn a_repeated_batch_is_answered_and_not_appended() {
    let owner = open(&new_disk());
    let producer = |base_sequence| {
        Some(Producer {
            id: 1,
            epoch: 0,
            base_sequence,
        })
    };
    let first = build(&["a", "b"], producer(0));
    let Ok(AppendOutcome::Appended(appended)) = append(&owner, first.clone()) else {
        panic!("the first is appended");
    };
    let repeat = AppendOutcome::Repeat {
        base_offset: appended.base_offset,
        next_offset: appended.next_offset,
    };
    assert_eq!(append(&owner, first.clone()).unwrap(), repeat);
    let gap = append(&owner, build(&["c"], producer(9)));
    assert!(
        matches!(gap, Err(Refused::Sequence(_))),
        "a gap is refused, not {gap:?}"
    );
    append(&owner, build(&["c"], producer(2))).unwrap();
    assert_eq!(append(&owner, first).unwrap(), repeat);
    assert_eq!(owner.lock().main().next_offset(), Offset(3));
}

#[test]
fn a_group_has_one_live_letter_for_a_record() {
    let disk = new_disk();
    let (owner, first) = rejected(&disk);
    assert_eq!(
        reject(&owner, "g", Offset(0)),
        RejectOutcome::Live { letter: first }
    );
    let other = reject(&owner, "h", Offset(0));
    assert_eq!(other, RejectOutcome::Appended { letter: Offset(1) });
    drop(owner);
    let owner = open(&disk);
    assert_eq!(
        reject(&owner, "g", Offset(0)),
        RejectOutcome::Live { letter: first }
    );
    assert_eq!(delete(&owner, first), Outcome::Deleted);
    let again = reject(&owner, "g", Offset(0));
    assert_eq!(again, RejectOutcome::Appended { letter: Offset(3) });
}

#[test]
fn the_lineage_names_the_first_message_through_several_deaths() {
    let owner = open(&new_disk());
    let first = produce(&owner, "one");
    let first_id = crate::address::Address::message(NUMBER, first).to_string();
    let mut at = first;
    for death in 0..4 {
        let letter = reject(&owner, "g", at).letter();
        let (_, held) = load(&owner, letter);
        let lineage = Lineage {
            first_message_id: Some(first_id.clone()),
            republished: death,
        };
        assert_eq!(held.lineage, lineage);
        assert_eq!(held.record.value.as_deref(), Some(&b"one"[..]));
        let names: Vec<_> = held.record.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["user"], "no reserved header comes back");
        let Outcome::Republished { target, .. } = retry(&owner, letter) else {
            panic!("it is live");
        };
        at = target;
    }
}

#[test]
fn a_fresh_record_carries_its_group_its_cause_and_what_the_user_gave_it() {
    let (owner, letter) = rejected(&new_disk());
    let Outcome::Republished { target, .. } = retry(&owner, letter) else {
        panic!("it is live");
    };
    let record = record_at(&owner, target);
    assert_eq!(record.header(GROUP_HEADER), Some(&b"g"[..]));
    assert_eq!(record.header("user"), Some(&b"h"[..]));
    assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
    let cause = Cause::decode(record.header(CAUSE_HEADER).unwrap()).unwrap();
    assert_eq!(
        (cause.kind, cause.log, cause.offset),
        (
            CauseKind::Republish,
            LogId::new(NUMBER, LogKind::DeadLetter),
            letter
        )
    );
    assert_eq!(cause.detail.request_id.as_deref(), Some("r1"));
    let lineage = Lineage::decode(record.header(LINEAGE_HEADER).unwrap()).unwrap();
    assert_eq!(lineage.republished, 1);
    let reserved = record.headers.iter();
    let reserved = reserved.filter(|(name, _)| name.starts_with(RESERVED_PREFIX));
    assert_eq!(reserved.count(), 3);
}

#[test]
fn a_repeated_retry_gets_the_first_answer_before_and_after_the_marker() {
    let disk = new_disk();
    let (owner, letter) = rejected(&disk);
    let (first, committed) = republish(&owner, letter);
    let Outcome::Republished {
        target,
        is_repeat: false,
    } = first
    else {
        panic!("{first:?}");
    };
    let repeat = Outcome::Republished {
        target,
        is_repeat: true,
    };
    assert_eq!(retry(&owner, letter), repeat, "committed");
    assert_eq!(delete(&owner, letter), repeat, "too late to delete");
    resolver(&owner).finish(&[committed.unwrap()]).unwrap();
    assert_eq!(retry(&owner, letter), repeat, "marked");
    drop(owner);
    let owner = open(&disk);
    assert_eq!(retry(&owner, letter), repeat, "after a restart");
    assert_eq!(causes(&owner), [(letter, target)]);
}

#[test]
fn a_deleted_letter_is_not_found_by_a_retry() {
    let disk = new_disk();
    let (owner, letter) = rejected(&disk);
    let held = load(&owner, letter);
    assert_eq!(delete(&owner, letter), Outcome::Deleted);
    for _ in 0..2 {
        let (outcomes, committed) = resolver(&owner).republish(std::slice::from_ref(&held));
        assert_eq!(outcomes.letters, [(letter, Outcome::NotFound)]);
        assert_eq!((committed, causes(&owner)), (None, vec![]));
    }
    assert_eq!(delete(&owner, letter), Outcome::NotFound);
    assert_eq!(delete(&open(&disk), letter), Outcome::NotFound);
}

#[test]
fn of_64_threads_that_retry_one_letter_one_appends_and_all_get_its_answer() {
    for round in 0..20 {
        let (owner, letter) = rejected(&new_disk());
        let held = load(&owner, letter);
        let answer = |_| {
            let resolver = resolver(&owner);
            loop {
                let (outcomes, committed) = resolver.republish(std::slice::from_ref(&held));
                if let Some(committed) = committed {
                    resolver.finish(&[committed]).unwrap();
                }
                match outcomes.letters[0].1 {
                    Outcome::Busy => std::thread::yield_now(),
                    outcome => return outcome,
                }
            }
        };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64).map(|n| scope.spawn(move || answer(n))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let found = causes(&owner);
        assert_eq!(found.len(), 1, "round {round}");
        let mut winners = 0;
        for answer in answers {
            let Outcome::Republished { target, is_repeat } = answer else {
                panic!("round {round}: {answer:?}");
            };
            assert_eq!((letter, target), found[0], "round {round}");
            winners += u32::from(!is_repeat);
        }
        assert_eq!(winners, 1, "round {round}");
    }
}

#[test]
fn main_retention_waits_for_the_marker_of_a_republish() {
    let (owner, letter) = rejected(&new_disk());
    let (_, committed) = republish(&owner, letter);
    let committed = committed.unwrap();
    for _ in 0..40 {
        produce(&owner, &"x".repeat(400));
    }
    let plan = || owner.lock().plan_main_retention(&EVERYTHING, NOW);
    assert_eq!(owner.lock().settled_up_to(), committed.base_offset);
    assert_eq!(plan(), None, "the cause stands in the first segment");
    let end = owner.lock().append_markers(&committed, WHO, NOW).unwrap();
    owner.lock().settle();
    assert_eq!(plan(), None, "the marker is written and not synced");
    let task = owner
        .lock()
        .log_mut(LogKind::DeadLetter)
        .unwrap()
        .begin_sync();
    assert_eq!(task.unwrap().run().unwrap(), end);
    owner.lock().settle();
    let log_end = owner.lock().main().next_offset();
    assert_eq!(owner.lock().settled_up_to(), log_end);
    assert!(plan().is_some(), "settled");
}

#[test]
fn markers_that_could_not_be_written_are_due_after_healing() {
    let sim = new_disk();
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let (owner, _) = open_on(Arc::new(fault.clone()));
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
    let disk = new_disk();
    let (owner, letter) = rejected(&disk);
    let held = load(&owner, letter);
    let before = disk.op_count();
    // The room is allocated already: writing, then the sync of the fresh record.
    disk.fail_sync_at(before + 2);
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
    assert_eq!(found.len(), 2, "both ends were met");
}

/// A partition whose write of a fresh record reached the disk and failed all the same.
fn half_republished() -> (SimDisk, FaultDisk, Mutex<Partition>, Offset) {
    let sim = new_disk();
    let fault = FaultDisk::new(Arc::new(sim.clone()));
    let (owner, _) = open_on(Arc::new(fault.clone()));
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
    let sim = new_disk();
    let fault = FaultDisk::new(Arc::new(sim));
    let (owner, _) = open_on(Arc::new(fault.clone()));
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
fn a_letter_past_its_retention_is_not_found_and_its_cause_is_passed_over() {
    let disk = new_disk();
    let (owner, letter) = rejected(&disk);
    let held = load(&owner, letter);
    let (_, committed) = republish(&owner, letter);
    roll_dead_letters(&owner);
    let start = owner.lock().plan_dead_letter_retention(&EVERYTHING, NOW);
    let start = start.unwrap();
    // The new start counts as durable here.
    let unlink = owner.lock().apply_log_start(LogKind::DeadLetter, start);
    unlink.unwrap().run().unwrap();
    assert_eq!(
        owner.lock().due_markers().len(),
        1,
        "the claim outlives its letter"
    );
    resolver(&owner).finish(&[committed.unwrap()]).unwrap();
    let counts = owner.lock().dead_letters().unwrap().counts();
    assert_eq!(
        (counts.letters, counts.expired, counts.republished),
        (1, 1, 0)
    );
    let (outcomes, _) = resolver(&owner).republish(&[held]);
    assert_eq!(outcomes.letters, [(letter, Outcome::NotFound)]);
    assert_eq!(causes(&owner).len(), 1);
    drop(owner);
    let (_, report) = open_on(Arc::new(disk));
    assert_eq!(report.finished_count, 0);
}

#[test]
fn a_record_is_durable_before_its_letter_stands_for_it() {
    let disk = new_disk();
    let log = LogConfig {
        visibility: Visibility::Written,
        ..LogConfig::default()
    };
    let place = PartitionPlace {
        disk: Arc::new(disk.clone()),
        root: PathBuf::from("/data"),
        number: NUMBER,
    };
    let written = PartitionConfig {
        main: log,
        ..PartitionConfig::default()
    };
    let hints = PartitionHints::default();
    let (mut partition, _) = Partition::open(&place, written, &hints, NOW).unwrap();
    for value in ["one", "two"] {
        let mut batch = build(&[value], None);
        let header = check_produced(&batch, &crate::batch::BatchLimits::default()).unwrap();
        partition.append(&header, &mut batch, NOW).unwrap();
        if value == "one" {
            // One of the two needs no sync any more.
            let task = partition.main_mut().begin_sync();
            task.unwrap().run().unwrap();
        }
    }
    let owner = Mutex::new(partition);
    let letters = [1, 0].map(|at| letter_of(&owner, "g", Offset(at)));
    let outcomes = resolver(&owner).reject(&letters).unwrap();
    drop(owner);
    let owner = open(&disk.reboot(Survival::Nothing));
    for (outcome, (at, value)) in outcomes.iter().zip([(1, "two"), (0, "one")]) {
        let letter = outcome.letter();
        assert!(owner.lock().dead_letters().unwrap().is_live(letter));
        let record = record_at(&owner, Offset(at));
        assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
    }
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
