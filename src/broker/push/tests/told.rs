//! What a callback tells of an answer, however long that was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use storage::dead_letter::limits::{ATTEMPT_BODY_BYTES_MAX, TOLD_BODY_BYTES_MAX};
use storage::delivery::{Callback, Envelope};

use super::{Machine, to};
use crate::delivery::api::LogFilter;
use crate::protocol::selection::{Order, Page, Selection};

/// An answer that is longer by a byte than what a callback tells of it.
fn long() -> Bytes {
    Bytes::from(vec![b'x'; TOLD_BODY_BYTES_MAX + 1])
}

fn callback(url: &str) -> Callback {
    Callback {
        url: url.to_owned(),
        ..Callback::default()
    }
}

/// Returns how many bytes of the answer a callback tells, and what it says of a cut.
fn told(callback: &Bytes) -> (usize, Value) {
    let told: Value = serde_json::from_slice(callback).unwrap();
    let body = STANDARD.decode(told["body"].as_str().unwrap()).unwrap();
    (body.len(), told["bodyIsCut"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_is_told_also_behind_a_power_cut_and_kept_in_short() {
    let mut machine = Machine::new();
    let envelope = Envelope {
        callback: Some(callback("http://c/each")),
        failure_callback: Some(callback("http://c/failed")),
        retries: 0,
        ..to("http://h/a")
    };
    machine.publish(envelope).await;
    let attempt = machine.attempt().await;
    assert_eq!(attempt.request.answer_bytes_max, TOLD_BODY_BYTES_MAX);
    attempt.say(500, &[], long().slice(1..));
    machine
        .until("it is dead", |broker| {
            broker.delivery_counts().dead_lettered == 1
        })
        .await;
    let mut machine = machine.restart().await;
    for url in ["http://c/each", "http://c/failed"] {
        let callback = machine.attempt_to(url).await;
        assert_eq!(callback.request.answer_bytes_max, ATTEMPT_BODY_BYTES_MAX);
        let found = told(&callback.request.body);
        assert_eq!(found, (TOLD_BODY_BYTES_MAX, Value::Null), "{url}");
        callback.answer(200, &[]);
    }
    let (letters, _) = machine
        .broker
        .dead_messages(&Selection::All, &Page::first(Order::OldestFirst, 9))
        .unwrap();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}")
    };
    let last = letter.letter.history.attempts().last().unwrap();
    assert_eq!(last.body.len(), ATTEMPT_BODY_BYTES_MAX);
    assert!(last.is_body_cut);
    let (events, _) = machine
        .broker
        .logs(&LogFilter::default(), None, 100)
        .unwrap();
    let answers = events.iter().filter_map(|event| event.response.as_ref());
    let lengths: Vec<_> = answers.map(|answer| answer.body.len()).collect();
    assert!(lengths.contains(&ATTEMPT_BODY_BYTES_MAX), "{lengths:?}");
    assert!(lengths.iter().all(|bytes| *bytes <= ATTEMPT_BODY_BYTES_MAX));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_is_marked_and_what_nobody_is_told_is_kept_in_short() {
    let mut machine = Machine::new();
    let envelope = Envelope {
        callback: Some(callback("http://c/each")),
        ..to("http://h/a")
    };
    machine.publish(envelope).await;
    machine.attempt().await.say(200, &[], long());
    let callback = machine.attempt_to("http://c/each").await;
    let found = told(&callback.request.body);
    assert_eq!(found, (TOLD_BODY_BYTES_MAX, Value::Bool(true)));
    callback.say(200, &[], long());
    machine
        .until("both are delivered", |broker| {
            broker.delivery_counts().delivered == 2
        })
        .await;
    let of_callback = machine.broker.push().desks.iter().flat_map(|desk| {
        let reader = desk.partition.push_reader();
        reader
            .entries(storage::offset::Offset(0), 64 << 20)
            .unwrap()
    });
    let mut lengths: Vec<_> = of_callback
        .filter_map(|(.., entry)| match entry {
            storage::delivery::Entry::Outcome(outcome) => Some(outcome.attempt.body.len()),
            _ => None,
        })
        .collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [ATTEMPT_BODY_BYTES_MAX, TOLD_BODY_BYTES_MAX]);
}
