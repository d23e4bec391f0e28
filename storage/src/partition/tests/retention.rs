//! Retention of either log beside letters that are being republished.

use super::*;
use crate::log::RetentionPolicy;

fn roll_dead_letters(owner: &Mutex<Partition>) {
    let mut partition = owner.lock();
    let done = partition.begin_roll(LogKind::DeadLetter).unwrap().run();
    partition.finish_roll(LogKind::DeadLetter, done).unwrap();
}

const EVERYTHING: RetentionPolicy = RetentionPolicy {
    retention_ms: None,
    retention_bytes: Some(0),
};

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
