//! Fetch: whole batches from where a consumer asks, and a wait that ends when there is enough.

mod ahead;
mod enough;
mod room;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use storage::batch::end_of;
use storage::error::LogError;
use storage::log_id::LogKind;
use tokio::time::Instant;

use ahead::{Behind, ReadAll};
use enough::Found;
use room::Share;

use super::resolve::ended;
use super::{Broker, partition_of, refusal};
use crate::causes::Causes;
use crate::limits::{
    FETCH_BYTES_MAX, FETCH_ROOM_WAIT_MAX, FETCH_WAIT_MAX, PARTITIONS_PER_REQUEST_MAX,
};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::fetch::{FetchAnswer, FetchPartition, FetchRequest, FetchedPartition};

pub use ahead::ReadAhead;
pub(super) use room::FetchRoom;

type Change = Pin<Box<dyn Future<Output = ()> + Send>>;

/// From this many bytes on an answer is that of a consumer who is behind: more will be asked for at once.
const READ_AHEAD_FROM_BYTES: usize = 256 << 10;

impl Broker {
    /// Reads batches. Waits until `bytes_min` bytes are there, a partition is refused, or the wait is over. What follows the
    /// answer is read ahead for the next fetch that is made with the same `ahead`.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] when too much is asked for, [`ErrorCode::Overloaded`] when there is no room in time for what was
    /// read, [`ErrorCode::ShuttingDown`] when it would be waited for. What one partition refuses stands in its share of the answer.
    pub async fn fetch(
        &self,
        request: &FetchRequest,
        ahead: &ReadAhead,
    ) -> Result<FetchAnswer, Refusal> {
        check(request)?;
        let mut read = ahead.take().await;
        let bytes_max = request
            .bytes_max
            .min(FETCH_BYTES_MAX)
            .min(self.answer_bytes_max);
        self.metrics.traffic.fetch_requests.inc();
        let wait = Duration::from_millis(u64::from(request.wait_ms_max)).min(FETCH_WAIT_MAX);
        let deadline = Instant::now().checked_add(wait);
        loop {
            // Subscribed before the read, so that nothing that comes in between is missed.
            let changes = self.changes(request);
            let (mut answer, is_cut, share) =
                self.read_within_room(request, bytes_max, &mut read).await?;
            let bytes = bytes_of(&answer);
            let is_refused = answer
                .partitions
                .iter()
                .any(|partition| partition.refusal.is_some());
            // What the limits have cut short is as much as there can be: waiting would not make it more.
            let is_enough = u64::try_from(bytes).unwrap_or(u64::MAX)
                >= u64::from(request.bytes_min)
                || (bytes > 0 && is_cut);
            let Some(deadline) =
                deadline.filter(|deadline| !is_refused && !is_enough && *deadline > Instant::now())
            else {
                self.metrics
                    .traffic
                    .fetch_bytes
                    .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
                self.read_ahead(request, &answer, bytes_max, ahead);
                hold(&mut answer, share);
                return Ok(answer);
            };
            let found = Found::new(self, request, &answer);
            // Nothing is kept in memory by a fetch that waits.
            drop((answer, share));
            read.clear();
            let may_be_enough = || found.may_be_enough(self, request, bytes_max);
            if !self.wait(request, changes, deadline, may_be_enough).await {
                // What came in the last moment is still served.
                let (mut answer, _, share) =
                    self.read_within_room(request, bytes_max, &mut read).await?;
                hold(&mut answer, share);
                return Ok(answer);
            }
        }
    }

    /// Reads all partitions, with room for what was read. Where there is none in time it is refused, and not answered with nothing:
    /// an answer without batches says that there are none.
    async fn read_within_room(
        &self,
        request: &FetchRequest,
        bytes_max: u32,
        read: &mut ReadAll,
    ) -> Result<(FetchAnswer, bool, Option<Share>), Refusal> {
        let mut time = pin!(tokio::time::sleep(FETCH_ROOM_WAIT_MAX));
        let mut share = self.fetch_room.take(bytes_max);
        loop {
            let left = share.as_ref().map_or(1, Share::bytes).min(bytes_max);
            let (answer, is_cut) = self.read_all(request, left, read);
            let bytes = bytes_of(&answer);
            let has_room = match &mut share {
                Some(share) => share.fits(bytes) || self.fetch_room.grow(share, bytes),
                None => bytes == 0,
            };
            if has_room {
                return Ok((answer, is_cut, share));
            }
            // Nothing is kept in memory by a fetch that waits.
            drop((answer, share.take()));
            read.clear();
            tokio::select! {
                waited = self.fetch_room.wait(bytes) => share = Some(waited),
                () = time.as_mut() => return Err(no_room()),
                () = self.shutdown.wait() => return Err(ended()),
            }
        }
    }

    /// Waits until a change may have made it enough, or the wait is over. Returns whether the broker goes on.
    async fn wait(
        &self,
        request: &FetchRequest,
        mut changes: Vec<Change>,
        deadline: Instant,
        may_be_enough: impl Fn() -> bool,
    ) -> bool {
        loop {
            tokio::select! {
                () = first_of(changes) => {}
                () = tokio::time::sleep_until(deadline) => return true,
                () = self.shutdown.wait() => return false,
            }
            // Subscribed before the look, for the same reason as before a read.
            changes = self.changes(request);
            if may_be_enough() {
                return true;
            }
        }
    }

    /// Begins to read what follows an answer that is a large one.
    fn read_ahead(
        &self,
        request: &FetchRequest,
        answer: &FetchAnswer,
        bytes_max: u32,
        ahead: &ReadAhead,
    ) {
        let wanted = request.partitions.iter().zip(&answer.partitions);
        let parts: Vec<_> = wanted
            .filter_map(|(wanted, found)| {
                let is_full = found.batches.len() >= READ_AHEAD_FROM_BYTES;
                let topic = is_full.then(|| self.topic(&wanted.topic).ok())??;
                let partition = partition_of(&topic, wanted.partition).ok()?;
                Some(Behind {
                    log: partition.reader().clone(),
                    from: end_of(&found.batches)?,
                    bytes_max: wanted.bytes_max,
                })
            })
            .collect();
        if parts.is_empty() {
            return;
        }
        if let Some(share) = self.fetch_room.take_spare(bytes_max) {
            ahead.begin(parts, bytes_max, share, &self.fetch_memory);
        }
    }

    /// Reads all partitions. Says also whether the limits left something out that could be read.
    fn read_all(
        &self,
        request: &FetchRequest,
        bytes_max: u32,
        ahead: &mut ReadAll,
    ) -> (FetchAnswer, bool) {
        let mut left = u64::from(bytes_max);
        let (mut is_cut, mut has_data) = (false, false);
        let mut partitions = Vec::with_capacity(request.partitions.len());
        for wanted in &request.partitions {
            // The first partition with data gives at least one batch, however small the maximum is.
            let read = (left > 0 || !has_data).then_some(left);
            let mut fetched = self.read_one(wanted, read, ahead);
            let mut bytes = u64::try_from(fetched.batches.len()).unwrap_or(u64::MAX);
            if has_data && bytes > left {
                fetched.batches = Bytes::new();
                bytes = 0;
            }
            has_data |= bytes > 0;
            is_cut |= fetched.refusal.is_none()
                && bytes < u64::from(request.bytes_min)
                && end_of(&fetched.batches).unwrap_or(wanted.offset) < fetched.high_watermark;
            left = left.saturating_sub(bytes);
            partitions.push(fetched);
        }
        (FetchAnswer { partitions }, is_cut)
    }

    fn read_one(
        &self,
        wanted: &FetchPartition,
        bytes_left: Option<u64>,
        ahead: &mut ReadAll,
    ) -> FetchedPartition {
        let found = self
            .topic(&wanted.topic)
            .and_then(|topic| partition_of(&topic, wanted.partition));
        let partition = match found {
            Ok(partition) => partition,
            Err(refusal) => {
                return FetchedPartition {
                    refusal: Some(refusal),
                    ..FetchedPartition::default()
                };
            }
        };
        let reader = partition.reader();
        let read = match bytes_left {
            Some(left) => {
                let bytes_max = left.min(u64::from(wanted.bytes_max));
                let found = ahead.find(reader, wanted.offset, bytes_max);
                found.map_or_else(
                    || reader.fetch(wanted.offset, bytes_max, &self.fetch_memory),
                    Ok,
                )
            }
            None => Ok(Bytes::new()),
        };
        let (batches, refusal) = match read {
            Ok(batches) => (batches, None),
            Err(error) => {
                if matches!(error, LogError::Io { .. }) {
                    tracing::error!(partition = partition.number().0, error = %Causes(&error), "a read failed");
                }
                (Bytes::new(), Some(refusal::of_log(&error)))
            }
        };
        FetchedPartition {
            refusal,
            log_start_offset: reader.log_start(),
            high_watermark: reader.high_watermark(),
            batches,
        }
    }

    fn changes(&self, request: &FetchRequest) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for wanted in &request.partitions {
            let found = self
                .topic(&wanted.topic)
                .and_then(|topic| partition_of(&topic, wanted.partition));
            let Ok(partition) = found else { continue };
            let mut receiver = partition.subscribe(LogKind::Main);
            receiver.borrow_and_update();
            changes.push(Box::pin(async move {
                // The partition's handle is held, so that the sender outlives the wait.
                let _held = partition;
                receiver.changed().await.ok();
            }));
        }
        changes
    }
}

fn no_room() -> Refusal {
    let message = format!(
        "other answers took the room in memory for {} s, fetch again later",
        FETCH_ROOM_WAIT_MAX.as_secs()
    );
    Refusal::new(ErrorCode::Overloaded, message)
}

fn bytes_of(answer: &FetchAnswer) -> usize {
    let partitions = answer.partitions.iter();
    partitions.map(|partition| partition.batches.len()).sum()
}

/// Ties the room that an answer needs to it.
fn hold(answer: &mut FetchAnswer, share: Option<Share>) {
    if let Some(share) = share {
        let all = answer.partitions.iter_mut();
        share.hold(all.map(|partition| &mut partition.batches));
    }
}

fn check(request: &FetchRequest) -> Result<(), Refusal> {
    let count = request.partitions.len();
    if count > usize::try_from(PARTITIONS_PER_REQUEST_MAX).unwrap_or(usize::MAX) {
        let message = format!(
            "{count} partitions are asked for, at most {PARTITIONS_PER_REQUEST_MAX} are answered"
        );
        return Err(Refusal::new(ErrorCode::LimitExceeded, message));
    }
    Ok(())
}

/// Ends when the first of the changes happens; never, when there is none.
async fn first_of(mut changes: Vec<Change>) {
    std::future::poll_fn(|context| {
        let is_done = changes
            .iter_mut()
            .any(|change| change.as_mut().poll(context).is_ready());
        if is_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
