//! Records that are read.

use redrive::client::Client;
use redrive::client::consumer::decode::{Reader, records_from, split};
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use storage::offset::Offset;

use super::{PARTITIONS, World};
use crate::oracle::Seen;

/// The records and the end that one fetch gave of a partition.
pub(crate) struct Given {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) records: Vec<Seen>,
    pub(crate) bytes: u64,
    pub(crate) next: u64,
}

/// Reads partitions once.
///
/// # Errors
/// What the broker said, or what is wrong with its answer.
pub(crate) async fn fetch(
    client: &Client,
    places: &[(usize, u64)],
    wait_ms_max: u32,
) -> Result<Vec<Given>, String> {
    let partitions = places.iter().map(|(at, offset)| FetchPartition {
        topic: PARTITIONS[*at].0.to_owned(),
        partition: PARTITIONS[*at].1,
        offset: Offset(*offset),
        bytes_max: 1 << 20,
    });
    let request = FetchRequest {
        partitions: partitions.collect(),
        bytes_min: u32::from(wait_ms_max > 0),
        bytes_max: 4 << 20,
        wait_ms_max,
    };
    let answer = client
        .fetch(&request)
        .await
        .map_err(|error| error.to_string())?;
    let all = Reader {
        group: None,
        all_groups: true,
    };
    let mut given = Vec::new();
    for ((at, offset), found) in places.iter().zip(answer.partitions) {
        if let Some(refusal) = found.refusal {
            return Err(format!("{:?} at {offset}: {refusal}", PARTITIONS[*at]));
        }
        let bytes = found.batches.len() as u64;
        let batches = split(found.batches, Offset(*offset)).map_err(|error| error.to_string())?;
        let mut next = *offset;
        let mut records = Vec::new();
        for batch in batches {
            let of_batch = records_from(&batch, Offset(*offset), &all);
            let is_copy = batch.header().attributes.is_broker_built;
            for (offset, record) in of_batch.map_err(|error| error.to_string())? {
                let value = record.value.unwrap_or_default();
                records.push(Seen {
                    offset: offset.0,
                    value: String::from_utf8_lossy(&value).into_owned(),
                    is_copy,
                });
            }
            next = batch.header().next_offset().0;
        }
        given.push(Given {
            start: found.log_start_offset.0,
            end: found.high_watermark.0,
            records,
            bytes,
            next,
        });
    }
    Ok(given)
}

/// Follows the ends of all partitions: what is served must stay.
pub(super) async fn read(world: World) {
    let client = world.client.sibling();
    let mut places: Vec<(usize, u64)> = {
        let oracle = world.oracle.lock();
        (0..PARTITIONS.len())
            .map(|at| (at, oracle.logs[at].known().1))
            .collect()
    };
    while world.goes_on() {
        let Ok(given) = fetch(&client, &places, 10).await else {
            return;
        };
        let is_told = world.tell(|oracle| {
            for ((at, next), given) in places.iter_mut().zip(given) {
                let log = &mut oracle.logs[*at];
                let survives = log.durability();
                log.shown_end(given.end);
                for record in &given.records {
                    log.told(record.offset, &record.value, survives)?;
                }
                *next = given.next;
            }
            Ok(())
        });
        if !is_told {
            return;
        }
    }
}
