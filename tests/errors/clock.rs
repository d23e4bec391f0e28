//! Clocks that jump while the broker runs: nothing is deleted by an age that nobody can tell, and nothing is delivered twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redrive::broker::{PeekFrom, ProducePending};
use redrive::clock::ManualClock;
use redrive::delivery::api::{Publication, Target};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::produce::Acks;
use redrive::protocol::settings::{Durability, Limit, SettingsChange};
use storage::delivery::Envelope;
use storage::offset::TimestampMs;

use crate::script::batch;
use crate::sink::Sink;
use crate::world::{NOW, Running, new_disk};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const YEAR: i64 = 365 * 24 * HOUR;
/// The wall clock's times, of which the last are the ends of time for 32 bits, signed and unsigned.
const TIMES: [(&str, i64); 9] = [
    ("a second later", NOW.0 + SECOND),
    ("a second earlier", NOW.0 - SECOND),
    ("an hour later", NOW.0 + HOUR + SECOND),
    ("an hour earlier", NOW.0 - HOUR),
    ("ten years later", NOW.0 + 10 * YEAR),
    ("ten years earlier", NOW.0 - 10 * YEAR),
    ("1970", 0),
    ("2038", 2_147_483_648_000),
    ("2106", 4_294_967_296_000),
];

async fn produce(running: &Running) {
    let mut batch = batch(&[7; 900]);
    let appended = running
        .broker
        .append("c", 0, &mut batch, Acks::TopicDefault, true)
        .await;
    let batches = vec![appended];
    let answer = ProducePending { batches }.answer().await;
    answer.batches.into_iter().next().unwrap().unwrap();
}

/// Returns the first offset, how many records follow, and whether their append times never fall.
fn records(running: &Running) -> (u64, usize, bool) {
    let peeked = running
        .broker
        .peek("c", 0, PeekFrom::Earliest, 500)
        .unwrap();
    let first = peeked.first().map_or(0, |record| record.offset.0);
    let rises = peeked.is_sorted_by_key(|record| record.append_time);
    (first, peeked.len(), rises)
}

async fn jump(name: &str, to: i64) {
    let clock = Arc::new(ManualClock::new(NOW));
    let sink = Arc::new(Sink::default());
    let disk = Arc::new(new_disk(3));
    let mut running = Running::open(disk, &clock, &sink).unwrap();
    let request = CreateTopicRequest {
        name: "c".to_owned(),
        partition_count: 1,
        durability: Durability::Synced,
        change: SettingsChange {
            retention_ms: Some(Limit::AtMost(HOUR.unsigned_abs())),
            ..SettingsChange::default()
        },
    };
    running.broker.create_topic(&request).unwrap();
    for _ in 0..12 {
        produce(&running).await;
    }
    let publication = Publication {
        envelope: Envelope {
            url: "http://h/delayed".to_owned(),
            method: "POST".to_owned(),
            not_before: Some(TimestampMs(NOW.0 + HOUR / 2)),
            ..Envelope::default()
        },
        body: Bytes::from_static(b"b"),
        target: Target::Url,
        created_at: NOW,
    };
    let published = running.broker.publish(vec![publication]).await.pop();
    let id = published.unwrap().unwrap().messages[0].id.clone();
    clock.jump_to(TimestampMs(to));
    // Before the broker has looked at the clocks by itself, and after it has.
    running.retain("c").await.unwrap();
    assert_eq!(records(&running), (0, 12, true), "{name}");
    running.round().await;
    running.retain("c").await.unwrap();
    produce(&running).await;
    assert_eq!(records(&running), (0, 13, true), "{name}");
    // The clocks agree again, and then time passes.
    clock.jump_to(NOW);
    running.round().await;
    for _ in 0..4 {
        produce(&running).await;
    }
    assert_eq!(records(&running), (0, 17, true), "{name}");
    clock.advance(Duration::from_hours(2));
    running.drain(&clock, &[id]).await.unwrap();
    assert_eq!(sink.attempts("http://h/delayed"), 1, "{name}");
    let is_ahead = to > NOW.0 + HOUR;
    running.retain("c").await.unwrap();
    let (first, _, rises) = records(&running);
    // A record that was appended while the clock was ahead stays as long as that time says.
    assert!(first > 0 && rises, "{name}: {first}, ahead {is_ahead}");
    running.close().await;
}

#[tokio::test]
async fn a_clock_that_jumps_deletes_nothing_and_delivers_nothing_twice() {
    for (name, to) in TIMES {
        jump(name, to).await;
    }
}
