//! The task that fetches ahead of the reader.
//!
//! One fetch is asked for ahead: as soon as an answer has come, before it is checked and handed out, so that the broker does
//! not rest meanwhile. Where it begins stands in the headers of the answer; should the answer turn out wrong, what was asked
//! for behind it is thrown away.
//!
//! Invariant: what was fetched and not read takes at most the prefetch bytes, or is one answer; what was asked for ahead
//! counts as fetched, with all that it may bring.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use storage::batch::{Batch, end_of};
use storage::offset::Offset;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::super::api::Client;
use super::super::error::ClientError;
use super::super::retry::Retry;
use super::decode::split;
use super::position::{FetchRules, Position, next_fetch, rise};
use crate::client::connection::PendingAnswer;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::fetch::{FetchAnswer, FetchPartition, FetchRequest, FetchedPartition};
use crate::protocol::frame::Request;

/// A batch that was fetched, with its share of the prefetch bytes, or a gap that leads to the end.
#[derive(Debug)]
pub(super) struct Fetched {
    partition: u32,
    /// The offset behind it.
    next: Offset,
    /// `None` for a gap: an operator has given its offsets up.
    batch: Option<Batch>,
    /// Given back when the reader has taken the batch.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Fetched {
    /// Returns the batch and its partition. A gap has none: what was consumed then ends behind it.
    pub(super) fn batch(self, consumed: &mut BTreeMap<u32, Offset>) -> Option<(u32, Batch)> {
        if self.batch.is_none() {
            rise(consumed, self.partition, self.next);
        }
        Some((self.partition, self.batch?))
    }
}

/// Fetches until all partitions are done, the reader is gone, or an error is no use to repeat.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub client: Client,
    pub topic: Arc<str>,
    pub positions: Vec<Position>,
    pub rules: FetchRules,
    pub prefetch: Arc<Semaphore>,
    pub prefetch_bytes: u32,
    pub fetched: mpsc::Sender<Result<Fetched, ClientError>>,
}

/// A fetch that was sent.
struct Asked {
    request: FetchRequest,
    answer: PendingAnswer<FetchAnswer>,
}

impl Fetcher {
    pub(super) async fn run(mut self) {
        let fetched = self.fetched.clone();
        let result = tokio::select! {
            result = self.fetch_all() => result,
            () = fetched.closed() => return,
        };
        if let Err(error) = result {
            fetched.send(Err(error)).await.ok();
        }
    }

    async fn fetch_all(&mut self) -> Result<(), ClientError> {
        let mut retry: Option<Retry> = None;
        let mut ahead = None;
        loop {
            match self.fetch_once(&mut ahead).await {
                Ok(true) => retry = None,
                Ok(false) => return Ok(()),
                Err(error) => {
                    // It was asked for behind something that was not taken.
                    ahead = None;
                    let client = &self.client;
                    let retry = retry.get_or_insert_with(|| client.retry());
                    retry.pause(error).await?;
                }
            }
        }
    }

    /// Takes one answer. Returns whether there was something left to ask for.
    async fn fetch_once(&mut self, ahead: &mut Option<Asked>) -> Result<bool, ClientError> {
        let asked = if let Some(asked) = ahead.take() {
            asked
        } else {
            // One more fetch begins only when there is room for something.
            drop(self.prefetch.acquire().await);
            let Some(request) = next_fetch(&self.topic, &mut self.positions, self.rules) else {
                return Ok(false);
            };
            self.ask(request).await?
        };
        let Asked { request, answer } = asked;
        let answer = answer.answer().await?;
        if let Some(next) = self.behind(&request, &answer) {
            // One that cannot be sent is asked for again, when its turn has come.
            *ahead = self.ask(next).await.ok();
        }
        self.take_all(&request, answer).await?;
        Ok(true)
    }

    async fn ask(&self, request: FetchRequest) -> Result<Asked, ClientError> {
        let wait = Duration::from_millis(u64::from(request.wait_ms_max));
        let connection = self.client.connection().await?;
        let answer = connection.submit(&request, wait).await?;
        Ok(Asked { request, answer })
    }

    /// Makes the fetch that follows an answer which nobody has checked yet; `None` when there is no room for both.
    fn behind(&mut self, asked: &FetchRequest, answer: &FetchAnswer) -> Option<FetchRequest> {
        let found = answer.partitions.iter().map(|found| found.batches.len());
        let bytes: usize = found.sum();
        let room = self.prefetch.available_permits().checked_sub(bytes)?;
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        if bytes == 0 || room < self.rules.partition_bytes_max {
            return None;
        }
        let mut positions = self.positions.clone();
        for (asked, found) in asked.partitions.iter().zip(&answer.partitions) {
            if let Some(end) = end_of(&found.batches) {
                move_to(&mut positions, asked.partition, end);
            }
        }
        let rules = FetchRules {
            bytes_max: self.rules.bytes_max.min(room),
            ..self.rules
        };
        let request = next_fetch(&self.topic, &mut positions, rules)?;
        // Whoever was first in this one is last in the next.
        self.positions.rotate_left(1);
        Some(request)
    }

    async fn take_all(
        &mut self,
        request: &FetchRequest,
        answer: FetchAnswer,
    ) -> Result<(), ClientError> {
        if answer.partitions.len() != request.partitions.len() {
            return Err(ClientError::Unexpected {
                addr: self.client.options().addr.clone(),
                found: "it has another number of partitions",
            });
        }
        // An answer without any batch is one from which no limit has left something out.
        let is_empty = answer
            .partitions
            .iter()
            .all(|found| found.batches.is_empty() && found.refusal.is_none());
        if is_empty {
            return self.pass_gaps(&answer.partitions, request).await;
        }
        let mut first_error = None;
        for (asked, found) in request.partitions.iter().zip(answer.partitions) {
            // What other partitions have given is handed on before one that refused is reported.
            if let Err(error) = self.take(asked, found).await {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Moves to the end where nothing stands before it although it can be read: the last offsets were given up.
    async fn pass_gaps(
        &mut self,
        found: &[FetchedPartition],
        request: &FetchRequest,
    ) -> Result<(), ClientError> {
        for (asked, found) in request.partitions.iter().zip(found) {
            let of = |position: &&mut Position| position.partition == asked.partition;
            let position = self.positions.iter_mut().find(of);
            let Some((position, end)) = position.and_then(|at| at.end.map(|end| (at, end))) else {
                continue;
            };
            if found.high_watermark < end {
                continue;
            }
            position.next = end;
            let gap = Fetched {
                partition: asked.partition,
                next: end,
                batch: None,
                _permit: None,
            };
            if self.fetched.send(Ok(gap)).await.is_err() {
                return Err(ClientError::Closed);
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        asked: &FetchPartition,
        found: FetchedPartition,
    ) -> Result<(), ClientError> {
        if let Some(error) = refused(&self.topic, asked, &found) {
            return Err(error);
        }
        let batches =
            split(found.batches, asked.offset).map_err(|source| ClientError::Corrupt {
                topic: self.topic.clone(),
                partition: asked.partition,
                offset: asked.offset,
                source,
            })?;
        for batch in batches {
            let next = batch.header().next_offset();
            let permit = self.permit(batch.bytes().len()).await;
            let fetched = Fetched {
                partition: asked.partition,
                next,
                batch: Some(batch),
                _permit: permit,
            };
            if self.fetched.send(Ok(fetched)).await.is_err() {
                return Err(ClientError::Closed);
            }
            move_to(&mut self.positions, asked.partition, next);
        }
        Ok(())
    }

    async fn permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let share = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .clamp(1, self.prefetch_bytes);
        let permit = self.prefetch.clone().acquire_many_owned(share).await;
        permit.ok()
    }
}

fn move_to(positions: &mut [Position], partition: u32, next: Offset) {
    let of = |position: &&mut Position| position.partition == partition;
    if let Some(position) = positions.iter_mut().find(of) {
        position.next = next;
    }
}

fn refused(
    topic: &Arc<str>,
    asked: &FetchPartition,
    found: &FetchedPartition,
) -> Option<ClientError> {
    let refusal = found.refusal.clone()?;
    Some(if refusal.code == ErrorCode::OffsetOutOfRange {
        ClientError::OffsetOutOfRange {
            topic: topic.clone(),
            partition: asked.partition,
            requested: asked.offset,
            log_start: found.log_start_offset,
            high_watermark: found.high_watermark,
        }
    } else {
        ClientError::PartitionRefused {
            doing: FetchRequest::KEY.doing(),
            topic: topic.clone(),
            partition: asked.partition,
            refusal,
        }
    })
}

/// Returns the wait as the protocol has it.
pub(super) fn wait_ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}
