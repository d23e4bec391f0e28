//! Consumers: they read what is served, commit, and reject what they do not like.

use std::sync::Arc;

use bytes::Bytes;
use redrive::client::consumer::decode::{Reader, records_from, split};
use redrive::client::{ClientError, Connection};
use redrive::protocol::cursor::Text;
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::group_offsets::{
    CommitOffsetsRequest, CommittedOffset, FetchOffsetsRequest,
};
use redrive::protocol::reject::RejectRequest;
use storage::batch::Record;
use storage::cause::{CAUSE_HEADER, Cause};
use storage::error::Corruption;
use storage::offset::Offset;

use crate::chance::Chance;
use crate::life::Life;
use crate::log_model::Place;
use crate::world::World;

/// A record as the model wants it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) offset: u64,
    pub(crate) value: u64,
    pub(crate) cause: Option<Cause>,
}

fn read_of(offset: Offset, record: &Record) -> Result<Read, String> {
    let text = record.value.as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let number = text
        .split(':')
        .next()
        .and_then(|number| number.parse().ok());
    let value = number.ok_or_else(|| format!("offset {offset:?} holds {text:?}"))?;
    let cause = record.header(CAUSE_HEADER).map(Cause::decode).transpose();
    Ok(Read {
        offset: offset.0,
        value,
        cause: cause.map_err(|error| format!("offset {offset:?}: {error}"))?,
    })
}

/// Decodes what a fetch has brought, for all groups.
pub(crate) fn records_of(bytes: Bytes, from: Offset) -> Result<Vec<(Offset, Record)>, Corruption> {
    let reader = Reader {
        group: None,
        all_groups: true,
    };
    let batches = split(bytes, from)?;
    let records = batches
        .iter()
        .map(|batch| records_from(batch, from, &reader));
    Ok(records.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Reads from an offset on. `Ok(None)` when nothing was learnt; also returns the high watermark.
pub(crate) async fn fetch(
    world: &World,
    connection: &Connection,
    place: Place,
    from: u64,
    wait_ms: u32,
) -> Result<Option<(Vec<Read>, u64)>, ClientError> {
    let partition = FetchPartition {
        topic: world.plan.topics[place.topic].name.clone(),
        partition: place.partition,
        offset: Offset(from),
        bytes_max: 3_000,
    };
    let request = FetchRequest {
        partitions: vec![partition],
        bytes_min: 1,
        bytes_max: 3_000,
        wait_ms_max: wait_ms,
    };
    let wait = std::time::Duration::from_millis(u64::from(wait_ms));
    let answer = connection.submit(&request, wait).await?.answer().await?;
    let fetched = answer.partitions.into_iter().next().unwrap();
    if let Some(refusal) = fetched.refusal {
        let is_bad = matches!(
            refusal.code,
            ErrorCode::DamagedRecords | ErrorCode::OffsetOutOfRange
        );
        world.note(&format!("fetch {place:?} {from}: {}", refusal.message));
        if is_bad {
            world.check(Err(format!("fetch of {place:?} from {from}: {refusal:?}")));
        }
        return Ok(None);
    }
    let mut expected = from;
    let mut reads = Vec::new();
    let records = records_of(fetched.batches, Offset(from));
    match records {
        Err(error) => world.check(Err(format!("fetch of {place:?} from {from}: {error}"))),
        Ok(records) => {
            for (offset, record) in records {
                if offset.0 != expected {
                    world.check(Err(format!(
                        "{place:?} serves offset {} where {expected} comes next",
                        offset.0
                    )));
                }
                expected = offset.0 + 1;
                match read_of(offset, &record) {
                    Ok(read) => reads.push(read),
                    Err(error) => world.check(Err(format!("{place:?}: {error}"))),
                }
            }
        }
    }
    if expected > fetched.high_watermark.0 {
        world.check(Err(format!(
            "{place:?} serves up to {expected}, above its high watermark {:?}",
            fetched.high_watermark
        )));
    }
    for read in &reads {
        let held = world
            .log
            .lock()
            .served(place, read.offset, read.value, read.cause.as_ref());
        world.check(held);
    }
    if !reads.is_empty() {
        world.note(&format!("fetch {place:?} {from}..{expected}"));
    }
    Ok(Some((reads, fetched.high_watermark.0)))
}

/// Consumes for a life.
pub(crate) async fn consume(life: Arc<Life>, at: u64) {
    let mut chance = life.world.chance("consumer", at);
    let group = format!("g{at}");
    for _ in 0..chance.between(1, 6) {
        if let Ok(connection) = life.net.connect().await {
            // What breaks the connection begins anew.
            consume_on(&life, &connection, &group, &mut chance)
                .await
                .ok();
        }
        tokio::time::sleep(chance.ms(1, 1_000)).await;
    }
}

async fn consume_on(
    life: &Life,
    connection: &Connection,
    group: &str,
    chance: &mut Chance,
) -> Result<(), ClientError> {
    let world = &life.world;
    let place = *chance.pick(&world.plan.places());
    let mut position = committed(world, connection, group, place).await?;
    for _ in 0..chance.between(1, 6) {
        let wait = u32::try_from(chance.below(1_500)).unwrap();
        let Some((reads, _)) = fetch(world, connection, place, position, wait).await? else {
            return Ok(());
        };
        for read in &reads {
            if chance.one_in(4) {
                reject(world, connection, (group, place, read.offset)).await?;
            }
            position = read.offset + 1;
        }
        if !reads.is_empty() && chance.one_in(2) {
            commit(world, connection, group, place, position).await?;
        }
    }
    Ok(())
}

/// Asks how far a group is, and compares it with what it has committed.
pub(crate) async fn committed(
    world: &World,
    connection: &Connection,
    group: &str,
    place: Place,
) -> Result<u64, ClientError> {
    let request = FetchOffsetsRequest {
        group: group.to_owned(),
        topics: None,
    };
    let topic = &world.plan.topics[place.topic].name;
    let found = match connection.call(&request).await {
        Ok(answer) => {
            let mut offsets = answer.offsets.into_iter();
            let found = offsets.find(|one| one.topic == *topic && one.partition == place.partition);
            found.map(|one| one.offset.0)
        }
        Err(ClientError::Refused { refusal, .. }) if refusal.code == ErrorCode::UnknownGroup => {
            None
        }
        Err(error) => return Err(error),
    };
    let held = world.log.lock().check_commit(group, place, found);
    world.check(held);
    Ok(found.unwrap_or_default())
}

async fn commit(
    world: &World,
    connection: &Connection,
    group: &str,
    place: Place,
    offset: u64,
) -> Result<(), ClientError> {
    world.log.lock().commit_tried(group, place, offset);
    let request = CommitOffsetsRequest {
        group: group.to_owned(),
        offsets: vec![CommittedOffset {
            topic: world.plan.topics[place.topic].name.clone(),
            partition: place.partition,
            offset: Offset(offset),
            metadata: String::new(),
        }],
    };
    connection.call(&request).await?;
    world.note(&format!("{group} commits {place:?} {offset}"));
    world.log.lock().committed(group, place, offset);
    Ok(())
}

/// Rejects a record, sometimes a second time.
async fn reject(
    world: &World,
    connection: &Connection,
    (group, place, offset): (&str, Place, u64),
) -> Result<(), ClientError> {
    let request = RejectRequest {
        group: group.to_owned(),
        topic: world.plan.topics[place.topic].name.clone(),
        partition: place.partition,
        offset: Offset(offset),
        reason: Text::from("no".to_owned()),
        details: None,
    };
    match connection.call(&request).await {
        Ok(answer) => {
            world.note(&format!(
                "{group} rejects {place:?} {offset}: {} {}",
                answer.letter_id, answer.is_new
            ));
            let held =
                world
                    .log
                    .lock()
                    .rejected((group, place, offset), &answer.letter_id, answer.is_new);
            world.check(held);
            Ok(())
        }
        Err(ClientError::Refused { refusal, .. }) => {
            world.note(&format!(
                "{group} rejects {place:?} {offset}: {}",
                refusal.message
            ));
            if !refusal.code.is_retryable() && refusal.code != ErrorCode::StorageFailed {
                world.check(Err(format!("a reject is refused: {refusal:?}")));
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}
