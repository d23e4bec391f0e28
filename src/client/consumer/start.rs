//! Where a consumer begins: where its group has committed, or where it was told to.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use storage::offset::Offset;

use super::position::{Position, distinct};
use super::{ConsumerOptions, Start};
use crate::client::api::Client;
use crate::client::error::ClientError;
use crate::protocol::list_offsets::Place;

/// Returns where the consumer begins in each of its partitions, and where it ends; and what of that its group has committed.
pub(super) async fn positions(
    client: &Client,
    topic: &Arc<str>,
    options: &ConsumerOptions,
) -> Result<(Vec<Position>, BTreeMap<u32, Offset>), ClientError> {
    let count = client.partition_count(topic).await?.get();
    let partitions = options
        .partitions
        .clone()
        .map_or_else(|| (0..count).collect(), distinct);
    if let Some(partition) = partitions.iter().find(|partition| **partition >= count) {
        return Err(ClientError::NoPartition {
            topic: topic.clone(),
            partition: *partition,
            partition_count: count,
        });
    }
    let starts = starts(client, topic, &partitions, options.start).await?;
    let mut committed = committed(client, topic, options).await?;
    if options.starts_where_lost && !committed.is_empty() {
        let kept = kept(client, topic, &partitions).await?;
        committed.retain(|partition, offset| {
            let kept = kept.get(partition);
            kept.is_none_or(|kept| kept.contains(offset))
        });
    }
    let ends = if options.stops_at_end {
        let found = client
            .find_offsets(topic, &partitions, Place::Latest)
            .await?;
        found.into_iter().map(|found| Some(found.offset)).collect()
    } else {
        vec![None; partitions.len()]
    };
    let places = partitions.into_iter().zip(starts).zip(ends);
    let positions = places.map(|((partition, start), end)| Position {
        partition,
        next: committed.get(&partition).copied().unwrap_or(start),
        end,
    });
    Ok((positions.collect(), committed))
}

async fn starts(
    client: &Client,
    topic: &str,
    partitions: &[u32],
    start: Start,
) -> Result<Vec<Offset>, ClientError> {
    let place = match start {
        Start::At(offset) => return Ok(vec![offset; partitions.len()]),
        Start::Earliest => Place::Earliest,
        Start::Latest => Place::Latest,
        Start::AppendedAt(time) => Place::AppendedAt(time),
    };
    let found = client.find_offsets(topic, partitions, place).await?;
    Ok(found.into_iter().map(|found| found.offset).collect())
}

/// Returns which offsets can be read, by partition.
async fn kept(
    client: &Client,
    topic: &str,
    partitions: &[u32],
) -> Result<BTreeMap<u32, RangeInclusive<Offset>>, ClientError> {
    let first = client
        .find_offsets(topic, partitions, Place::Earliest)
        .await?;
    let end = client
        .find_offsets(topic, partitions, Place::Latest)
        .await?;
    let ranges = first.iter().zip(&end);
    let ranges = ranges.map(|(first, end)| first.offset..=end.offset);
    Ok(partitions.iter().copied().zip(ranges).collect())
}

async fn committed(
    client: &Client,
    topic: &str,
    options: &ConsumerOptions,
) -> Result<BTreeMap<u32, Offset>, ClientError> {
    let Some(group) = options
        .group
        .as_deref()
        .filter(|_| !options.ignores_committed)
    else {
        return Ok(BTreeMap::new());
    };
    let topics = Some(vec![topic.to_owned()]);
    let committed = client.committed_offsets(group, topics).await?;
    Ok(committed
        .into_iter()
        .map(|committed| (committed.partition, committed.offset))
        .collect())
}
