//! The task that sends the batches of one partition: in order, a few in flight, each until it is settled.
//!
//! Invariants: batches are sent, repeated and settled in the order in which they were sealed. A batch keeps its producer id
//! and its sequence in all its repeats, unless it was certainly not appended under them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::batch::header::NO_SEQUENCE;
use storage::batch::{BatchHeader, HEADER_BYTES, Producer as ProducerFields};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::super::api::Client;
use super::super::backoff::random;
use super::super::connection::PendingAnswer;
use super::super::error::ClientError;
use super::accumulator::{Accumulator, Backlog, Next, Sealed};
use super::completion::Completion;
use super::verdict::{Facts, Verdict, judge};
use crate::protocol::frame::Request;
use crate::protocol::produce::{Acks, Appended, ProduceAnswer, ProduceBatch, ProduceRequest};
use crate::protocol::producer_id::ProducerIdAnswer;

/// What the tasks of a producer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) topic: Arc<str>,
    pub(super) acks: Acks,
    /// Batches in flight at most, for each partition.
    pub(super) window: usize,
    /// How long a batch may take from its first record on.
    pub(super) deliver_within: Duration,
    pub(super) backlog: Arc<Backlog>,
    pub(super) acknowledged: AtomicU64,
    pub(super) failed: AtomicU64,
    /// The first reason for which records were given up.
    pub(super) first_error: watch::Sender<Option<ClientError>>,
    /// Why batches are sent again, while they are.
    pub(super) trouble: watch::Sender<Option<ClientError>>,
}

/// The open batch of a partition, and the bell of the task that sends it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) accumulator: Mutex<Accumulator>,
    pub(super) bell: Notify,
}

/// The producer's id and next sequence, in one partition.
#[derive(Debug, Clone, Copy)]
struct Identity {
    id: ProducerIdAnswer,
    next_sequence: u32,
}

impl Identity {
    /// Takes the sequences of a batch.
    fn take(&mut self, record_count: u32) -> ProducerFields {
        let base_sequence = self.next_sequence;
        let next = u64::from(base_sequence) + u64::from(record_count);
        self.next_sequence = u32::try_from(next % u64::from(NO_SEQUENCE)).unwrap_or(0);
        ProducerFields {
            id: self.id.id,
            epoch: self.id.epoch,
            base_sequence,
        }
    }
}

/// A batch that was sent and is not settled.
#[derive(Debug)]
struct Sent {
    bytes: Bytes,
    record_count: u32,
    first_at: Instant,
    completion: Arc<Completion>,
    attempt: Attempt,
    is_ambiguous: bool,
    is_behind_failure: bool,
}

/// How far the newest attempt at a batch has got.
#[derive(Debug)]
enum Attempt {
    /// It was put in the line of a connection.
    Pending(PendingAnswer<ProduceAnswer>),
    /// It was not, and why.
    Unsent(ClientError),
    /// Its outcome is known.
    Over,
}

/// Sends the batches of one partition.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    partition: u32,
    identity: Option<Identity>,
    /// The identity leads nowhere since a batch was given up.
    is_stale: bool,
    in_flight: VecDeque<Sent>,
    failed_attempts: u32,
}

impl Sender {
    pub(super) fn new(
        shared: Arc<Shared>,
        lane: Arc<Lane>,
        partition: u32,
        id: Option<ProducerIdAnswer>,
    ) -> Self {
        Self {
            shared,
            lane,
            partition,
            identity: id.map(|id| Identity {
                id,
                next_sequence: 0,
            }),
            is_stale: false,
            in_flight: VecDeque::new(),
            failed_attempts: 0,
        }
    }

    /// Sends until the lane is closed and empty.
    pub(super) async fn run(mut self) {
        loop {
            let until = self.fill_window().await;
            // Looked at together: a record may have come, and the lane may have been closed, since the window was filled.
            if self.in_flight.is_empty() && self.lane.accumulator.lock().is_at_its_end() {
                return;
            }
            let has_room = self.in_flight.len() < self.window();
            tokio::select! {
                outcome = front_outcome(&mut self.in_flight) => self.on_outcome(outcome).await,
                () = self.lane.bell.notified(), if has_room => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    fn window(&self) -> usize {
        // Without an id a repeat would change the order behind it.
        if self.identity.is_some() {
            self.shared.window
        } else {
            1
        }
    }

    /// Sends what is due while the window has room; returns when more will be due.
    async fn fill_window(&mut self) -> Option<Instant> {
        while self.in_flight.len() < self.window() {
            let next = self.lane.accumulator.lock().next(Instant::now());
            match next {
                Ok(Next::Batch(sealed)) => self.send(sealed).await,
                Ok(Next::Until(due)) => return Some(due),
                Ok(Next::Nothing) => return None,
                Err(error) => {
                    let (completion, record_count) = self.lane.accumulator.lock().discard_open();
                    let source = Arc::new(error);
                    self.tell_failure(&completion, record_count, ClientError::Record { source });
                }
            }
        }
        None
    }

    /// Sends a batch behind those in flight. A failure is found when its answer is waited for.
    async fn send(&mut self, sealed: Sealed) {
        if self.is_stale
            && self.in_flight.is_empty()
            && let Err(error) = self.renew_identity().await
        {
            self.shared.backlog.remove(sealed.bytes.len());
            self.tell_failure(&sealed.completion, sealed.record_count, error);
            return;
        }
        let mut bytes = sealed.bytes;
        if let Some(identity) = self.identity.as_mut() {
            set_producer(&mut bytes, identity.take(sealed.record_count));
        }
        let bytes = Bytes::from(bytes);
        let attempt = submit(&self.shared, self.partition, bytes.clone()).await;
        self.in_flight.push_back(Sent {
            bytes,
            record_count: sealed.record_count,
            first_at: sealed.first_at,
            completion: sealed.completion,
            attempt,
            is_ambiguous: false,
            is_behind_failure: self.is_stale,
        });
    }

    async fn on_outcome(&mut self, outcome: Result<Appended, ClientError>) {
        let Some(front) = self.in_flight.front_mut() else {
            return;
        };
        let expires = front.first_at.checked_add(self.shared.deliver_within);
        let is_unknown = outcome.as_ref().is_err_and(ClientError::is_outcome_unknown);
        let facts = Facts {
            is_idempotent: self.identity.is_some(),
            is_ambiguous: front.is_ambiguous,
            is_behind_failure: front.is_behind_failure,
            is_expired: expires.is_some_and(|expires| Instant::now() >= expires),
        };
        front.is_ambiguous |= is_unknown;
        match judge(outcome, facts) {
            Verdict::Settle(appended) => self.settle(appended),
            Verdict::Repeat(error) => self.repeat(&error).await,
            Verdict::Renew => self.renew().await,
            Verdict::Fail(error) => {
                self.fail_front(error);
                self.is_stale = true;
                for behind in &mut self.in_flight {
                    behind.is_behind_failure = true;
                }
            }
            Verdict::FailAll(error) => {
                while !self.in_flight.is_empty() {
                    self.fail_front(error.clone());
                }
                self.is_stale = true;
            }
        }
    }

    fn settle(&mut self, appended: Appended) {
        if self.failed_attempts > 0 {
            self.shared.trouble.send_replace(None);
        }
        self.failed_attempts = 0;
        let Some(sent) = self.in_flight.pop_front() else {
            return;
        };
        let count = u64::from(sent.record_count);
        self.shared.acknowledged.fetch_add(count, Ordering::Relaxed);
        self.shared.backlog.remove(sent.bytes.len());
        sent.completion.settle(Ok(appended));
        if sent.bytes.is_unique() {
            self.lane.accumulator.lock().recycle(Vec::from(sent.bytes));
        }
    }

    fn fail_front(&mut self, error: ClientError) {
        if let Some(sent) = self.in_flight.pop_front() {
            self.shared.backlog.remove(sent.bytes.len());
            self.tell_failure(&sent.completion, sent.record_count, error);
        }
    }

    fn tell_failure(&self, completion: &Completion, record_count: u32, error: ClientError) {
        self.shared
            .failed
            .fetch_add(u64::from(record_count), Ordering::Relaxed);
        self.shared.first_error.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| error.clone());
            is_first
        });
        completion.settle(Err(error));
    }

    /// Pauses, then sends everything in flight again, with the same sequences.
    async fn repeat(&mut self, error: &ClientError) {
        self.failed_attempts = self.failed_attempts.saturating_add(1);
        let options = self.shared.client.options();
        let pause = options.backoff.pause(self.failed_attempts, random());
        tracing::debug!(
            topic = %self.shared.topic,
            partition = self.partition,
            attempts = self.failed_attempts,
            %error,
            "a batch is sent again"
        );
        self.shared.trouble.send_replace(Some(error.clone()));
        tokio::time::sleep(pause).await;
        self.send_all().await;
    }

    async fn send_all(&mut self) {
        for sent in &mut self.in_flight {
            // An answer that is dropped unread leaves its outcome unknown.
            if let Attempt::Pending(_) = sent.attempt {
                sent.is_ambiguous = true;
            }
            sent.attempt = submit(&self.shared, self.partition, sent.bytes.clone()).await;
        }
    }

    /// Takes a new producer id and sends everything in flight again under it.
    async fn renew(&mut self) {
        if let Err(error) = self.renew_identity().await {
            while !self.in_flight.is_empty() {
                self.fail_front(error.clone());
            }
            return;
        }
        let Some(identity) = self.identity.as_mut() else {
            return;
        };
        for sent in &mut self.in_flight {
            let mut bytes = Vec::from(std::mem::take(&mut sent.bytes));
            set_producer(&mut bytes, identity.take(sent.record_count));
            sent.bytes = Bytes::from(bytes);
            sent.attempt = Attempt::Over;
            sent.is_behind_failure = false;
            sent.is_ambiguous = false;
        }
        self.send_all().await;
    }

    async fn renew_identity(&mut self) -> Result<(), ClientError> {
        self.is_stale = true;
        if self.identity.is_some() {
            let id = self.shared.client.producer_id().await?;
            self.identity = Some(Identity {
                id,
                next_sequence: 0,
            });
        }
        self.is_stale = false;
        Ok(())
    }
}

/// Puts the producer into the header of a batch that this program has built.
fn set_producer(batch: &mut [u8], producer: ProducerFields) {
    let Ok(mut header) = BatchHeader::decode(batch) else {
        debug_assert!(false, "a batch that was built here does not decode");
        return;
    };
    header.producer = Some(producer);
    if let Some(place) = batch.first_chunk_mut::<HEADER_BYTES>() {
        *place = header.encode();
    }
}

async fn submit(shared: &Shared, partition: u32, batch: Bytes) -> Attempt {
    let request = ProduceRequest {
        acks: shared.acks,
        batches: vec![ProduceBatch {
            topic: shared.topic.as_ref().to_owned(),
            partition,
            batch,
        }],
    };
    let submitted = match shared.client.connection().await {
        Ok(connection) => connection.submit(&request, Duration::ZERO).await,
        Err(error) => Err(error),
    };
    submitted.map_or_else(Attempt::Unsent, Attempt::Pending)
}

/// Waits for the answer of the oldest batch in flight; for ever when there is none. May be dropped and called again.
async fn front_outcome(in_flight: &mut VecDeque<Sent>) -> Result<Appended, ClientError> {
    let Some(front) = in_flight.front_mut() else {
        return std::future::pending().await;
    };
    let answer = match &mut front.attempt {
        Attempt::Pending(answer) => answer.wait().await,
        Attempt::Unsent(error) => Err(error.clone()),
        Attempt::Over => Err(ClientError::Closed),
    };
    front.attempt = Attempt::Over;
    let doing = ProduceRequest::<Bytes>::KEY.doing();
    match answer?.batches.pop() {
        Some(Ok(appended)) => Ok(appended),
        Some(Err(refusal)) => Err(ClientError::Refused { doing, refusal }),
        None => Err(ClientError::Closed),
    }
}
