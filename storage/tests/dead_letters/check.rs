//! Comparing a partition with the oracle, after it was opened and after requests were repeated.

use std::collections::BTreeSet;

use storage::dead_letter::Resolution;
use storage::offset::Offset;
use storage::partition::{Partition, PartitionReport};

use crate::oracle::{Broken, Fate, Flight, Oracle, ensure};
use crate::truth::Truth;
use crate::workload::value_of;

/// Checks a partition that was just opened or is at rest, and settles what was in flight by what is there now.
pub fn check(
    partition: &Partition,
    report: Option<&PartitionReport>,
    oracle: &mut Oracle,
) -> Result<(), Broken> {
    if let Some(report) = report {
        let damage = [&report.main.damage, &report.dead_letters.damage];
        ensure(
            damage.iter().all(|d| d.is_empty()),
            "no damage is reported",
            || format!("{damage:?}"),
        )?;
    }
    let truth = Truth::read(partition).map_err(|error| Broken {
        check: "the logs can be read",
        seen: format!("{error:?}"),
    })?;
    starts(partition, oracle)?;
    records(&truth, oracle)?;
    take_flight(&truth, oracle)?;
    letters(partition, &truth, oracle)?;
    conservation(partition, &truth, oracle)
}

/// Without a checkpoint nothing says how far retention had come, and a log may begin earlier.
fn starts(partition: &Partition, oracle: &mut Oracle) -> Result<(), Broken> {
    let main = partition.main().reader().log_start();
    let letters = partition
        .dead_letters()
        .map_or(Offset::ZERO, |log| log.log().reader().log_start());
    let (mut main_flight, mut letter_flight) = (oracle.main_start, oracle.letter_start);
    match oracle.flight {
        Some(Flight::MainStart(start)) => main_flight = start,
        Some(Flight::LetterStart(start)) => letter_flight = start,
        _ => {}
    }
    for (start, is, may) in [
        (main, oracle.main_start, main_flight),
        (letters, oracle.letter_start, letter_flight),
    ] {
        let is_right = start == is || start == may || (oracle.is_checkpoint_lost && start <= may);
        ensure(
            is_right,
            "a log begins where retention has moved it",
            || format!("{start}, not {is} or {may}"),
        )?;
    }
    (oracle.main_start, oracle.letter_start) = (main, letters);
    Ok(())
}

fn records(truth: &Truth, oracle: &mut Oracle) -> Result<(), Broken> {
    let in_flight = match oracle.flight {
        Some(Flight::Produce { first, count }) => first..first + count,
        _ => 0..0,
    };
    let mut found = BTreeSet::new();
    for (offset, value) in &truth.records {
        let Some(number) = (0..oracle.produced.len()).find(|n| value_of(*n) == *value) else {
            return ensure(false, "no record is invented", || {
                format!("{offset}: {value}")
            });
        };
        let is_fresh = truth
            .causes
            .values()
            .flatten()
            .any(|target| target == offset);
        if is_fresh {
            continue;
        }
        ensure(found.insert(number), "no record stands twice", || {
            format!("record {number} at {offset}")
        })?;
        let known = oracle.produced[number];
        ensure(
            known == Some(*offset) || in_flight.contains(&number),
            "a record stays where it was",
            || format!("record {number} at {offset}, not {known:?}"),
        )?;
        oracle.produced[number] = Some(*offset);
    }
    for (number, at) in oracle.produced.iter().enumerate() {
        let is_there = at.is_none_or(|at| at < oracle.main_start) || found.contains(&number);
        ensure(is_there, "no produced record is lost", || {
            format!("record {number} at {at:?}")
        })?;
    }
    Ok(())
}

/// Finds out what became of the request that had no answer.
fn take_flight(truth: &Truth, oracle: &mut Oracle) -> Result<(), Broken> {
    match oracle.flight.take() {
        Some(Flight::Reject(letters)) => take_rejects(&letters, truth, oracle)?,
        Some(Flight::Republish(letters)) => {
            let targets: Vec<_> = letters
                .iter()
                .map(|letter| {
                    truth
                        .causes
                        .get(&oracle.letters[*letter].at.unwrap())
                        .and_then(|t| t.first())
                })
                .collect();
            let count = targets.iter().flatten().count();
            ensure(
                count == 0 || count == letters.len(),
                "a batch is republished whole or not at all",
                || format!("{letters:?}: {targets:?}"),
            )?;
            for (letter, target) in letters.iter().zip(targets) {
                if let Some(target) = target {
                    oracle.letters[*letter].fate = Fate::Republished(*target);
                }
            }
        }
        Some(Flight::Delete(letters)) => {
            let is_marked = |letter: &usize| {
                truth
                    .markers
                    .contains_key(&oracle.letters[*letter].at.unwrap())
            };
            let marked: Vec<_> = letters
                .iter()
                .filter(|letter| is_marked(letter))
                .copied()
                .collect();
            ensure(
                marked.is_empty() || marked.len() == letters.len(),
                "a batch is deleted whole or not at all",
                || format!("{letters:?}: {marked:?}"),
            )?;
            for letter in marked {
                oracle.letters[letter].fate = Fate::Deleted;
            }
        }
        Some(Flight::Produce { .. } | Flight::MainStart(_) | Flight::LetterStart(_)) | None => {}
    }
    Ok(())
}

fn take_rejects(letters: &[usize], truth: &Truth, oracle: &mut Oracle) -> Result<(), Broken> {
    let mut found = Vec::new();
    for letter in letters {
        let reason = format!("letter {letter}");
        let at = truth.letters.iter().find(|(_, found)| **found == reason);
        found.extend(at.map(|(at, _)| (*letter, *at)));
    }
    ensure(
        found.is_empty() || found.len() == letters.len(),
        "a batch is rejected whole or not at all",
        || format!("{letters:?}: {found:?}"),
    )?;
    for (letter, at) in found {
        oracle.rejected(letter, at)?;
    }
    Ok(())
}

fn letters(partition: &Partition, truth: &Truth, oracle: &Oracle) -> Result<(), Broken> {
    for (at, reason) in &truth.letters {
        let known = oracle.letter_at(*at);
        let is_known = known.is_some_and(|letter| *reason == format!("letter {letter}"));
        ensure(
            is_known,
            "no letter is invented and none stands twice",
            || format!("{at}: {reason}, {known:?}"),
        )?;
    }
    for (number, known) in oracle.letters.iter().enumerate() {
        if let Some(at) = known.at {
            let live = partition.dead_letters().is_some_and(|log| log.is_live(at));
            letter(number, (at, known.fate), live, truth, oracle)?;
        }
    }
    Ok(())
}

fn letter(
    number: usize,
    (at, fate): (Offset, Fate),
    live: bool,
    truth: &Truth,
    oracle: &Oracle,
) -> Result<(), Broken> {
    let causes = truth.causes.get(&at).cloned().unwrap_or_default();
    let marker = truth.markers.get(&at).copied();
    let seen =
        || format!("letter {number} at {at}: {fate:?}, live {live}, causes {causes:?}, {marker:?}");
    let is_expired = at < oracle.letter_start;
    let is_there = is_expired || truth.letters.contains_key(&at);
    ensure(is_there, "no letter is lost", seen)?;
    let is_once = causes.len() <= 1;
    ensure(is_once, "a letter is republished at most once", seen)?;
    let is_either = !live || causes.is_empty();
    ensure(is_either, "no letter is both live and republished", seen)?;
    match fate {
        Fate::Live => {
            let check = "a letter that nobody retried has no fresh record";
            ensure(causes.is_empty(), check, seen)?;
            let check = "a letter that was rejected is live";
            ensure(live != is_expired, check, seen)
        }
        Fate::Republished(target) => {
            ensure(!live, "a republished letter is not live", seen)?;
            let is_there = causes == [target] || (causes.is_empty() && target < oracle.main_start);
            let check = "an answered republish stands in the main log";
            ensure(is_there, check, seen)?;
            let is_marked =
                matches!(marker, Some(Resolution::Republished { offset, .. }) if offset == target);
            let check = "a republished letter has its marker";
            ensure(is_expired || is_marked, check, seen)
        }
        Fate::Deleted => {
            let is_gone = !live && causes.is_empty();
            ensure(is_gone, "a deleted letter never comes back", seen)?;
            let is_marked = marker == Some(Resolution::Deleted);
            let check = "a deleted letter has its marker";
            ensure(is_expired || is_marked, check, seen)
        }
    }
}

fn conservation(partition: &Partition, truth: &Truth, oracle: &Oracle) -> Result<(), Broken> {
    let due = partition.due_markers();
    let settled = partition.settled_up_to();
    ensure(
        due.is_empty() && settled == partition.main().next_offset(),
        "nothing is due",
        || format!("{due:?}, settled up to {settled}"),
    )?;
    let Some(log) = partition.dead_letters() else {
        return Ok(());
    };
    let counts = log.counts();
    let sum = log.live_count() + counts.republished + counts.deleted + counts.expired;
    ensure(
        counts.letters == sum,
        "letters ever = live + republished + deleted + expired",
        || format!("{counts:?}, live {}", log.live_count()),
    )?;
    let live = truth
        .letters
        .keys()
        .filter(|at| !truth.markers.contains_key(at))
        .count() as u64;
    ensure(
        log.live_count() == live,
        "the live letters are those without a marker",
        || format!("{} and {live}", log.live_count()),
    )?;
    let ever = oracle
        .letters
        .iter()
        .filter(|letter| letter.at.is_some())
        .count();
    let gone = (0..oracle.letters.len())
        .filter(|letter| oracle.is_expired(*letter))
        .count();
    ensure(
        ever == gone + truth.letters.len(),
        "every letter is in the log or past its retention",
        || format!("{ever} ever, {gone} gone, {} there", truth.letters.len()),
    )?;
    let republished = truth
        .causes
        .iter()
        .filter(|(letter, _)| **letter >= oracle.letter_start);
    for (letter, targets) in republished {
        let marker = truth.markers.get(letter);
        let is_marked = matches!(marker, Some(Resolution::Republished { offset, .. }) if [*offset] == targets[..]);
        ensure(is_marked, "fresh records = republished letters", || {
            format!("{letter}: {targets:?}, {marker:?}")
        })?;
    }
    Ok(())
}
