//! Whether a fetch that waits is worth reading again, told from how much its logs have grown: what it has read once is not read
//! at every append.

use storage::batch::end_of;
use storage::log::{LogReader, Mark};

use crate::broker::{Broker, partition_of};
use crate::protocol::fetch::{FetchAnswer, FetchPartition, FetchRequest};

/// What one partition gave when it was read, which was not enough.
struct Seen {
    log: LogReader,
    /// Where what follows begins, or a little before it.
    mark: Mark,
    bytes: u64,
}

/// What a fetch found. `None` when all that can be said is to look again.
pub(super) struct Found(Option<Vec<Seen>>);

impl Found {
    /// Notes how far an answer has got.
    pub(super) fn new(broker: &Broker, request: &FetchRequest, answer: &FetchAnswer) -> Self {
        let parts = request.partitions.iter().zip(&answer.partitions);
        let seen = parts.map(|(wanted, found)| {
            let log = log_of(broker, wanted)?;
            let mark = log.mark(end_of(&found.batches).unwrap_or(wanted.offset))?;
            let bytes = u64::try_from(found.batches.len()).unwrap_or(u64::MAX);
            Some(Seen { log, mark, bytes })
        });
        Self(seen.collect())
    }

    /// Returns whether a read may give as much as was asked for, or as much as the limits let it, or something else than batches.
    /// It counts what is written and not yet to be seen, so it may say so too early, and never too late.
    pub(super) fn may_be_enough(
        &self,
        broker: &Broker,
        request: &FetchRequest,
        bytes_max: u32,
    ) -> bool {
        let Some(seen) = &self.0 else {
            return true;
        };
        let mut all = 0_u64;
        for (wanted, seen) in request.partitions.iter().zip(seen) {
            let is_there = log_of(broker, wanted).is_some_and(|log| log.is_same(&seen.log))
                && seen.log.log_start() <= wanted.offset;
            let Some(grown) = seen.log.bytes_behind(seen.mark).filter(|_| is_there) else {
                return true;
            };
            let bytes = seen.bytes.saturating_add(grown);
            if grown > 0 && bytes > u64::from(wanted.bytes_max) {
                return true;
            }
            all = all.saturating_add(bytes);
        }
        all >= u64::from(request.bytes_min) || all > u64::from(bytes_max)
    }
}

fn log_of(broker: &Broker, wanted: &FetchPartition) -> Option<LogReader> {
    let topic = broker.topic(&wanted.topic).ok()?;
    let partition = partition_of(&topic, wanted.partition).ok()?;
    Some(partition.reader().clone())
}
