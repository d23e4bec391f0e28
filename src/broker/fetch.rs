//! Fetch: whole batches from where a consumer asks, and a wait that ends when there is enough.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use storage::error::LogError;
use storage::log::ReadBound;
use storage::log_id::LogKind;
use tokio::time::Instant;

use super::{Broker, partition_of, refusal};
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
            let answer = self.read_all(request);
            let bytes: usize = answer
                .partitions
                .iter()
                .map(|partition| partition.batches.len())
                .sum();
            let is_refused = answer
                .partitions
                .iter()
                .any(|partition| partition.refusal.is_some());
            let is_enough =
                u64::try_from(bytes).unwrap_or(u64::MAX) >= u64::from(request.bytes_min);
            let Some(deadline) =
                deadline.filter(|deadline| !is_refused && !is_enough && *deadline > Instant::now())
            else {
                self.metrics
                    .traffic
                    .fetch_bytes
                    .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
                return Ok(answer);
            };
            tokio::select! {
                () = first_of(changes) => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.shutdown.wait() => return Ok(self.read_all(request)),
            }
        }
    }

    fn read_all(&self, request: &FetchRequest) -> FetchAnswer {
        let bytes_max = request.bytes_max.min(FETCH_BYTES_MAX);
        let mut left = u64::from(bytes_max.min(self.answer_bytes_max));
        let mut is_first = true;
        let mut partitions = Vec::with_capacity(request.partitions.len());
        for wanted in &request.partitions {
            // The first partition with data gives at least one batch, however small the maximum is.
            let read = (left > 0 || is_first).then_some(left);
            let mut fetched = self.read_one(wanted, read);
            let bytes = u64::try_from(fetched.batches.len()).unwrap_or(u64::MAX);
            if bytes > left && !is_first {
                // A log gives one batch whatever is asked for; only the first of an answer may be too large.
                fetched.batches = Bytes::new();
                left = 0;
            } else {
                left = left.saturating_sub(bytes);
            }
            is_first &= bytes == 0;
            partitions.push(fetched);
        }
        FetchAnswer { partitions }
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
                reader.read(wanted.offset, bytes_max, ReadBound::HighWatermark)
            }
            None => Ok(Vec::new()),
        };
        let (batches, refusal) = match read {
            Ok(bytes) => (Bytes::from(bytes), None),
            Err(error) => {
                if matches!(error, LogError::Io { .. }) {
                    tracing::error!(partition = partition.number().0, %error, "a read failed");
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
