//! Retries and deletions of letters while the disk does as it is told.

use super::*;
use crate::cause::{GROUP_HEADER, LINEAGE_HEADER, RESERVED_PREFIX};
use crate::dead_letter::select::{LetterFilter, Order};
use crate::log_id::LogId;

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
fn markers_that_somebody_else_has_appended_settle_no_other_batch() {
    let disk = new_disk();
    let (owner, first) = rejected(&disk);
    let second = produce(&owner, "two");
    let second = reject(&owner, "g", second).letter();
    // Written, and not committed before the other one, which is behind it in the log.
    let written = resolver(&owner).write_fresh(&[load(&owner, first)]);
    let unsettled = owner.lock().settled_up_to();
    let (_, committed) = republish(&owner, second);
    let due = owner.lock().due_markers();
    assert_eq!(due, Vec::from_iter(committed.clone()));
    resolver(&owner).finish(&due).unwrap();
    resolver(&owner).finish(&due).unwrap();
    assert_eq!(owner.lock().settled_up_to(), unsettled);
    let (_, committed) = resolver(&owner).commit(written);
    resolver(&owner).finish(&[committed.unwrap()]).unwrap();
    assert!(owner.lock().settled_up_to() > unsettled);
    assert_eq!(causes(&owner).len(), 2);
}

#[test]
fn a_letter_is_live_in_no_view_from_its_commit_on() {
    let (owner, first) = rejected(&new_disk());
    let others: Vec<_> = ["two", "three"]
        .iter()
        .map(|value| {
            let record = produce(&owner, value);
            reject(&owner, "g", record).letter()
        })
        .collect();
    let shown = || {
        let view = owner.lock().letter_view().unwrap();
        let mut shown = Vec::new();
        let range = (Offset::ZERO, Offset(100));
        let mut see = |letter, _| {
            shown.push(letter);
            true
        };
        let filter = LetterFilter::default();
        view.visit(&filter, Order::NewestFirst, range, &mut see)
            .unwrap();
        let live = view.live_count();
        assert_eq!(live, u64::try_from(shown.len()).unwrap());
        assert!(shown.iter().all(|letter| view.is_live(*letter)));
        assert_eq!(view.is_live(others[0]), shown.contains(&others[0]));
        shown
    };
    let before = owner.lock().letter_view().unwrap();
    let (_, committed) = republish(&owner, others[0]);
    assert_eq!(shown(), [others[1], first], "its marker is due");
    resolver(&owner).finish(&[committed.unwrap()]).unwrap();
    assert_eq!(shown(), [others[1], first], "marked");
    assert!(before.is_live(others[0]), "a view sees no later change");
}

/// A claim may outlive its letter, where a damaged log cannot tell which letters have their markers: the letters that are live are
/// counted all the same.
#[test]
fn only_letters_that_are_live_are_counted_as_committed() {
    let disk = new_disk();
    let (owner, first) = rejected(&disk);
    for value in ["two", "three", "four"] {
        let record = produce(&owner, value);
        reject(&owner, "g", record);
        if value == "two" {
            retry(&owner, first);
        }
    }
    drop(owner);
    let paths = disk.paths().into_iter();
    let mut logs = paths.filter(|path| path.to_string_lossy().contains("dead"));
    let path = logs.find(|path| path.extension().is_some_and(|found| found == "log"));
    let bytes = disk.read_file(path.as_ref().unwrap()).unwrap();
    let at = bytes
        .windows(5)
        .position(|found| found == b"three")
        .unwrap();
    disk.flip_bit(&path.unwrap(), at as u64 * 8).unwrap();
    let (owner, report) = open_on(Arc::new(disk));
    assert!(!report.dead_letters.damage.is_empty());
    let owner = owner.lock();
    let shown = owner.letter_view().unwrap().live_count();
    let counted = owner.dead_letters().unwrap().live_count() - owner.committed_count();
    assert_eq!((shown, counted), (2, 2));
}

#[test]
fn a_deletion_is_open_until_its_marker_is_durable() {
    let (owner, letter) = rejected(&new_disk());
    let mut owner = owner.lock();
    assert_eq!(owner.claim(letter), Claim::Yours);
    owner.append_deletions(&[letter], WHO, NOW).unwrap();
    assert!(!owner.is_live(letter) && owner.is_being_resolved(letter));
    let sync = owner.log_mut(LogKind::DeadLetter).unwrap().begin_sync();
    sync.unwrap().run().unwrap();
    owner.finish_delete(&[letter]);
    assert!(!owner.is_live(letter) && !owner.is_being_resolved(letter));
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
