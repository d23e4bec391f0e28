//! Each promise, broken once: the oracle must say so.

use super::*;

fn log() -> Log {
    let mut log = Log::new("log", Crash::Power, 1_000);
    for number in 0..10 {
        log.sent("a", number, false);
        log.sent("i", number, true);
    }
    log
}

fn whole(start: u64, values: &[&str]) -> WholeLog {
    let records = (start..).zip(values).map(|(offset, text)| Seen {
        offset,
        value: (*text).to_owned(),
        is_copy: false,
    });
    WholeLog {
        start,
        end: start + values.len() as u64,
        records: records.collect(),
        bytes: 1_000,
    }
}

#[track_caller]
fn broken(judgement: Result<(), String>, words: &str) {
    let said = judgement.expect_err("nothing was said to be broken");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_log_that_keeps_its_promises_is_right() {
    let mut log = log();
    log.told(0, "a.0.", Crash::Power).unwrap();
    log.crashed(Crash::Power);
    log.read(&whole(0, &["a.0.", "a.1.", "i.0.", "i.1."]))
        .unwrap();
    log.crashed(Crash::Kill);
    log.read(&whole(1, &["a.1.", "i.0.", "i.1.", "a.4."]))
        .unwrap();
}

#[test]
fn an_acknowledged_record_that_is_lost_is_seen() {
    let mut log = log();
    log.told(1, "a.1.", Crash::Power).unwrap();
    log.crashed(Crash::Power);
    broken(log.read(&whole(0, &["a.0."])), "the end fell");
    let mut log = self::log();
    log.told(1, "a.1.", Crash::Kill).unwrap();
    log.crashed(Crash::Kill);
    broken(log.read(&whole(0, &["a.0."])), "is lost");
}

#[test]
fn what_is_written_may_fall_to_a_power_cut_alone_and_only_from_the_end() {
    let written = |crash, found: &[&str]| {
        let mut log = Log::new("log", Crash::Kill, 0);
        for number in 0..3 {
            log.sent("a", number, false);
            let text = format!("a.{number}.");
            log.told(number, &text, Crash::Kill).unwrap();
        }
        log.crashed(crash);
        log.read(&whole(0, found))
    };
    written(Crash::Power, &["a.0."]).unwrap();
    written(Crash::Kill, &["a.0.", "a.1.", "a.2."]).unwrap();
    broken(written(Crash::Kill, &["a.0.", "a.1."]), "is lost");
    broken(written(Crash::Power, &["a.0.", "a.2."]), "was given to");
}

#[test]
fn a_written_record_that_was_asked_to_be_synced_survives_a_power_cut() {
    let mut log = Log::new("log", Crash::Kill, 0);
    log.sent("a", 0, false);
    log.told(0, "a.0.", Crash::Kill).unwrap();
    log.told(0, "a.0.", Crash::Power).unwrap();
    log.crashed(Crash::Power);
    broken(log.read(&whole(0, &[])), "the end fell");
}

#[test]
fn a_record_that_was_served_and_vanishes_is_seen() {
    let mut log = log();
    log.read(&whole(0, &["a.0.", "a.1."])).unwrap();
    log.crashed(Crash::Power);
    broken(log.read(&whole(0, &["a.0."])), "fell from 2 to 1");
}

#[test]
fn an_offset_of_two_records_is_seen() {
    let mut log = log();
    log.told(3, "a.1.", Crash::Power).unwrap();
    broken(log.told(3, "a.2.", Crash::Power), "a.1. and to a.2.");
    let mut log = self::log();
    log.read(&whole(0, &["a.0."])).unwrap();
    log.crashed(Crash::Power);
    broken(log.read(&whole(0, &["a.1."])), "was given to");
}

#[test]
fn gaps_disorder_repeats_and_inventions_are_seen() {
    let read = |values: &[&str]| log().read(&whole(0, values));
    broken(read(&["a.1.", "a.0."]), "out of order");
    broken(read(&["a.1.", "a.1."]), "twice");
    broken(read(&["i.1.", "i.1."]), "twice");
    broken(read(&["i.1.", "i.3."]), "are missing");
    broken(read(&["a.10."]), "nobody sent");
    broken(read(&["b.0."]), "nobody sent");
    broken(read(&[""]), "nobody sent");
    let mut gap = whole(0, &["a.0.", "a.1."]);
    gap.records[1].offset = 2;
    broken(log().read(&gap), "is missing");
    let mut short = whole(0, &["a.0."]);
    short.end = 2;
    broken(log().read(&short), "the high watermark is 2");
}

#[test]
fn a_log_start_that_falls_or_moves_too_far_is_seen() {
    let mut log = log();
    log.read(&whole(2, &["a.0."])).unwrap();
    broken(log.read(&whole(1, &["a.1.", "a.2."])), "start fell");
    let mut log = self::log();
    let mut far = whole(2, &["a.0."]);
    far.bytes = 999;
    broken(log.read(&far), "were to stay");
}

fn letter(id: &str) -> Listed {
    Listed {
        id: id.to_owned(),
        group: "g".to_owned(),
        source: 7,
        value: "v".to_owned(),
    }
}

fn letters() -> Letters {
    let mut letters = Letters::default();
    letters.rejecting("g", 7);
    letters.rejected(&letter("1"), true).unwrap();
    letters
}

#[test]
fn a_letter_that_is_resolved_once_is_right() {
    let mut letters = letters();
    letters.rejected(&letter("1"), false).unwrap();
    letters.listed(&[letter("1")]).unwrap();
    letters.retrying("1");
    letters.listed(&[]).unwrap();
    assert_eq!(letters.unsettled(), ["1"]);
    letters.republished("1", 9, "m").unwrap();
    letters.republished("1", 9, "m").unwrap();
    let copies = BTreeMap::from([(9, "v".to_owned())]);
    letters.copies(0, &copies).unwrap();
    letters.copies(10, &BTreeMap::new()).unwrap();
    let counts = Counts {
        republished: 1,
        ..Counts::default()
    };
    letters.counted(counts).unwrap();
}

#[test]
fn a_letter_that_is_lost_twice_or_of_nobody_is_seen() {
    broken(letters().listed(&[]), "letter 1 is lost");
    broken(
        letters().listed(&[letter("1"), letter("1")]),
        "listed twice",
    );
    broken(
        letters().listed(&[letter("1"), letter("2")]),
        "two live letters",
    );
    broken(Letters::default().listed(&[letter("1")]), "nobody made");
    broken(letters().rejected(&letter("1"), true), "made twice");
    broken(letters().rejected(&letter("2"), true), "two letters");
    let mut other = letter("1");
    other.value = "w".to_owned();
    broken(letters().listed(&[other]), "another record");
    broken(letters().counted(Counts::default()), "counted");
}

#[test]
fn a_letter_that_is_resolved_twice_is_seen() {
    let mut letters = letters();
    letters.retrying("1");
    letters.republished("1", 9, "m").unwrap();
    broken(
        letters.republished("1", 10, "n"),
        "as m at 9 and as n at 10",
    );
    broken(letters.deleted("1"), "republished and deleted");
    broken(letters.not_retried("1"), "forgotten");
    broken(letters.listed(&[letter("1")]), "lives again");
    let two = BTreeMap::from([(9, "v".to_owned()), (10, "v".to_owned())]);
    broken(letters.copies(0, &two), "a second one");
    broken(letters.copies(0, &BTreeMap::new()), "is lost");
    let mut letters = self::letters();
    letters.deleted("1").unwrap();
    letters.not_retried("1").unwrap();
    broken(letters.republished("1", 9, "m"), "deleted and republished");
}

#[test]
fn a_letter_that_is_gone_unasked_is_seen() {
    broken(letters().not_retried("1"), "nobody resolved it");
    broken(letters().not_deleted("1"), "nobody republished it");
}

#[test]
fn committed_offsets_and_topics_that_fall_back_are_seen() {
    let mut committed = Committed::default();
    committed.committing(5);
    committed.committed(5);
    committed.committing(6);
    broken(committed.found(None), "fell");
    broken(committed.found(Some(4)), "fell");
    broken(committed.found(Some(7)), "nobody committed");
    committed.found(Some(6)).unwrap();
    broken(committed.found(Some(5)), "fell from Some(6)");
    let mut topics = Topics::default();
    topics.changing("a");
    topics.changed("a", true);
    broken(topics.found(&[]), "topic a");
    broken(
        topics.found(&["a".to_owned(), "b".to_owned()]),
        "nobody made",
    );
    topics.changing("a");
    topics.found(&[]).unwrap();
    broken(topics.found(&["a".to_owned()]), "topic a");
}

fn dead() -> DeadMessage {
    DeadMessage {
        letter: "L".to_owned(),
        message: "1".to_owned(),
        body: "b".to_owned(),
    }
}

fn attempt(push: &mut Push, message: &str) -> bool {
    let (is_taken, judged) = push.attempted(message, "b");
    judged.unwrap();
    is_taken
}

/// A message that its destination refuses twice, which is all that it has.
fn dying() -> Push {
    let mut push = Push::default();
    push.publishing("b", (1, 2), false);
    push.published("b", "1").unwrap();
    assert!(!attempt(&mut push, "1"));
    assert!(!attempt(&mut push, "1"));
    push
}

#[test]
fn a_message_that_dies_and_is_retried_once_is_right() {
    let mut push = dying();
    push.listed(&[dead()]).unwrap();
    let balance = Balance {
        accepted: 1,
        dead_lettered: 1,
        ..Balance::default()
    };
    push.settled(&balance).unwrap();
    push.retrying("L");
    push.retried("L", "2").unwrap();
    assert!(attempt(&mut push, "2"));
    let balance = Balance {
        accepted: 2,
        delivered: 1,
        dead_lettered: 1,
        ..Balance::default()
    };
    Push::balanced(&balance).unwrap();
    push.settled(&balance).unwrap();
    broken(push.retried("L", "3"), "as 2 and as 3");
    broken(push.listed(&[dead()]), "lives again");
    broken(push.attempted("3", "b").1, "there are 3");
}

#[test]
fn an_attempt_too_many_is_seen_unless_a_crash_allows_it() {
    let mut push = dying();
    push.crashed();
    attempt(&mut push, "1");
    broken(push.attempted("1", "b").1, "had 4 attempts, 3 are allowed");
    broken(push.attempted("1", "c").1, "nobody published");
}

#[test]
fn a_message_that_only_came_while_the_power_went_may_have_died_of_it() {
    let mut push = Push::default();
    push.publishing("b", (0, 0), false);
    push.published("b", "1").unwrap();
    broken(push.listed(&[dead()]), "it was to be taken");
    push.attempted_in_the_dark("b");
    let gone = Balance {
        accepted: 1,
        dead_lettered: 1,
        ..Balance::default()
    };
    broken(push.settled(&gone), "is lost");
    push.listed(&[dead()]).unwrap();
    push.settled(&gone).unwrap();
}

#[test]
fn a_retried_message_may_die_only_of_an_attempt_while_the_power_went() {
    let mut push = Push::default();
    push.publishing("b", (0, 1), false);
    push.published("b", "1").unwrap();
    attempt(&mut push, "1");
    push.listed(&[dead()]).unwrap();
    push.retrying(&dead().letter);
    push.retried(&dead().letter, "2").unwrap();
    let again = |letter: &str| DeadMessage {
        letter: letter.to_owned(),
        message: "2".to_owned(),
        ..dead()
    };
    broken(push.listed(&[again("second")]), "it was to be taken");
    push.attempted_in_the_dark("b");
    push.listed(&[again("second")]).unwrap();
    broken(push.listed(&[again("third")]), "it was to be taken");
    push.settled(&Balance {
        accepted: 2,
        dead_lettered: 2,
        ..Balance::default()
    })
    .unwrap();
}

#[test]
fn a_message_that_is_lost_doubled_or_dead_for_nothing_is_seen() {
    let mut push = Push::default();
    push.publishing("b", (3, 1), false);
    push.published("b", "1").unwrap();
    broken(push.settled(&Balance::default()), "message 1 (b) is lost");
    broken(push.published("b", "2"), "there are 2");
    broken(push.listed(&[dead()]), "it was to be taken");
    attempt(&mut push, "1");
    let one = Balance {
        accepted: 1,
        delivered: 1,
        ..Balance::default()
    };
    broken(push.settled(&one), "never delivered");
    attempt(&mut push, "1");
    push.settled(&one).unwrap();
    broken(
        push.settled(&Balance::default()),
        "0 messages are accepted, 1 came",
    );
    broken(
        Push::balanced(&Balance {
            accepted: 1,
            ..Balance::default()
        }),
        "add up",
    );
    broken(push.attempted("2", "b").1, "published once");
}

#[test]
fn a_message_that_dies_twice_or_without_a_letter_is_seen() {
    let mut push = dying();
    let balance = Balance {
        accepted: 1,
        dead_lettered: 1,
        ..Balance::default()
    };
    broken(push.settled(&balance), "has no letter");
    push.listed(&[dead()]).unwrap();
    let none = Balance {
        accepted: 1,
        delivered: 1,
        ..Balance::default()
    };
    broken(push.settled(&none), "0 messages are dead");
    let mut second = dead();
    second.letter = "M".to_owned();
    broken(push.listed(&[second]), "died twice");
    push.retrying("L");
    push.retried("L", "2").unwrap();
    broken(
        push.settled(&balance),
        "retried message 2 (b) was never delivered",
    );
}

#[test]
fn a_message_that_overtakes_another_of_its_queue_is_seen() {
    let queue = || {
        let mut push = Push::default();
        push.publishing("a", (1, 2), true);
        push.published("a", "1").unwrap();
        push.publishing("b", (0, 0), true);
        push.publishing("c", (0, 0), false);
        push
    };
    let mut push = queue();
    push.attempted("3", "c").1.unwrap();
    broken(push.attempted("2", "b").1, "b came before a");
    let mut push = queue();
    push.attempted("1", "a").1.unwrap();
    broken(push.attempted("2", "b").1, "b came before a");
    // What was refused while the power went may have been its last attempt, but not before it was.
    let mut push = queue();
    push.attempted_in_the_dark("a");
    let early = push.attempted("2", "b").1;
    let mut push = queue();
    push.attempted("1", "a").1.unwrap();
    push.attempted_in_the_dark("a");
    push.attempted("2", "b").1.unwrap();
    broken(early, "b came before a");
    let mut push = queue();
    push.attempted("1", "a").1.unwrap();
    push.attempted("1", "a").1.unwrap();
    push.attempted("2", "b").1.unwrap();
}
