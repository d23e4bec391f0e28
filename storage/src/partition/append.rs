//! The owner's side of a partition: appending what producers send.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::claims::Claims;
use super::state;
use crate::batch::header::BatchHeader;
use crate::checkpoint::LogCheckpoint;
use crate::dead_letter::DeadLetterLog;
use crate::delivery::DeliveryLog;
use crate::error::LogError;
use crate::log::LogConfig;
use crate::log::{Appended, FirstUse, Log, LogPlace};
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};
use crate::producers::{ProducerLimits, Producers, Verdict};
use crate::reserve::Reserve;

/// A partition, as its one owner has it.
#[derive(Debug)]
pub struct Partition {
    pub(super) number: PartitionNumber,
    pub(super) main: Log,
    pub(super) producers: Producers,
    /// Created when the first letter comes.
    pub(super) dead_letters: Option<DeadLetterLog>,
    pub(super) dead_letter_place: LogPlace,
    pub(super) dead_letter_config: LogConfig,
    pub(super) dead_letters_first_use: FirstUse,
    /// Letters that somebody is resolving, or whose resolution has no synced marker yet.
    pub(super) claims: Claims,
    /// Main-log offsets of causes whose markers are not known synced, with the end of the marker once it is appended.
    pub(super) unsettled: BTreeMap<Offset, Option<Offset>>,
    /// Of the topic whose records are pushed.
    pub(super) push: Option<DeliveryLog>,
    /// What producers and publishers leave free.
    pub(super) reserve: Option<Arc<Reserve>>,
}

/// What became of a produced batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It was appended.
    Appended(Appended),
    /// It stands in the log already. Durable once the durable end has reached `next_offset`.
    Repeat {
        /// Offset of its first record.
        base_offset: Offset,
        /// First offset behind it (exclusive end).
        next_offset: Offset,
    },
}

/// Why a produced batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its sequence does not fit; the verdict is neither fresh nor a repeat.
    #[error("the batch does not fit its producer's sequence: {0:?}")]
    Sequence(Verdict),
    /// The log did not take it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Partition {
    /// Appends a batch that [`crate::batch::check_produced`] has accepted, unless it is a repeat.
    ///
    /// # Errors
    /// [`Refused::Sequence`], or the log's error: [`LogError::Rolling`] asks the caller to roll and call again.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        batch: &mut [u8],
        now: TimestampMs,
    ) -> Result<AppendOutcome, Refused> {
        if let Some(producer) = &header.producer {
            match self.producers.check(producer, header.record_count, now) {
                Verdict::Fresh => {}
                Verdict::Repeat {
                    base_offset,
                    next_offset,
                } => {
                    return Ok(AppendOutcome::Repeat {
                        base_offset,
                        next_offset,
                    });
                }
                verdict => return Err(Refused::Sequence(verdict)),
            }
        }
        let reserve = self.reserve.as_deref();
        let appended = self.main.append_beside(reserve, header, batch, now)?;
        // Its records have no envelopes: nothing is to be delivered.
        let count = usize::try_from(header.record_count).unwrap_or(usize::MAX);
        if self.push.is_some() {
            self.note_fresh(&appended, header, vec![None; count]);
        }
        self.producers.record(&BatchHeader {
            base_offset: appended.base_offset,
            append_time: appended.append_time,
            ..*header
        });
        Ok(AppendOutcome::Appended(appended))
    }

    /// Changes how the logs behave from now on. Their visibility and gaps stay.
    pub fn reconfigure(
        &mut self,
        main: &LogConfig,
        dead_letters: &LogConfig,
        producers: ProducerLimits,
    ) {
        self.main.reconfigure(main);
        self.producers.set_limits(producers);
        if let Some(log) = self.dead_letters.as_mut() {
            log.log_mut().reconfigure(dead_letters);
        }
        self.dead_letter_config = LogConfig {
            gaps: self.dead_letter_config.gaps.clone(),
            ..dead_letters.clone()
        };
    }

    /// Returns the partition's number.
    #[must_use]
    pub fn number(&self) -> PartitionNumber {
        self.number
    }

    /// Returns the main log.
    #[must_use]
    pub fn main(&self) -> &Log {
        &self.main
    }

    /// Returns the main log, for its syncs, rolls and heals. Appends go through [`Partition::append`].
    pub fn main_mut(&mut self) -> &mut Log {
        &mut self.main
    }

    /// Returns the checkpoint of the main log as it is written now. It may be stored once the durable end has reached its
    /// `durable_end`.
    #[must_use]
    pub fn main_checkpoint(&self) -> LogCheckpoint {
        let checkpoint = self.main.checkpoint();
        let state = state::encode(self.settled_up_to(), &self.producers);
        LogCheckpoint {
            state,
            ..checkpoint
        }
    }

    /// Returns the checkpoint of the dead-letter log likewise; `None` before the first letter.
    #[must_use]
    pub fn dead_letter_checkpoint(&self) -> Option<LogCheckpoint> {
        let dead_letters = self.dead_letters.as_ref()?;
        Some(LogCheckpoint {
            state: dead_letters.state(),
            ..dead_letters.log().checkpoint()
        })
    }

    /// Returns the checkpoint of the delivery log likewise; `None` before the first entry.
    #[must_use]
    pub fn delivery_checkpoint(&self) -> Option<LogCheckpoint> {
        self.push.as_ref()?.checkpoint()
    }

    /// Returns the first main-log offset that may hold a cause without a synced marker.
    #[must_use]
    pub fn settled_up_to(&self) -> Offset {
        self.unsettled
            .keys()
            .next()
            .copied()
            .unwrap_or_else(|| self.main.next_offset())
    }
}
