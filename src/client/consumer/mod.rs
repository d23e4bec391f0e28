//! The consumer: reads the partitions of one topic, ahead of whoever takes records from it.
//!
//! It has a connection of its own, because a fetch that waits holds up what comes behind it. Every batch that it hands out
//! has been checked with both checksums. Nothing is assigned: a consumer reads the partitions that it is told to, and a
//! group is a name for committed offsets. Records that were republished for one group alone are passed over by others.

pub mod decode;
mod fetcher;
mod position;
mod start;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::batch::{Batch, Record as BatchRecord};
use storage::offset::{Offset, TimestampMs};
use tokio::sync::{Semaphore, mpsc};

use self::decode::{Reader, records_from};
use self::fetcher::{Fetched, Fetcher, wait_ms};
use self::position::{FetchRules, rise};
use self::start::positions;
use super::api::{Client, rejection};
use super::error::ClientError;
use crate::limits::FETCH_WAIT_MS_MAX;
use crate::protocol::group_offsets::CommittedOffset;
use crate::protocol::reject::RejectAnswer;

/// Batches that wait for the reader at most, whatever their size.
const BATCHES_AHEAD: usize = 1024;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first offset that can be read.
    Earliest,
    /// At the end: what comes from now on.
    Latest,
    /// At an offset, the same in all partitions.
    At(Offset),
    /// At the first batch that was appended at this time or later.
    AppendedAt(TimestampMs),
}

/// What to read, and how.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "three independent choices, each named where it is made"
)]
pub struct ConsumerOptions {
    /// The partitions, each read once however often it is named; `None` for all that the topic has now.
    pub partitions: Option<Vec<u32>>,
    /// Where to begin; with a group, where it has committed nothing.
    pub start: Start,
    /// The group whose committed offsets are taken up, and for which records are read.
    pub group: Option<String>,
    /// Whether the committed offsets of the group are passed over at the beginning.
    pub ignores_committed: bool,
    /// Whether to begin at `start` also where what the group has committed is no longer there, or not yet. Otherwise that is
    /// [`ClientError::OffsetOutOfRange`]: records were lost to the group.
    pub starts_where_lost: bool,
    /// Whether to read also what is for one group alone.
    pub all_groups: bool,
    /// Whether to stop at what was the end when the consumer was opened.
    pub stops_at_end: bool,
    /// Bytes that are fetched ahead of the reader.
    pub prefetch_bytes: u32,
    /// Bytes that one partition gives at once. What fits the processor's cache is fastest nearby; over a long way more of them
    /// make up for the round trip.
    pub partition_bytes_max: u32,
    /// Bytes that are worth an answer before the wait is over.
    pub bytes_min: u32,
    /// How long a fetch waits for something new.
    pub wait: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            partitions: None,
            start: Start::Earliest,
            group: None,
            ignores_committed: false,
            starts_where_lost: false,
            all_groups: false,
            stops_at_end: false,
            prefetch_bytes: 16 << 20,
            partition_bytes_max: 1 << 20,
            bytes_min: 1,
            wait: Duration::from_millis(500),
        }
    }
}

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Topic.
    pub topic: Arc<str>,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// Offset.
    pub offset: Offset,
    /// When it was made, by the producer's clock.
    pub timestamp: TimestampMs,
    /// When it was appended, by the broker's clock.
    pub append_time: TimestampMs,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers; in what the broker wrote itself, its own among them.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Reads the partitions of one topic.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    topic: Arc<str>,
    reader: Reader,
    fetched: mpsc::Receiver<Result<Fetched, ClientError>>,
    ready: VecDeque<Record>,
    /// By partition: the offset behind what was handed out, and behind what was passed over with it.
    consumed: BTreeMap<u32, Offset>,
    /// What the group has committed of it.
    stored: BTreeMap<u32, Offset>,
    /// Where it began with nothing committed, before its first commit.
    begun: BTreeMap<u32, Offset>,
    /// The partition of the records in `ready`, and the offset behind their batch.
    behind_ready: Option<(u32, Offset)>,
}

impl Consumer {
    /// Begins to read.
    ///
    /// # Errors
    /// As [`Client::partition_count`], [`Client::committed_offsets`] and [`Client::find_offsets`];
    /// [`ClientError::NoPartition`].
    pub async fn open(
        client: &Client,
        topic: &str,
        options: ConsumerOptions,
    ) -> Result<Self, ClientError> {
        let topic: Arc<str> = Arc::from(topic);
        let (positions, stored) = positions(client, &topic, &options).await?;
        let prefetch_bytes = options.prefetch_bytes.max(1);
        let (sender, ahead) = mpsc::channel(BATCHES_AHEAD);
        let consumed: BTreeMap<_, _> = positions.iter().map(|p| (p.partition, p.next)).collect();
        let begun = consumed
            .iter()
            .filter(|(partition, _)| !stored.contains_key(*partition));
        let begun = begun
            .map(|(partition, offset)| (*partition, *offset))
            .collect();
        let fetcher = Fetcher {
            client: client.sibling(),
            topic: topic.clone(),
            positions,
            rules: FetchRules {
                partition_bytes_max: options.partition_bytes_max,
                bytes_min: options.bytes_min,
                bytes_max: prefetch_bytes,
                wait_ms_max: wait_ms(options.wait).min(FETCH_WAIT_MS_MAX),
            },
            prefetch: Arc::new(Semaphore::new(
                usize::try_from(prefetch_bytes).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            prefetch_bytes,
            fetched: sender,
        };
        tokio::spawn(fetcher.run());
        Ok(Self {
            client: client.clone(),
            topic,
            reader: Reader {
                group: options.group,
                all_groups: options.all_groups,
            },
            fetched: ahead,
            ready: VecDeque::new(),
            begun,
            stored,
            consumed,
            behind_ready: None,
        })
    }

    /// Returns the next record; `None` at the end, if the consumer stops there. May be dropped and called again.
    ///
    /// # Errors
    /// [`ClientError::OffsetOutOfRange`] with the range that can be read, [`ClientError::Corrupt`],
    /// [`ClientError::PartitionRefused`], [`ClientError::GaveUp`]. The consumer has ended then.
    pub async fn next(&mut self) -> Result<Option<Record>, ClientError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                rise(&mut self.consumed, record.partition, record.offset.next());
                return Ok(Some(record));
            }
            self.pass_ready();
            let Some((partition, batch)) = self.receive().await? else {
                return Ok(None);
            };
            self.unpack(partition, &batch)?;
        }
    }

    /// Returns the next record if it has been fetched, without waiting.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn next_ready(&mut self) -> Result<Option<Record>, ClientError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                rise(&mut self.consumed, record.partition, record.offset.next());
                return Ok(Some(record));
            }
            self.pass_ready();
            let Ok(fetched) = self.fetched.try_recv() else {
                return Ok(None);
            };
            if let Some((partition, batch)) = fetched?.batch(&mut self.consumed) {
                self.unpack(partition, &batch)?;
            }
        }
    }

    /// Returns the next batch as it stands in the log, and its partition; `None` at the end. Its first records may lie before
    /// the consumer's start, and records for other groups are in it. Not to be mixed with [`Consumer::next`].
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn next_batch(&mut self) -> Result<Option<(u32, Batch)>, ClientError> {
        let next = self.receive().await?;
        if let Some((partition, batch)) = &next {
            let next = batch.header().next_offset();
            rise(&mut self.consumed, *partition, next);
        }
        Ok(next)
    }

    /// Returns the next offset to be handed out, by partition.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<u32, Offset> {
        &self.consumed
    }

    /// Stores for the group how far the records have been handed out, of the partitions that have got on since the last time; and
    /// once where it has begun, unless others have got further there.
    ///
    /// # Errors
    /// As [`Client::commit_offsets`]. Without a group nothing is done.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        if self.ready.is_empty() {
            self.pass_ready();
        }
        let Some(group) = self.reader.group.clone() else {
            return Ok(());
        };
        self.pass_what_others_have(&group).await?;
        let has_got_on = |(partition, offset): &(&u32, &Offset)| {
            let stored = self.stored.get(*partition);
            stored.is_none_or(|stored| *stored < **offset)
        };
        let offsets: Vec<_> = self
            .consumed
            .iter()
            .filter(has_got_on)
            .map(|(partition, offset)| CommittedOffset {
                topic: self.topic.as_ref().to_owned(),
                partition: *partition,
                offset: *offset,
                metadata: String::new(),
            })
            .collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let stored: Vec<_> = offsets
            .iter()
            .map(|one| (one.partition, one.offset))
            .collect();
        self.client.commit_offsets(&group, offsets).await?;
        self.stored.extend(stored);
        Ok(())
    }

    /// Takes over what others have committed since it was opened for partitions of which nothing was read here.
    async fn pass_what_others_have(&mut self, group: &str) -> Result<(), ClientError> {
        if self.begun.is_empty() {
            return Ok(());
        }
        let topics = Some(vec![self.topic.as_ref().to_owned()]);
        for theirs in self.client.committed_offsets(group, topics).await? {
            let partition = theirs.partition;
            let begun = self.begun.get(&partition);
            let is_unread = begun.is_some() && begun == self.consumed.get(&partition);
            if is_unread && begun.is_some_and(|begun| *begun <= theirs.offset) {
                self.stored.insert(partition, theirs.offset);
            }
        }
        self.begun.clear();
        Ok(())
    }

    /// Dead-letters a record on behalf of the group.
    ///
    /// # Errors
    /// As [`Client::reject`].
    pub async fn reject(
        &self,
        record: &Record,
        reason: &str,
        details: Option<&str>,
    ) -> Result<RejectAnswer, ClientError> {
        let group = self.reader.group.as_deref().unwrap_or_default();
        let place = (record.topic.as_ref(), record.partition, record.offset);
        self.client
            .reject(&rejection(group, place, reason, details))
            .await
    }

    async fn receive(&mut self) -> Result<Option<(u32, Batch)>, ClientError> {
        while let Some(fetched) = self.fetched.recv().await {
            if let Some(next) = fetched?.batch(&mut self.consumed) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// Moves behind a batch whose last records were passed over.
    fn pass_ready(&mut self) {
        if let Some((partition, next)) = self.behind_ready.take() {
            rise(&mut self.consumed, partition, next);
        }
    }

    fn unpack(&mut self, partition: u32, batch: &Batch) -> Result<(), ClientError> {
        let position = self.consumed.get(&partition).copied().unwrap_or_default();
        let records = records_from(batch, position, &self.reader);
        let records = records.map_err(|source| ClientError::Corrupt {
            topic: self.topic.clone(),
            partition,
            offset: position,
            source,
        })?;
        let append_time = batch.header().append_time;
        let topic = &self.topic;
        self.ready
            .extend(records.into_iter().map(|(offset, record)| {
                let BatchRecord {
                    timestamp,
                    key,
                    value,
                    headers,
                } = record;
                Record {
                    topic: topic.clone(),
                    partition,
                    offset,
                    timestamp,
                    append_time,
                    key,
                    value,
                    headers,
                }
            }));
        self.behind_ready = Some((partition, batch.header().next_offset()));
        Ok(())
    }
}
