#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, mpsc};

use storage::disk::fault::{OpClass, Rule};
use storage::log::ReadBound;
use storage::log_id::LogKind;
use storage::offset::Offset;

use crate::broker::Broker;
use crate::broker::tests::{FAIL, append, bounded, open, partition, rejection, waits};
use crate::broker::upkeep::sync_all;
use crate::engine::PartitionHandle;
use crate::protocol::error_code::Refusal;
use crate::protocol::reject::RejectAnswer;

const RECORDS: u64 = 64;

type Call = Pin<Box<dyn Future<Output = Result<RejectAnswer, Refusal>>>>;

fn call(broker: &Arc<Broker>, offset: u64) -> Call {
    let broker = Arc::clone(broker);
    Box::pin(async move { broker.reject(rejection(offset)).await })
}

fn fill(partition: &PartitionHandle) {
    for _ in 0..RECORDS {
        append(partition).unwrap();
    }
    sync_all(partition, LogKind::Main).unwrap();
}

/// Begins the calls so that the first has a turn alone and all others wait for the next.
async fn in_two_turns(broker: &Arc<Broker>, partition: &Arc<PartitionHandle>, calls: &mut [Call]) {
    let (let_go, held) = mpsc::channel::<()>();
    let (is_held, locked) = mpsc::channel();
    let holder = {
        let partition = Arc::clone(partition);
        std::thread::spawn(move || {
            let _owner = partition.owner().lock();
            is_held.send(()).unwrap();
            held.recv().unwrap();
        })
    };
    locked.recv().unwrap();
    let (first, others) = calls.split_first_mut().unwrap();
    waits(first).await;
    while broker.rejects.waiting_count() > 0 {
        std::thread::yield_now();
    }
    for call in others.iter_mut() {
        waits(call).await;
    }
    assert_eq!(broker.rejects.waiting_count(), others.len());
    let_go.send(()).unwrap();
    holder.join().unwrap();
}

fn letter_batches(partition: &PartitionHandle) -> Vec<u32> {
    let reader = partition.dead_letters().unwrap().reader().clone();
    let mut counts = Vec::new();
    let scanned = reader.scan_headers(Offset::ZERO, ReadBound::LogEnd, &mut |header| {
        counts.push(header.record_count);
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    counts
}

#[tokio::test]
async fn rejections_that_wait_together_share_one_sync() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    fill(&partition);
    // The log and its files are there.
    bounded(call(&broker, 0)).await.unwrap();
    let syncs = disk.count(OpClass::Sync);
    let mut calls: Vec<_> = (1..RECORDS).map(|offset| call(&broker, offset)).collect();
    // The same rejection again is no letter of its own.
    calls.push(call(&broker, RECORDS - 1));
    in_two_turns(&broker, &partition, &mut calls).await;
    let mut ids = HashSet::new();
    let mut new_count = 0;
    for call in calls {
        let answer = bounded(call).await.unwrap();
        new_count += u64::from(answer.is_new);
        ids.insert(answer.letter_id);
    }
    assert_eq!(disk.count(OpClass::Sync), syncs + 2, "one for each turn");
    // What is appended together is cut into small batches.
    assert_eq!(letter_batches(&partition), [1, 1, 42, 20]);
    assert_eq!((ids.len(), new_count), (63, 63));
}

#[tokio::test]
async fn a_sync_that_fails_is_told_to_all_whose_letters_it_was_for_and_to_no_other() {
    let (broker, disk) = open();
    let partition = partition(&broker);
    fill(&partition);
    bounded(call(&broker, 0)).await.unwrap();
    disk.add(Rule::new(OpClass::Sync, FAIL).nth(2));
    let mut calls: Vec<_> = (1..RECORDS).map(|offset| call(&broker, offset)).collect();
    in_two_turns(&broker, &partition, &mut calls).await;
    for (number, call) in calls.into_iter().enumerate() {
        let answer = bounded(call).await;
        assert_eq!(answer.is_ok(), number == 0, "{number}: {answer:?}");
    }
}

#[tokio::test]
async fn a_rejection_whose_caller_goes_away_is_carried_out_and_one_that_fails_stops_no_other() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    fill(&partition);
    let mut calls: Vec<_> = [0, RECORDS, 1, 2].map(|at| call(&broker, at)).into();
    in_two_turns(&broker, &partition, &mut calls).await;
    drop(calls.remove(3));
    let mut answers = Vec::new();
    for call in calls {
        answers.push(bounded(call).await.is_ok());
    }
    assert_eq!(answers, [true, false, true]);
    let mut again = call(&broker, 2);
    let answer = bounded(&mut again).await.unwrap();
    assert!(!answer.is_new, "its letter was made all the same");
}
