//! The owner and the readers of a pushed partition by example; the crash tests drive them through everything else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::address::Address;
use crate::cause::{Cause, CauseDetail, CauseKind};
use crate::dead_letter::{
    Attempt, AttemptResult, DeadLetter, Disposition, History, Lineage, Receiver,
};
use crate::delivery::limits::RETRIES_MAX;
use crate::delivery::{ENVELOPE_HEADER, Entry, Envelope, FlowControl, Outcome, Owes, Verdict};
use crate::disk::sim::{SimDisk, Survival};
use crate::error::LogError;
use crate::log::LogConfig;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};
use crate::partition::{
    Claim, FreshBatch, Partition, PartitionConfig, PartitionHints, PartitionPlace, Who,
};

const NOW: TimestampMs = TimestampMs(1_000);
const DIED: TimestampMs = TimestampMs(1_500);
const NUMBER: PartitionNumber = PartitionNumber(4);

fn open(disk: &SimDisk) -> Partition {
    disk.write_file(std::path::Path::new("/data/made"), b"")
        .unwrap();
    let place = PartitionPlace {
        disk: Arc::new(disk.clone()),
        root: "/data".into(),
        number: NUMBER,
    };
    let config = PartitionConfig {
        delivery: Some(LogConfig::default()),
        dead_letters: LogConfig {
            batch_bytes_max: 300 << 10,
            ..LogConfig::default()
        },
        ..PartitionConfig::default()
    };
    Partition::open(&place, config, &PartitionHints::default(), NOW)
        .unwrap()
        .0
}

fn new_message(number: u64) -> NewMessage {
    NewMessage {
        timestamp: TimestampMs(7),
        body: Bytes::from(format!("body {number}")),
        envelope: Envelope {
            url: format!("http://host/{number}"),
            method: "POST".to_owned(),
            labels: vec!["label".to_owned()],
            caller_ip: Some("127.0.0.1".to_owned()),
            dedup: Some([9; 16]),
            not_before: Some(TimestampMs(1_001)),
            flow: Some(FlowControl {
                key: "key".to_owned(),
                ..FlowControl::default()
            }),
            ..Envelope::default()
        },
        cause: None,
    }
}

fn sync(partition: &mut Partition, kind: LogKind) {
    let task = partition.log_mut(kind).unwrap().begin_sync();
    task.unwrap().run().unwrap();
    partition.admit_durable();
}

/// A partition with so many messages, all in one batch.
fn with_messages(count: u64) -> Partition {
    let mut partition = open(&SimDisk::new(1));
    let messages: Vec<_> = (0..count).map(new_message).collect();
    partition.append_messages(&messages, NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    partition
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        time: NOW,
        duration_ms: 1,
        result: AttemptResult::Status(503),
        headers: Vec::new(),
        body: Bytes::from(format!("answer {number}")),
        is_body_cut: false,
        are_headers_cut: false,
    }
}

fn outcome(message: u64, number: u32, verdict: Verdict) -> Entry {
    Entry::Outcome(Outcome {
        message: Offset(message),
        verdict,
        owes: Owes::default(),
        // The log knows better.
        previous: Some(Offset(999)),
        attempt: attempt(number),
    })
}

const RETRY: Verdict = Verdict::Retry { at: NOW };
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
fn a_message_is_the_engines_when_it_is_durable_and_not_before() {
    let mut partition = open(&SimDisk::new(1));
    partition.append_messages(&[new_message(0)], NOW).unwrap();
    assert_eq!(partition.admit_durable(), 0);
    assert_eq!(partition.delivery().unwrap().counts().accepted, 0);
    assert_eq!(partition.take_due(TimestampMs(2_000), 9), []);
    let task = partition.main_mut().begin_sync();
    task.unwrap().run().unwrap();
    assert_eq!(partition.take_due(NOW, 9), [], "it is not due");
    assert_eq!(partition.take_due(TimestampMs(1_001), 9), [Offset(0)]);
    let nothing = partition.append_messages(&[], NOW);
    assert!(
        matches!(nothing, Err(LogError::BatchTooLarge { .. })),
        "{nothing:?}"
    );
}

#[test]
fn messages_come_in_the_order_in_which_they_were_asked_for() {
    let partition = with_messages(5);
    let reader = partition.push_reader();
    let places: Vec<_> = [3, 0, 7, 3, 4].map(|at| (Offset(at), None)).to_vec();
    let read = reader.messages(&places);
    let found: Vec<_> = read
        .into_iter()
        .map(|(at, message)| (at.0, message.ok().map(|m| (m.body, m.envelope.url))))
        .collect();
    let body = |at: u64| {
        let body = Bytes::from(format!("body {at}"));
        Some((body, format!("http://host/{at}")))
    };
    let expected = [
        (3, body(3)),
        (0, body(0)),
        (7, None),
        (3, body(3)),
        (4, body(4)),
    ];
    assert_eq!(found, expected);
    let missing = reader.message(Offset(7), Some(Offset(0)));
    assert!(
        matches!(missing, Err(LogError::OffsetOutOfRange { .. })),
        "{missing:?}"
    );
}

#[test]
fn a_record_without_an_envelope_is_no_message() {
    let mut partition = open(&SimDisk::new(1));
    let mut builder = crate::batch::BatchBuilder::new(crate::batch::Codec::None);
    let record = crate::batch::NewRecord {
        value: Some(b"plain"),
        ..crate::batch::NewRecord::default()
    };
    builder.push(&record).unwrap();
    let mut batch = builder
        .build(crate::batch::BuildOptions::default())
        .unwrap();
    let header = crate::batch::BatchHeader::decode(&batch).unwrap();
    partition.append(&header, &mut batch, NOW).unwrap();
    partition.append_messages(&[new_message(1)], NOW).unwrap();
    sync(&mut partition, LogKind::Main);
    let state = partition.delivery().unwrap();
    assert_eq!(state.admitted_up_to(), Offset(2));
    assert_eq!(state.counts().accepted, 1);
    let read = partition.push_reader().message(Offset(0), None);
    assert!(matches!(read, Err(LogError::Corrupt { .. })), "{read:?}");
}

#[test]
fn a_history_is_read_through_outcomes_and_copies_however_many() {
    let mut partition = with_messages(2);
    let first = partition
        .append_entries(&[outcome(0, 1, RETRY), outcome(1, 1, RETRY)], NOW)
        .unwrap();
    assert_eq!(first.next_offset, Offset(2));
    partition
        .append_entries(&[outcome(0, 2, RETRY), outcome(0, 3, RETRY)], NOW)
        .unwrap();
    let read = |partition: &Partition, message: u64| {
        let at = partition.delivery().unwrap().history_at(Offset(message));
        let history = partition.push_reader().history(at).unwrap();
        let numbers = history.attempts().iter().map(|attempt| attempt.number);
        (numbers.collect::<Vec<_>>(), history.left_out())
    };
    assert_eq!(read(&partition, 0), (vec![1, 2, 3], 0));
    assert_eq!(read(&partition, 1), (vec![1], 0));
    let mut history = History::default();
    (1..=3).for_each(|number| history.push(attempt(number)));
    let copy = Entry::History {
        message: Offset(0),
        history,
    };
    partition
        .append_entries(&[copy, outcome(0, 4, RETRY)], NOW)
        .unwrap();
    assert_eq!(read(&partition, 0), (vec![1, 2, 3, 4], 0));
    for number in 2..=RETRIES_MAX + 1 {
        partition
            .append_entries(&[outcome(1, number, RETRY)], NOW)
            .unwrap();
    }
    let (numbers, left_out) = read(&partition, 1);
    assert_eq!((numbers[0], numbers.last()), (1, Some(&(RETRIES_MAX + 1))));
    let kept = u32::try_from(numbers.len()).unwrap();
    assert_eq!(kept + left_out, RETRIES_MAX + 1);
}

#[test]
fn entries_are_read_forwards_and_backwards_when_they_are_durable() {
    let mut partition = with_messages(1);
    for number in 1..=700 {
        partition
            .append_entries(&[outcome(0, number, RETRY)], NOW)
            .unwrap();
    }
    let reader = partition.push_reader();
    assert_eq!(reader.entries(Offset(0), 1 << 20).unwrap(), []);
    sync(&mut partition, LogKind::Delivery);
    let upkeep_reader = partition.push_reader();
    let all = upkeep_reader.entries(Offset(0), 1 << 20).unwrap();
    let offsets = |entries: &[PlacedEntry]| entries.iter().map(|(at, ..)| at.0).collect::<Vec<_>>();
    assert_eq!(offsets(&all), (0..700).collect::<Vec<_>>());
    assert_eq!(
        offsets(&reader.entries(Offset(698), 1 << 20).unwrap()),
        [698, 699]
    );
    assert_eq!(offsets(&reader.entries(Offset(5), 1).unwrap()), [5]);
    assert_eq!(reader.entries(Offset(700), 1 << 20).unwrap(), []);
    let back = reader.entries_back(Offset(600), usize::MAX).unwrap();
    assert_eq!(offsets(&back), (0..600).rev().collect::<Vec<_>>());
    let some = reader.entries_back(Offset(u64::MAX), 1).unwrap();
    assert_eq!(offsets(&some)[..2], [699, 698]);
    assert!(some.len() < 700);
    assert_eq!(reader.entries_back(Offset(0), 1 << 20).unwrap(), []);
    assert_eq!(reader.outcome(Offset(3)).unwrap().attempt.number, 4);
    assert!(reader.outcome(Offset(700)).is_err());
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
    // A batch takes two letters at most: each may be larger than its record by 128 KiB.
    let big: Vec<_> = (0..4u64)
        .map(|at| {
            let (message, mut letter) = letter(&partition, 3);
            letter.source.offset = Offset(message.0 + 10 + at);
            (letter.source.offset, letter)
        })
        .collect();
    let places = partition.append_push_letters(&big, NOW).unwrap();
    assert_eq!(places, [3, 4, 5, 6].map(Offset));
    let log = partition.dead_letters().unwrap().log().reader();
    let mut batches = Vec::new();
    log.scan_headers(Offset(0), crate::log::ReadBound::LogEnd, &mut |header| {
        batches.push(header.record_count);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(batches, [2, 1, 2, 2]);
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

#[test]
#[should_panic(expected = "was not admitted")]
fn an_entry_about_nothing_is_our_own_mistake() {
    let mut partition = with_messages(1);
    partition.append_entries(&[outcome(1, 1, RETRY)], NOW).ok();
}

#[test]
fn a_topic_that_is_not_pushed_takes_no_messages() {
    let disk = SimDisk::new(1);
    disk.write_file(std::path::Path::new("/data/made"), b"")
        .unwrap();
    let place = PartitionPlace {
        disk: Arc::new(disk),
        root: "/data".into(),
        number: NUMBER,
    };
    let (config, hints) = (PartitionConfig::default(), PartitionHints::default());
    let (mut partition, _) = Partition::open(&place, config, &hints, NOW).unwrap();
    assert!(partition.append_messages(&[new_message(0)], NOW).is_err());
    assert!(partition.append_entries(&[], NOW).is_err());
    assert!(partition.delivery().is_none() && partition.delivery_damage().is_none());
    assert_eq!(partition.push_reader().entries(Offset(0), 9).unwrap(), []);
}
