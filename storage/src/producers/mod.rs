//! The memory of a partition's idempotent producers: which batches stand in the log already.
//!
//! The state is a fold of the headers of the retained main log; what the checkpoint holds of it is a hint.
//!
//! # Rules
//! - A producer's first batch, and the first of each epoch, has sequence 0; every other one follows the one before. The
//!   sequence wraps from `u32::MAX - 1` to 0, because `u32::MAX` stands for no sequence.
//! - A batch with the sequence and the record count of one of the last [`PRODUCER_BATCHES_MAX`] is a repeat: it is answered
//!   with the offsets it has, and never appended.
//! - A lower epoch is fenced, a higher one begins anew.
//! - A producer is remembered until its last batch is older than the memory (the shorter of 24 h and the retention, by
//!   append time), lies below the log's start, or until [`PRODUCERS_MAX`] others appended after it.
//! - **A producer that is not remembered begins at sequence 0.** Anything else is refused as [`Verdict::Unknown`], also when
//!   the producer may have been known once: its batch may be a repeat whose first copy was forgotten, or may follow one that
//!   never came, and storing it would break either promise. A client that gets this for a batch that it sent for the
//!   first time takes the next epoch and begins at 0; for a batch that it sent before, the outcome is unknown and it says so.
//! - A batch behind the last one that is none of those remembered is refused as [`Verdict::Forgotten`]: it was appended
//!   long ago or is no repeat of what was.

mod codec;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::batch::header::{BatchHeader, NO_SEQUENCE, Producer};
use crate::limits::{PRODUCER_BATCHES_MAX, PRODUCER_MEMORY_MS, PRODUCERS_MAX};
use crate::offset::{Offset, TimestampMs};

/// What is to be done with a batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: append it.
    Fresh,
    /// It stands in the log: answer with its offsets, once they are as durable as was asked for.
    Repeat {
        /// Offset of its first record.
        base_offset: Offset,
        /// First offset behind it (exclusive end).
        next_offset: Offset,
    },
    /// A batch before it has not come: refuse it, it can be sent again behind that one.
    Gap {
        /// The sequence that is to come.
        expected: u32,
        /// The batch's.
        found: u32,
    },
    /// It lies behind the last one and none of those remembered is the same: refuse it for good.
    Forgotten {
        /// The sequence that is to come.
        expected: u32,
        /// The batch's.
        found: u32,
    },
    /// The producer is not remembered and the batch is not a first one: refuse it, the producer needs a new epoch.
    Unknown {
        /// The batch's sequence, where 0 was to come.
        found: u32,
    },
    /// A higher epoch has taken over: refuse it for good.
    Fenced {
        /// The epoch that has.
        current_epoch: u16,
    },
}

/// How long and of how many producers a partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerLimits {
    /// Age of a producer's last batch past which the producer is forgotten, in milliseconds.
    pub memory_ms: i64,
    /// Largest number of producers.
    pub producer_count_max: usize,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self {
            memory_ms: PRODUCER_MEMORY_MS,
            producer_count_max: PRODUCERS_MAX,
        }
    }
}

impl ProducerLimits {
    /// Returns the limits of a partition whose main log is kept this long, in milliseconds; `None` is for ever.
    #[must_use]
    pub fn of_retention(retention_ms: Option<i64>) -> Self {
        Self {
            memory_ms: retention_ms.map_or(PRODUCER_MEMORY_MS, |ms| ms.min(PRODUCER_MEMORY_MS)),
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    base_sequence: u32,
    record_count: u32,
    base_offset: Offset,
}

impl Remembered {
    fn next_sequence(&self) -> u32 {
        next_sequence(self.base_sequence, self.record_count)
    }

    fn next_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(u64::from(self.record_count)),
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ProducerState {
    epoch: u16,
    last_append_time: TimestampMs,
    /// The last batches, oldest first; never empty.
    batches: VecDeque<Remembered>,
}

/// The idempotent producers of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producers {
    limits: ProducerLimits,
    by_id: HashMap<u64, ProducerState>,
    /// Ids by the base offset of their last batch: who was silent longest comes first.
    by_last_offset: BTreeMap<Offset, u64>,
}

impl Producers {
    /// Remembers nobody.
    #[must_use]
    pub fn new(limits: ProducerLimits) -> Self {
        Self {
            limits,
            by_id: HashMap::new(),
            by_last_offset: BTreeMap::new(),
        }
    }

    /// Changes the limits, when the topic's retention was changed.
    pub fn set_limits(&mut self, limits: ProducerLimits) {
        self.limits = limits;
        self.evict();
    }

    /// Returns how many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Decides on a batch of `record_count` records before it is appended. `now` is the append time it would get.
    #[must_use]
    pub fn check(&self, producer: &Producer, record_count: u32, now: TimestampMs) -> Verdict {
        let found = producer.base_sequence;
        let known = self.by_id.get(&producer.id);
        let Some(state) = known.filter(|state| !self.is_expired(state, now)) else {
            return match found {
                0 => Verdict::Fresh,
                _ => Verdict::Unknown { found },
            };
        };
        if producer.epoch < state.epoch {
            return Verdict::Fenced {
                current_epoch: state.epoch,
            };
        }
        if producer.epoch > state.epoch {
            return match found {
                0 => Verdict::Fresh,
                _ => Verdict::Gap { expected: 0, found },
            };
        }
        state.place(found, record_count)
    }

    /// Takes note of a batch that was appended. Also the fold over the log: the log is right, whatever was remembered.
    pub fn record(&mut self, header: &BatchHeader) {
        let Some(producer) = header.producer else {
            return;
        };
        let batch = Remembered {
            base_sequence: producer.base_sequence,
            record_count: header.record_count,
            base_offset: header.base_offset,
        };
        let before = self.forget(producer.id).filter(|state| {
            // What does not follow was appended after the producer had been forgotten: two batches of one sequence must
            // never be remembered together.
            state.epoch == producer.epoch
                && state.next_sequence() == Some(batch.base_sequence)
                && !self.is_expired(state, header.append_time)
        });
        let mut batches = before.map_or_else(VecDeque::new, |state| state.batches);
        while batches.len() >= PRODUCER_BATCHES_MAX {
            batches.pop_front();
        }
        batches.push_back(batch);
        self.insert(
            producer.id,
            ProducerState {
                epoch: producer.epoch,
                last_append_time: header.append_time,
                batches,
            },
        );
        self.evict();
    }

    /// Forgets the producers whose last batch is older than the memory. `now` is the broker's time, never before the last
    /// append time.
    pub fn forget_expired(&mut self, now: TimestampMs) {
        // Append time never falls within a log, so who was silent longest expires first.
        while let Some(id) = self.silent_longest() {
            if !self
                .by_id
                .get(&id)
                .is_some_and(|state| self.is_expired(state, now))
            {
                return;
            }
            self.forget(id);
        }
    }

    /// Forgets the batches below the start of the log, when retention has moved it: what is remembered is what a fold of
    /// the retained log gives.
    pub fn forget_below(&mut self, log_start: Offset) {
        for state in self.by_id.values_mut() {
            state.batches.retain(|batch| batch.base_offset >= log_start);
        }
        self.by_id.retain(|_, state| !state.batches.is_empty());
        self.by_last_offset = self.by_last_offset.split_off(&log_start);
    }

    fn is_expired(&self, state: &ProducerState, now: TimestampMs) -> bool {
        now.since(state.last_append_time) > self.limits.memory_ms
    }

    fn silent_longest(&self) -> Option<u64> {
        self.by_last_offset.first_key_value().map(|(_, id)| *id)
    }

    fn insert(&mut self, id: u64, state: ProducerState) {
        if let Some(last) = state.last_offset() {
            self.by_last_offset.insert(last, id);
            self.by_id.insert(id, state);
        }
    }

    fn forget(&mut self, id: u64) -> Option<ProducerState> {
        let state = self.by_id.remove(&id)?;
        if let Some(last) = state.last_offset() {
            self.by_last_offset.remove(&last);
        }
        Some(state)
    }

    fn evict(&mut self) {
        while self.by_id.len() > self.limits.producer_count_max {
            let Some(id) = self.silent_longest() else {
                return;
            };
            self.forget(id);
        }
    }
}

impl ProducerState {
    fn last_offset(&self) -> Option<Offset> {
        self.batches.back().map(|batch| batch.base_offset)
    }

    fn next_sequence(&self) -> Option<u32> {
        self.batches.back().map(Remembered::next_sequence)
    }

    /// Places a batch of the current epoch.
    fn place(&self, found: u32, record_count: u32) -> Verdict {
        let expected = self.next_sequence().unwrap_or(0);
        if found == expected {
            return Verdict::Fresh;
        }
        let same = |batch: &&Remembered| {
            batch.base_sequence == found && batch.record_count == record_count
        };
        if let Some(batch) = self.batches.iter().find(same) {
            return Verdict::Repeat {
                base_offset: batch.base_offset,
                next_offset: batch.next_offset(),
            };
        }
        // Sequences go round: what is less than half a round ahead is to come, the rest has been.
        let ahead = (u64::from(found) + SEQUENCES - u64::from(expected)) % SEQUENCES;
        if ahead < SEQUENCES / 2 {
            Verdict::Gap { expected, found }
        } else {
            Verdict::Forgotten { expected, found }
        }
    }
}

/// How many sequences there are: 0 to `u32::MAX - 1`.
const SEQUENCES: u64 = 0xFFFF_FFFF;
const _: () = assert!(NO_SEQUENCE as u64 == SEQUENCES);

/// Returns the sequence of the batch that follows one of `record_count` records with this base sequence.
#[must_use]
pub fn next_sequence(base_sequence: u32, record_count: u32) -> u32 {
    let next = (u64::from(base_sequence) + u64::from(record_count)) % SEQUENCES;
    u32::try_from(next).unwrap_or(0)
}

#[cfg(test)]
mod tests;
