//! The producer: takes records, puts them into batches by partition, and sends each batch until it is settled.
//!
//! A record is encoded under the lock of its partition straight into the open batch; nothing is allocated for it but its
//! bytes. One completion stands for a whole batch. Memory is bounded: [`Producer::send`] waits while sealed batches that are
//! not settled take more than [`ProducerOptions::backlog_bytes_max`]; the open batches, one for each partition, come on top.
//!
//! With an id from the broker (the default) a record is stored once, and in the order of its partition, however often
//! connections are lost and the broker restarts.

mod accumulator;
mod completion;
mod sender;
mod verdict;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage::batch::{BuildError, Codec, NewRecord, RESERVED_PREFIX};
use storage::limits::PRODUCER_BATCHES_MAX;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::accumulator::{Accumulator, Backlog, SealRules};
pub use self::completion::{Delivered, Delivery};
use self::sender::{Lane, Sender, Shared};
use super::api::Client;
use super::backoff::random;
use super::error::ClientError;
use crate::protocol::produce::Acks;
use crate::protocol::producer_id::ProducerIdAnswer;
use crate::topic::partitioner::{StickyChooser, partition_of_key};

/// How a producer batches, and how patient it is.
#[derive(Debug, Clone, Copy)]
pub struct ProducerOptions {
    /// When batches are acknowledged.
    pub acks: Acks,
    /// Compression.
    pub codec: Codec,
    /// How long the first record of a batch waits for others while the window has room.
    pub linger: Duration,
    /// Largest batch, in bytes before compression. The topic has a maximum too.
    pub batch_bytes_max: u32,
    /// Largest batch, in records.
    pub batch_records_max: u32,
    /// Batches in flight at most, for each partition; no more than five.
    pub window: usize,
    /// Sealed batches that are not settled, in bytes over all partitions.
    pub backlog_bytes_max: usize,
    /// How long a batch may take from its first record on; then it is given up.
    pub deliver_within: Duration,
    /// Whether to take an id from the broker, so that repeats are recognised.
    pub is_idempotent: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::TopicDefault,
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes_max: 1 << 20,
            batch_records_max: u32::MAX,
            window: PRODUCER_BATCHES_MAX,
            backlog_bytes_max: 32 << 20,
            deliver_within: Duration::from_mins(2),
            is_idempotent: true,
        }
    }
}

/// How many records a producer has taken, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryCounts {
    /// Taken.
    pub accepted: u64,
    /// Acknowledged by the broker.
    pub acknowledged: u64,
    /// Given up.
    pub failed: u64,
}

/// Sends records to one topic. It may be shared; close it to know that everything is settled. When it is dropped, what
/// was taken is still sent while the runtime lives.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    lanes: Vec<Arc<Lane>>,
    partition_count: NonZeroU32,
    sticky: AtomicU32,
    chooser: Mutex<StickyChooser>,
    id: Option<ProducerIdAnswer>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Producer {
    /// Begins to produce to a topic, with the partitions that it has now.
    ///
    /// # Errors
    /// As [`Client::topic`] and [`Client::producer_id`].
    pub async fn open(
        client: &Client,
        topic: &str,
        options: ProducerOptions,
    ) -> Result<Self, ClientError> {
        let partition_count = client.partition_count(topic).await?;
        let id = if options.is_idempotent {
            Some(client.producer_id().await?)
        } else {
            None
        };
        let backlog = Arc::new(Backlog::new(options.backlog_bytes_max));
        let shared = Arc::new(Shared {
            client: client.clone(),
            topic: Arc::from(topic),
            acks: options.acks,
            window: options.window.clamp(1, PRODUCER_BATCHES_MAX),
            deliver_within: options.deliver_within,
            backlog: backlog.clone(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_error: watch::Sender::new(None),
            trouble: watch::Sender::new(None),
        });
        let rules = SealRules {
            batch_bytes_max: options.batch_bytes_max,
            batch_records_max: options.batch_records_max,
            linger: options.linger,
        };
        let lanes = (0..partition_count.get()).map(|_| {
            let accumulator = Accumulator::new(rules, options.codec, backlog.clone());
            Arc::new(Lane {
                accumulator: Mutex::new(accumulator),
                bell: Notify::new(),
            })
        });
        let mut producer = Self {
            shared,
            lanes: lanes.collect(),
            partition_count,
            sticky: AtomicU32::new(0),
            chooser: Mutex::new(StickyChooser::new(random())),
            id,
            tasks: Mutex::new(Vec::new()),
        };
        let first = producer.chooser.get_mut().current(partition_count);
        producer.sticky = AtomicU32::new(first);
        producer.start();
        Ok(producer)
    }

    /// Takes a record: to the partition of its key, or without a key to one that changes with each batch. Waits while too
    /// much is not settled.
    ///
    /// # Errors
    /// [`ClientError::Record`] for one that no batch takes; [`ClientError::Closed`].
    pub async fn send(&self, record: &NewRecord<'_>) -> Result<Delivery, ClientError> {
        self.shared.backlog.space().await;
        self.push(self.partition_of(record), record)
    }

    /// Takes a record to a partition. Waits while too much is not settled.
    ///
    /// # Errors
    /// As [`Producer::send`]; [`ClientError::NoPartition`].
    pub async fn send_to(
        &self,
        partition: u32,
        record: &NewRecord<'_>,
    ) -> Result<Delivery, ClientError> {
        self.shared.backlog.space().await;
        self.push(partition, record)
    }

    /// Takes a record, or `None` when too much is not settled: wait with [`Producer::space`].
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn try_send(&self, record: &NewRecord<'_>) -> Result<Option<Delivery>, ClientError> {
        if !self.shared.backlog.has_space() {
            return Ok(None);
        }
        self.push(self.partition_of(record), record).map(Some)
    }

    /// Waits until [`Producer::try_send`] takes a record.
    pub async fn space(&self) {
        self.shared.backlog.space().await;
    }

    /// Sends the open batches and waits until all records taken so far are settled, acknowledged or given up.
    pub async fn flush(&self) -> DeliveryCounts {
        let mut last = Vec::new();
        for lane in &self.lanes {
            last.extend(lane.accumulator.lock().flush());
            lane.bell.notify_one();
        }
        for completion in last {
            completion.outcome().await.as_ref().ok();
        }
        self.counts()
    }

    /// Takes no more records, and waits until all are settled.
    ///
    /// # Errors
    /// The first reason for which records were given up.
    pub async fn close(self) -> Result<DeliveryCounts, ClientError> {
        self.close_lanes();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // A task that panicked has told nobody; its records stay counted as neither.
            task.await.ok();
        }
        match self.first_error() {
            Some(error) => Err(error),
            None => Ok(self.counts()),
        }
    }

    /// Returns how many records were taken and what became of them.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        let accepted = self
            .lanes
            .iter()
            .map(|lane| lane.accumulator.lock().accepted());
        DeliveryCounts {
            acknowledged: self.shared.acknowledged.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            accepted: accepted.sum(),
        }
    }

    /// Returns the first reason for which records were given up.
    #[must_use]
    pub fn first_error(&self) -> Option<ClientError> {
        self.shared.first_error.borrow().clone()
    }

    /// Waits until records are given up; for ever while none are.
    pub async fn failure(&self) {
        let mut first_error = self.shared.first_error.subscribe();
        // The sender lives in this producer.
        first_error.wait_for(Option::is_some).await.ok();
    }

    /// Returns why batches are sent again, while they are: what is refused for a reason that may pass is no failure yet.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<ClientError>> {
        self.shared.trouble.subscribe()
    }

    /// Returns how many partitions the producer spreads its records over.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        self.partition_count.get()
    }

    #[inline]
    fn partition_of(&self, record: &NewRecord<'_>) -> u32 {
        match record.key {
            Some(key) => partition_of_key(key, self.partition_count),
            None => self.sticky.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn push(&self, partition: u32, record: &NewRecord<'_>) -> Result<Delivery, ClientError> {
        let lane = usize::try_from(partition)
            .ok()
            .and_then(|index| self.lanes.get(index))
            .ok_or_else(|| self.no_partition(partition))?;
        refuse_reserved_headers(record)?;
        let pushed = {
            let mut accumulator = lane.accumulator.lock();
            if accumulator.is_closed() {
                return Err(ClientError::Closed);
            }
            accumulator
                .push(record, Instant::now)
                .map_err(record_error)?
        };
        if pushed.wakes {
            lane.bell.notify_one();
            if record.key.is_none() && pushed.is_sealed {
                self.move_on(partition);
            }
        }
        Ok(Delivery {
            batch: pushed.completion,
            partition,
            index: pushed.index,
        })
    }

    /// Chooses another partition for records without a key, unless another thread has just done so.
    #[cold]
    fn move_on(&self, from: u32) {
        let mut chooser = self.chooser.lock();
        if self.sticky.load(Ordering::Relaxed) == from {
            let next = chooser.advance(self.partition_count);
            self.sticky.store(next, Ordering::Relaxed);
        }
    }

    #[cold]
    fn no_partition(&self, partition: u32) -> ClientError {
        ClientError::NoPartition {
            topic: self.shared.topic.clone(),
            partition,
            partition_count: self.partition_count.get(),
        }
    }

    fn start(&self) {
        let senders = (0..).zip(&self.lanes).map(|(partition, lane)| {
            let sender = Sender::new(self.shared.clone(), lane.clone(), partition, self.id);
            tokio::spawn(sender.run())
        });
        self.tasks.lock().extend(senders);
    }

    fn close_lanes(&self) {
        for lane in &self.lanes {
            lane.accumulator.lock().close();
            lane.bell.notify_one();
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.close_lanes();
    }
}

/// One such record would make the broker refuse the whole batch.
#[inline]
fn refuse_reserved_headers(record: &NewRecord<'_>) -> Result<(), ClientError> {
    let is_reserved = |name: &str| name.starts_with(RESERVED_PREFIX);
    if record.headers.iter().any(|header| is_reserved(header.name)) {
        return Err(record_error(BuildError::ReservedHeader));
    }
    Ok(())
}

#[cold]
fn record_error(source: BuildError) -> ClientError {
    ClientError::Record {
        source: Arc::new(source),
    }
}
