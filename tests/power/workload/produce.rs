//! Records that are produced: by a producer without an id, which sends nothing again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use redrive::client::ClientError;
use redrive::client::connection::PendingAnswer;
use redrive::protocol::produce::{Acks, ProduceAnswer, ProduceBatch, ProduceRequest};
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord, Producer};
use storage::offset::TimestampMs;

use super::{PARTITIONS, World, more};
use crate::oracle::{Crash, value};
use crate::random::Random;

pub(super) fn batch(values: &[String], producer: Option<Producer>) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        let record = NewRecord {
            timestamp: TimestampMs(1_700_000_000_000),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    let options = BuildOptions {
        producer,
        ..BuildOptions::default()
    };
    Bytes::from(builder.build(options).unwrap())
}

pub(super) fn request(at: usize, batch: Bytes, acks: Acks) -> ProduceRequest {
    let (topic, partition) = PARTITIONS[at];
    ProduceRequest {
        acks,
        batches: vec![ProduceBatch {
            topic: topic.to_owned(),
            partition,
            batch,
        }],
    }
}

/// Values `from` to `from + count` of a stream.
pub(super) fn values(stream: &str, from: u64, count: u64, random: &mut Random) -> Vec<String> {
    let filling = |random: &mut Random| {
        let bytes = if random.one_in(20) { 3_000 } else { 200 };
        usize::try_from(random.below(bytes)).unwrap()
    };
    (from..from + count)
        .map(|number| value(stream, number, filling(random)))
        .collect()
}

/// Values were acknowledged from an offset on. Says whether that counts.
pub(super) fn told(
    world: &World,
    at: usize,
    base: u64,
    values: &[String],
    survives: Crash,
) -> bool {
    world.tell(|oracle| {
        for (offset, value) in (base..).zip(values) {
            oracle.logs[at].told(offset, value, survives)?;
            more(&world.done.records);
        }
        Ok(())
    })
}

/// Produces without an id, several batches on their way; nothing is sent again.
pub(super) async fn plain(world: World, at: usize, mut random: Random) {
    let stream = format!("p{at}-{}", world.burst);
    let Ok(connection) = world.client.sibling().connection().await else {
        return;
    };
    let durability = world.oracle.lock().logs[at].durability();
    let mut waiting = VecDeque::new();
    let mut number = 0;
    while world.goes_on() && number < 2_000 {
        let count = 1 + random.below(5);
        let sent = values(&stream, number, count, &mut random);
        number += count;
        world.oracle.lock().logs[at].sent(&stream, number - 1, false);
        let (acks, survives) = if random.one_in(8) {
            (Acks::Synced, Crash::Power)
        } else {
            (Acks::TopicDefault, durability)
        };
        let request = request(at, batch(&sent, None), acks);
        let Ok(pending) = connection.submit(&request, Duration::ZERO).await else {
            break;
        };
        waiting.push_back((sent, survives, pending));
        if waiting.len() >= 6 && !next_answer(&world, at, &mut waiting).await {
            break;
        }
    }
    while !waiting.is_empty() {
        next_answer(&world, at, &mut waiting).await;
    }
}

/// Produces one synced record of a stream of its own.
///
/// # Errors
/// The broker's refusal, or the client's error.
pub(crate) async fn one(
    world: &World,
    at: usize,
    stream: &str,
    random: &mut Random,
) -> Result<(), ClientError> {
    let sent = values(stream, 0, 1, random);
    world.oracle.lock().logs[at].sent(stream, 0, false);
    let request = request(at, batch(&sent, None), Acks::Synced);
    let answer = world.client.connection().await?.call(&request).await?;
    match answer.batches.into_iter().next() {
        Some(Ok(appended)) => {
            told(world, at, appended.base_offset.0, &sent, Crash::Power);
            Ok(())
        }
        Some(Err(refusal)) => Err(ClientError::Refused {
            doing: "producing",
            refusal,
        }),
        None => panic!("an answer has one result for each batch"),
    }
}

type Waiting = VecDeque<(Vec<String>, Crash, PendingAnswer<ProduceAnswer>)>;

/// Takes the oldest answer. Says whether the broker took the batch.
async fn next_answer(world: &World, at: usize, waiting: &mut Waiting) -> bool {
    let Some((sent, survives, pending)) = waiting.pop_front() else {
        return false;
    };
    match pending.answer().await.map(|answer| answer.batches) {
        Ok(batches) => match batches.first() {
            Some(Ok(appended)) => told(world, at, appended.base_offset.0, &sent, survives),
            _ => false,
        },
        Err(_) => false,
    }
}
