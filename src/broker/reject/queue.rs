//! Rejections that wait for their turn, by partition, and how many jobs are at them.
//!
//! A partition's rejections are taken all at once: they share the reads of their records, one append and one sync, and what
//! comes meanwhile shares the next. A partition whose turn is over waits behind all others.
//!
//! The queue is bounded by what hands rejections in: each is a request that is not answered yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use storage::log_id::PartitionNumber;
use storage::offset::Offset;
use tokio::sync::oneshot;

use crate::engine::PartitionHandle;
use crate::protocol::error_code::Refusal;
use crate::protocol::reject::{RejectAnswer, RejectRequest};

/// Jobs that reject at once: each holds a thread, a batch of records and one of letters.
const JOBS_MAX: usize = 8;

/// A rejection that was checked, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) request: RejectRequest,
    /// Bytes that a batch of the partition's dead-letter log may have.
    pub(super) batch_bytes_max: u32,
    pub(super) answer: oneshot::Sender<Result<RejectAnswer, Refusal>>,
}

impl Waiting {
    pub(super) fn offset(&self) -> Offset {
        self.request.offset
    }

    /// A caller who has gone away changes nothing.
    pub(super) fn answer(self, answer: Result<RejectAnswer, Refusal>) {
        self.answer.send(answer).ok();
    }
}

/// The rejections of all partitions.
#[derive(Debug, Default)]
pub(in crate::broker) struct RejectQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A partition is here as long as it waits for a turn or has one.
    waiting: HashMap<PartitionNumber, Vec<Waiting>>,
    /// Partitions that wait for a turn.
    ready: VecDeque<Arc<PartitionHandle>>,
    job_count: usize,
}

impl RejectQueue {
    /// Adds a rejection. Returns whether the caller is to begin a job that asks for turns.
    #[must_use]
    pub(super) fn add(&self, partition: &Arc<PartitionHandle>, rejection: Waiting) -> bool {
        let mut state = self.state.lock();
        if let Some(waiting) = state.waiting.get_mut(&partition.number()) {
            waiting.push(rejection);
            return false;
        }
        state.waiting.insert(partition.number(), vec![rejection]);
        state.ready.push_back(Arc::clone(partition));
        let is_job_due = state.job_count < JOBS_MAX;
        state.job_count += usize::from(is_job_due);
        is_job_due
    }

    /// Takes what waits for the partition whose turn it is; the job then calls [`RejectQueue::end_turn`]. `None` ends the job.
    pub(super) fn next_turn(&self) -> Option<(Arc<PartitionHandle>, Vec<Waiting>)> {
        let mut state = self.state.lock();
        let Some(partition) = state.ready.pop_front() else {
            state.job_count = state.job_count.saturating_sub(1);
            return None;
        };
        let waiting = state.waiting.get_mut(&partition.number());
        let waiting = waiting.map(std::mem::take).unwrap_or_default();
        Some((partition, waiting))
    }

    /// Ends a partition's turn: what has come meanwhile waits for the next.
    pub(super) fn end_turn(&self, partition: Arc<PartitionHandle>) {
        let mut state = self.state.lock();
        let number = partition.number();
        if state.waiting.get(&number).is_some_and(Vec::is_empty) {
            state.waiting.remove(&number);
        } else {
            state.ready.push_back(partition);
        }
    }

    /// Returns how many rejections wait for a turn.
    #[cfg(test)]
    pub(super) fn waiting_count(&self) -> usize {
        self.state.lock().waiting.values().map(Vec::len).sum()
    }
}
