//! Reading everything that stands in the topic of pushed messages: what a schedule has made, and that nothing was made twice
//! of one cause.

use std::collections::BTreeMap;

use redrive::client::{ClientError, Connection};
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::list_offsets::{ListOffsetsRequest, Place, PlaceInPartition};
use storage::batch::Record;
use storage::cause::{CAUSE_HEADER, Cause, CauseKind};
use storage::delivery::{ENVELOPE_HEADER, Envelope};
use storage::offset::Offset;

use crate::consumer::records_of;
use crate::destination::token_of;
use crate::life::Life;
use crate::log_model::Broken;
use crate::push_model::schedules::Fired;

const TOPIC: &str = "_push";
const BYTES_MAX: u32 = 1 << 20;

/// Reads all partitions, and lets the model look at what schedules have made.
pub(crate) async fn all(life: &Life) {
    let held = match read(life).await {
        Ok(Ok(fired)) => life.world.push.lock().check_fired(&fired),
        Ok(Err(broken)) => Err(broken),
        Err(error) => Err(format!("the pushed messages cannot be read: {error:?}")),
    };
    life.world.check(held);
}

async fn read(life: &Life) -> Result<Result<Vec<Fired>, Broken>, ClientError> {
    let connection = life.net.connect().await?;
    let mut fired = Vec::new();
    let mut causes = BTreeMap::new();
    for partition in 0..life.world.plan.push_partitions {
        let mut from = start(&connection, partition).await?;
        loop {
            let records = match fetch(&connection, partition, from).await? {
                Ok(records) => records,
                Err(broken) => return Ok(Err(broken)),
            };
            let Some((last, _)) = records.last() else {
                break;
            };
            from = last.next();
            for (offset, record) in &records {
                match one(partition, *offset, record, &mut causes) {
                    Ok(one) => fired.extend(one),
                    Err(broken) => return Ok(Err(broken)),
                }
            }
        }
    }
    life.world
        .note(&format!("{} causes, {} fired", causes.len(), fired.len()));
    Ok(Ok(fired))
}

async fn start(connection: &Connection, partition: u32) -> Result<Offset, ClientError> {
    let earliest = PlaceInPartition {
        topic: TOPIC.to_owned(),
        partition,
        place: Place::Earliest,
    };
    let request = ListOffsetsRequest {
        partitions: vec![earliest],
    };
    let answer = connection.call(&request).await?;
    let found = answer.partitions.into_iter().next().unwrap();
    Ok(found.map_or(Offset(0), |found| found.offset))
}

type Records = Vec<(Offset, Record)>;

async fn fetch(
    connection: &Connection,
    partition: u32,
    from: Offset,
) -> Result<Result<Records, Broken>, ClientError> {
    let wanted = FetchPartition {
        topic: TOPIC.to_owned(),
        partition,
        offset: from,
        bytes_max: BYTES_MAX,
    };
    let request = FetchRequest {
        partitions: vec![wanted],
        bytes_min: 0,
        bytes_max: BYTES_MAX,
        wait_ms_max: 0,
    };
    let answer = connection.call(&request).await?;
    let fetched = answer.partitions.into_iter().next().unwrap();
    if let Some(refusal) = fetched.refusal {
        return Ok(Err(format!(
            "{TOPIC}/{partition} from {from:?}: {refusal:?}"
        )));
    }
    let records = records_of(fetched.batches, from);
    Ok(records.map_err(|error| format!("{TOPIC}/{partition} from {from:?}: {error}")))
}

/// Looks at one record. Returns what a schedule has made.
fn one(
    partition: u32,
    offset: Offset,
    record: &Record,
    causes: &mut BTreeMap<Vec<u8>, (u32, Offset)>,
) -> Result<Option<Fired>, Broken> {
    let at = (partition, offset);
    let Some(encoded) = record.header(CAUSE_HEADER) else {
        return Ok(None);
    };
    let wrong = |error| format!("{at:?}: {error}");
    let cause = Cause::decode(encoded).map_err(wrong)?;
    if cause.kind != CauseKind::Schedule {
        let before = *causes.entry(encoded.to_vec()).or_insert(at);
        return (before == at)
            .then_some(None)
            .ok_or_else(|| format!("{before:?} and {at:?} came of {cause:?}"));
    }
    let envelope = record.header(ENVELOPE_HEADER).unwrap_or_default();
    let envelope = Envelope::decode(envelope).map_err(wrong)?;
    let body = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
    let due = cause
        .detail
        .due
        .ok_or_else(|| format!("{at:?}: {cause:?}"))?;
    Ok(Some(Fired {
        partition,
        offset: offset.0,
        token: token_of(&body).ok_or_else(|| format!("{at:?} has the body {body:?}"))?,
        url: envelope.url,
        firing: (cause.offset.0, due.0),
        made_ms: record.timestamp.0,
    }))
}
