//! Produce: checking batches on the connection's own thread, appending them, and knowing when to answer.

use std::sync::Arc;

use storage::batch::{BatchLimits, check_produced};
use storage::error::LogError;
use storage::offset::Offset;
use storage::partition::{AppendOutcome, Refused};

use super::{Broker, partition_of, refusal};
use crate::engine::{DurabilityWanted, PartitionHandle};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::produce::{Acks, Appended, ProduceAnswer};
use crate::topic::Topic;

/// A batch that was appended and is answered when it is as durable as was asked for.
#[derive(Debug)]
pub struct PendingAppend {
    partition: Arc<PartitionHandle>,
    appended: Appended,
    /// What must be durable before the answer; `None` when the write was enough.
    end: Option<Offset>,
}

/// A produce request whose batches were appended or refused.
#[derive(Debug, Default)]
pub struct ProducePending {
    /// One for each batch, in the order of the request.
    pub batches: Vec<Result<PendingAppend, Refusal>>,
}

impl ProducePending {
    /// Returns how many bytes of memory it takes until it is answered.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let refused = self.batches.iter().filter_map(|batch| batch.as_ref().err());
        let messages: usize = refused.map(|refusal| refusal.message.len()).sum();
        let batches = self.batches.capacity();
        let batches = batches.saturating_mul(size_of::<Result<PendingAppend, Refusal>>());
        batches.saturating_add(messages)
    }

    /// Returns whether the answer needs no more waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.batches.iter().flatten().all(|pending| {
            pending
                .end
                .is_none_or(|end| pending.partition.reader().durable_end() >= end)
        })
    }

    /// Returns the answer, when every batch is as durable as was asked for.
    pub async fn answer(self) -> ProduceAnswer {
        let mut batches = Vec::with_capacity(self.batches.len());
        for batch in self.batches {
            batches.push(match batch {
                Ok(pending) => pending.wait().await,
                Err(refusal) => Err(refusal),
            });
        }
        ProduceAnswer { batches }
    }
}

impl PendingAppend {
    async fn wait(self) -> Result<Appended, Refusal> {
        if let Some(end) = self.end {
            self.partition
                .wait_durable(end)
                .await
                .map_err(|error| refusal::of_log(&error))?;
        }
        Ok(self.appended)
    }
}

impl Broker {
    /// Appends one batch of a produce request, in place. With `is_alone`, nothing else waits on the caller's socket.
    ///
    /// # Errors
    /// Why the batch was refused; nothing was appended then, or the outcome is unknown and the code says so.
    pub async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &mut [u8],
        acks: Acks,
        is_alone: bool,
    ) -> Result<PendingAppend, Refusal> {
        let topic = self.topic(topic)?;
        if topic.name().is_internal() {
            let message = format!("topic {} belongs to the broker", topic.name());
            return Err(Refusal::new(ErrorCode::ReservedTopic, message));
        }
        self.space.check()?;
        let partition = partition_of(&topic, partition)?;
        self.append_to(&topic, &partition, batch, acks, is_alone)
            .await
            .inspect_err(|refusal| self.note_refusal(refusal))
    }

    async fn append_to(
        &self,
        topic: &Topic,
        partition: &Arc<PartitionHandle>,
        batch: &mut [u8],
        acks: Acks,
        is_alone: bool,
    ) -> Result<PendingAppend, Refusal> {
        let settings = topic.settings();
        let limits = BatchLimits::new(settings.record_bytes_max, settings.batch_bytes_max);
        let header = check_produced(batch, &limits).map_err(|error| refusal::of_batch(&error))?;
        let outcome = loop {
            let now = self.clock.now();
            match partition.append(&header, batch, now) {
                Err(Refused::Log(LogError::Rolling { .. })) => {
                    partition
                        .roll(u64::from(header.length), now)
                        .await
                        .map_err(|error| refusal::of_log(&error))?;
                }
                outcome => break outcome.map_err(|error| refusal::of_append(&error))?,
            }
        };
        let (appended, end) = match outcome {
            AppendOutcome::Appended(appended) => {
                self.metrics
                    .traffic
                    .produce_records
                    .inc_by(u64::from(header.record_count));
                self.metrics
                    .traffic
                    .produce_bytes
                    .inc_by(u64::from(header.length));
                (answer_of(&appended), appended.next_offset)
            }
            // When the first one was appended is not remembered; the time of this answer is the honest bound.
            AppendOutcome::Repeat {
                base_offset,
                next_offset,
            } => (
                Appended {
                    base_offset,
                    append_time: self.clock.now(),
                },
                next_offset,
            ),
        };
        let is_synced =
            settings.durability == storage::control::Durability::Synced || acks == Acks::Synced;
        let wanted = if is_synced {
            DurabilityWanted::Synced
        } else {
            DurabilityWanted::Written
        };
        partition.start_sync(wanted, is_alone);
        Ok(PendingAppend {
            partition: Arc::clone(partition),
            appended,
            end: is_synced.then_some(end),
        })
    }
}

fn answer_of(appended: &storage::log::Appended) -> Appended {
    Appended {
        base_offset: appended.base_offset,
        append_time: appended.append_time,
    }
}
