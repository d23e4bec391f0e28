//! Fetch: whole batches from where a consumer asks, and a wait that ends when there is enough.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use storage::batch::BatchHeader;
use storage::error::LogError;
use storage::log_id::LogKind;
use storage::offset::Offset;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Broker, partition_of, refusal};
use crate::causes::Causes;
use crate::limits::{FETCH_BYTES_MAX, FETCH_WAIT_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::fetch::{FetchAnswer, FetchPartition, FetchRequest, FetchedPartition};

type Change = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Broker {
    /// Reads batches. Waits until `bytes_min` bytes are there, a partition is refused, or the wait is over.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] when too much is asked for. What one partition refuses stands in its share of the answer.
    pub async fn fetch(&self, request: &FetchRequest) -> Result<FetchAnswer, Refusal> {
        check(request)?;
        self.metrics.traffic.fetch_requests.inc();
        let wait = Duration::from_millis(u64::from(request.wait_ms_max)).min(FETCH_WAIT_MAX);
        let deadline = Instant::now().checked_add(wait);
        loop {
            // Subscribed before the read, so that nothing that comes in between is missed.
            let changes = self.changes(request);
            let room = self.room(request.bytes_max.min(FETCH_BYTES_MAX));
            let (answer, is_cut) = self.read_all(request, room.is_some());
            let bytes: usize = answer
                .partitions
                .iter()
                .map(|partition| partition.batches.len())
                .sum();
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
                return Ok(held(answer, room, bytes));
            };
            // Nothing is kept in memory by a fetch that waits.
            drop((answer, room));
            tokio::select! {
                () = first_of(changes) => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.shutdown.wait() => {
                    // What came in the last moment is still served.
                    let (answer, _) = self.read_all(request, true);
                    return Ok(answer);
                }
            }
        }
    }

    /// Takes the room of an answer; `None` when too much is read and not sent already.
    fn room(&self, bytes_max: u32) -> Option<OwnedSemaphorePermit> {
        let kib = bytes_max.div_ceil(1024).max(1);
        Arc::clone(&self.fetched_kib)
            .try_acquire_many_owned(kib)
            .ok()
    }

    /// Reads all partitions. Says also whether the limits left something out that could be read.
    fn read_all(&self, request: &FetchRequest, has_room: bool) -> (FetchAnswer, bool) {
        let mut left = if has_room {
            let bytes_max = request.bytes_max.min(FETCH_BYTES_MAX);
            u64::from(bytes_max.min(self.answer_bytes_max))
        } else {
            1
        };
        let (mut is_cut, mut has_data) = (false, false);
        let mut partitions = Vec::with_capacity(request.partitions.len());
        for wanted in &request.partitions {
            // The first partition with data gives at least one batch, however small the maximum is.
            let read = (left > 0 || !has_data).then_some(left);
            let mut fetched = self.read_one(wanted, read);
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

    fn read_one(&self, wanted: &FetchPartition, bytes_left: Option<u64>) -> FetchedPartition {
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
                reader.fetch(wanted.offset, bytes_max, &self.fetch_memory)
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

/// Returns the first offset behind whole batches.
fn end_of(mut batches: &[u8]) -> Option<Offset> {
    let mut end = None;
    while let Ok(header) = BatchHeader::decode(batches) {
        end = Some(header.next_offset());
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        batches = batches.get(length..).unwrap_or_default();
    }
    end
}

/// Batches that give their room back when they have been sent.
struct Held {
    batches: Bytes,
    _room: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.batches
    }
}

/// Ties the room that an answer needs to its batches, and gives the rest back.
fn held(mut answer: FetchAnswer, room: Option<OwnedSemaphorePermit>, bytes: usize) -> FetchAnswer {
    let Some(mut room) = room else { return answer };
    let unused = room.num_permits().saturating_sub(bytes.div_ceil(1024));
    drop(room.split(unused));
    let room = Arc::new(room);
    for partition in &mut answer.partitions {
        if !partition.batches.is_empty() {
            partition.batches = Bytes::from_owner(Held {
                batches: std::mem::take(&mut partition.batches),
                _room: Arc::clone(&room),
            });
        }
    }
    answer
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
