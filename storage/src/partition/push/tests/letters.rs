//! Letters of messages: one for each, what they say, and what follows from them.

use super::*;
use crate::address::Address;
use crate::cause::{Cause, CauseDetail, CauseKind};
use crate::dead_letter::{DeadLetter, Disposition, Lineage, Receiver};
use crate::delivery::ENVELOPE_HEADER;
use crate::disk::sim::Survival;
use crate::log_id::LogId;
use crate::partition::{Claim, FreshBatch, Who};

const DIED: TimestampMs = TimestampMs(1_500);

const DEAD: Verdict = Verdict::Dead {
    disposition: Disposition::RETRIES_EXHAUSTED,
};

fn letter_of_message(partition: &Partition, message: u64) -> DeadLetter {
    let read = partition.push_reader().message(Offset(message), None);
    let mut history = History::default();
    history.push(attempt(1));
    let death = PushDeath {
        topic: "_push",
        partition_index: 2,
        partition: NUMBER,
        history,
        disposition: Disposition::RETRIES_EXHAUSTED,
        reason: "answered 503",
    };
    push_letter(&read.unwrap(), death, DIED)
}

#[test]
fn a_message_gets_one_letter_however_often_and_together_with_what() {
    let mut partition = with_messages(4);
    let letter = |partition: &Partition, at| (Offset(at), letter_of_message(partition, at));
    let (zero, one, two) = (
        letter(&partition, 0),
        letter(&partition, 1),
        letter(&partition, 2),
    );
    let first = partition
        .append_push_letters(&[one.clone(), zero.clone()], NOW)
        .unwrap();
    assert_eq!(first, [Offset(0), Offset(1)]);
    let again = partition
        .append_push_letters(&[zero.clone(), two.clone(), one.clone(), two], NOW)
        .unwrap();
    assert_eq!(again, [Offset(1), Offset(2), Offset(0), Offset(2)]);
}

#[test]
fn a_batch_of_letters_has_few_bytes_or_one_letter() {
    let mut partition = with_messages(1);
    let sizes = [10_000, 10_000, 10_000, 10_000, 60_000, 60_000, 100, 100];
    let letters: Vec<_> = (10..)
        .zip(sizes)
        .map(|(at, size)| {
            let mut letter = letter_of_message(&partition, 0);
            letter.source.offset = Offset(at);
            letter.record.value = Some(vec![7; size].into());
            (letter.source.offset, letter)
        })
        .collect();
    let places = partition.append_push_letters(&letters, NOW).unwrap();
    assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7].map(Offset));
    let log = partition.dead_letters().unwrap().log().reader();
    let mut batches = Vec::new();
    log.scan_headers(Offset(0), crate::log::ReadBound::LogEnd, &mut |header| {
        batches.push(header.record_count);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(batches, [3, 1, 1, 1, 2]);
}

/// The sync of a dead entry may fail, and what follows from the death be durable all the same.
#[test]
fn a_failure_callback_that_stands_is_owed_no_more_though_its_dead_entry_is_lost() {
    let disk = SimDisk::new(1);
    let mut partition = open(&disk);
    partition.append_messages(&[new_message(0)], NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    let Entry::Outcome(dying) = outcome(0, 1, DEAD) else {
        panic!("an outcome");
    };
    let dying = Entry::Outcome(Outcome {
        owes: Owes {
            callback: false,
            failure_callback: true,
        },
        ..dying
    });
    partition.append_entries(&[dying], NOW).unwrap();
    sync(&mut partition, LogKind::Delivery);
    let letter = letter_of_message(&partition, 0);
    let letters = [(Offset(0), letter)];
    let letter = partition.append_push_letters(&letters, NOW).unwrap()[0];
    sync(&mut partition, LogKind::DeadLetter);
    let dead = Entry::Dead {
        message: Offset(0),
        letter,
        time: NOW,
    };
    partition.append_entries(&[dead], NOW).unwrap();
    let told = NewMessage {
        cause: Some(Cause {
            kind: CauseKind::FailureCallback,
            log: LogId::new(NUMBER, LogKind::DeadLetter),
            offset: letter,
            detail: CauseDetail::default(),
        }),
        ..new_message(1)
    };
    partition.append_messages(&[told], NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    let again = open(&disk.reboot(Survival::Nothing));
    let state = again.delivery().unwrap();
    assert_eq!(state.counts().dead_lettered, 1);
    assert_eq!(state.owed().count(), 0);
    assert_eq!(state.phase(Offset(0)), None);
}

#[test]
fn a_letter_says_where_its_message_was_to_go_and_what_was_tried() {
    let mut partition = open(&SimDisk::new(1));
    let mut message = new_message(0);
    message.cause = Some(Cause {
        kind: CauseKind::Schedule,
        log: LogId::CONTROL,
        offset: Offset(0),
        detail: CauseDetail::default(),
    });
    message.envelope.queue = Some("queue".to_owned());
    partition.append_messages(&[message], NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    let letter = letter_of_message(&partition, 0);
    let Receiver::Destination(destination) = &letter.receiver else {
        panic!("{:?}", letter.receiver);
    };
    assert_eq!(destination.url, "http://host/0");
    assert_eq!(destination.queue.as_deref(), Some("queue"));
    assert_eq!(destination.flow_control_key.as_deref(), Some("key"));
    let id = Address::message(NUMBER, Offset(0)).to_string();
    assert_eq!(letter.message_id, Some(id.clone()));
    let lineage = Lineage {
        first_message_id: Some(id),
        republished: 0,
    };
    assert_eq!(letter.lineage, lineage);
    assert_eq!((letter.died_at, letter.source.partition_index), (DIED, 2));
    assert_eq!(letter.labels, ["label"]);
    assert_eq!(letter.caller.as_deref(), Some("127.0.0.1"));
    assert_eq!(letter.record.value.as_deref(), Some(&b"body 0"[..]));
    let names: Vec<_> = letter.record.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [ENVELOPE_HEADER], "neither cause nor lineage");
    assert_eq!(letter.fingerprint, letter.compute_fingerprint());
    assert_eq!(DeadLetter::decode(&letter.encode()), Ok(letter));
}

#[test]
fn a_republished_message_is_due_at_once_and_nobodys_duplicate() {
    let mut partition = open(&SimDisk::new(1));
    let mut callback = new_message(1);
    callback.envelope.queue = Some("queue".to_owned());
    callback.envelope.root = Some(Offset(0));
    partition
        .append_messages(&[new_message(0), callback], NOW)
        .unwrap();
    sync(&mut partition, LogKind::Main);
    let letters: Vec<_> = (0..2)
        .map(|at| (Offset(at), letter_of_message(&partition, at)))
        .collect();
    partition
        .append_entries(&[outcome(0, 1, DEAD), outcome(1, 1, DEAD)], NOW)
        .unwrap();
    let places = partition.append_push_letters(&letters, NOW).unwrap();
    sync(&mut partition, LogKind::DeadLetter);
    let deaths: Vec<_> = places
        .iter()
        .map(|letter| Entry::Dead {
            message: Offset(letter.0),
            letter: *letter,
            time: NOW,
        })
        .collect();
    partition.append_entries(&deaths, NOW).unwrap();
    for letter in &places {
        assert_eq!(partition.claim(*letter), Claim::Yours);
    }
    let letters: Vec<_> = places
        .into_iter()
        .zip(letters.into_iter().map(|(_, l)| Box::new(l)))
        .collect();
    let who = Who {
        name: "tester",
        request_id: Some("request"),
    };
    let mut fresh = FreshBatch::build(&partition.main().reader(), &letters, who).unwrap();
    let republished = partition.append_republished(&mut fresh, NOW).unwrap();
    assert_eq!(partition.take_due(NOW, 9), [], "it is not durable");
    let task = partition.main_mut().begin_sync();
    task.unwrap().run().unwrap();
    partition.commit(&republished);
    assert_eq!(partition.take_due(NOW, 9), [Offset(2), Offset(3)]);
    let reader = partition.push_reader();
    for (at, of) in [(2, 0), (3, 1)] {
        let message = reader.message(Offset(at), None).unwrap();
        assert_eq!(message.body, format!("body {of}"));
        assert_eq!(
            (message.envelope.dedup, message.envelope.not_before),
            (None, None)
        );
        assert_eq!(
            (message.envelope.queue, message.envelope.root),
            (None, None)
        );
        let cause = message.cause.unwrap();
        assert_eq!(
            (cause.kind, cause.offset),
            (CauseKind::Republish, Offset(of))
        );
        assert_eq!(message.lineage.unwrap().republished, 1);
    }
    let counts = partition.delivery().unwrap().counts();
    assert_eq!((counts.accepted, counts.dead_lettered), (4, 2));
    assert_eq!(partition.delivery().unwrap().duplicates().count(), 1);
}
