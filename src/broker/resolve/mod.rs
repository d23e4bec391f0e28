//! Resolving dead letters: republishing and deleting them, one or many.
//!
//! The work blocks on the disk, so it runs on threads of its own, a few at a time. A caller is answered at the commit point;
//! the markers follow on the same thread.

mod answers;
mod retry;
mod share;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use storage::buffers::Buffers;
use storage::dead_letter::DeadLetterView;
use storage::error::LogError;
use storage::limits::READ_BUFFERS_BYTES_MAX;
use storage::log_id::LogKind;
use storage::offset::Offset;
use storage::partition::{Hooks, Outcome, Resolver, Step, Who};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use answers::{deleted, still_busy, unknown_outcome};
pub(super) use share::Change;
use share::share_out;

use super::select::select_places;
use super::{Broker, refusal};
use crate::engine::PartitionHandle;
use crate::failpoint;
use crate::limits::{REQUEST_ID_BYTES_MAX, RESOLVE_BYTES_MAX};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::{DeleteLettersAnswer, DeleteLettersRequest};

/// How long a call waits for others who resolve the same letters, from its beginning on.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long one step of that wait is, should no change be told.
const BUSY_STEP: Duration = Duration::from_millis(100);
/// Shortest time between two attempts.
const BUSY_REST: Duration = Duration::from_millis(2);
/// How long one step of a wait for somebody else's roll or sync is, should no change be told.
const STEP_WAIT: Duration = Duration::from_millis(5);

/// Retries and deletions that may be under way at once: each holds a thread and a batch in memory.
pub(super) const RESOLVING_MAX: usize = 8;

/// What the operations that are under way share.
#[derive(Debug)]
pub(super) struct Resolving {
    pub(super) permits: Arc<Semaphore>,
    /// Where letters are read into.
    pub(super) buffers: Arc<Buffers>,
}

impl Default for Resolving {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(RESOLVING_MAX)),
            buffers: DeadLetterView::buffers(READ_BUFFERS_BYTES_MAX),
        }
    }
}

impl Broker {
    /// Waits until one more operation may be under way. The permit goes with the work, which goes on without its caller.
    pub(super) async fn may_resolve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.resolving.permits)
            .acquire_owned()
            .await
            .ok()
    }

    /// Deletes letters. Answered when their markers are synced.
    ///
    /// # Errors
    /// As [`Broker::list_letters`]; what became of each letter stands in the answer.
    pub async fn delete_letters(
        self: &Arc<Self>,
        request: DeleteLettersRequest,
        who: String,
    ) -> Result<DeleteLettersAnswer, Refusal> {
        let permit = self.may_resolve().await;
        let this = Arc::clone(self);
        let done = self.pool.run(move || {
            let _permit = permit;
            this.delete_blocking(&request, &who)
        });
        done.await.unwrap_or_else(|_| Err(ended()))
    }

    fn delete_blocking(
        &self,
        request: &DeleteLettersRequest,
        who: &str,
    ) -> Result<DeleteLettersAnswer, Refusal> {
        let who = Who {
            name: who,
            request_id: request.request_id.as_deref(),
        };
        within(
            "the request id",
            who.request_id.map_or(0, str::len),
            REQUEST_ID_BYTES_MAX,
        )?;
        let topic = self.topic(&request.topic)?;
        let bounds = (RESOLVE_BYTES_MAX, &self.resolving.buffers);
        let page = select_places(&topic, &request.selection, &request.page, bounds)?;
        let busy_until = self.busy_until();
        let (mut answers, shares) = share_out::<bool, ()>(page.letters);
        for share in shares {
            let (partition, _, letters, places) = share.into_parts();
            let outcomes = self.until_not_busy(&partition, letters, busy_until, |batch| {
                let offsets: Vec<_> = batch.iter().map(|(offset, ())| *offset).collect();
                self.with_resolver(&partition, who, |resolver| resolver.delete(&offsets))
            });
            for (offset, outcome) in outcomes {
                let at = places.get(offset);
                if let Some((id, place)) = at.and_then(|at| answers.get_mut(at)) {
                    *place = deleted(id, outcome);
                }
            }
        }
        Ok(DeleteLettersAnswer {
            letters: answers,
            cursor: page.cursor,
        })
    }

    /// Returns until when a call that begins now waits for letters that others are resolving, however many there are.
    fn busy_until(&self) -> Duration {
        self.clock.monotonic().saturating_add(BUSY_WAIT_MAX)
    }

    /// Calls `act` with the letters, then with those that were busy, until none is or the wait is over.
    fn until_not_busy<L>(
        &self,
        partition: &PartitionHandle,
        mut letters: Vec<(Offset, L)>,
        busy_until: Duration,
        mut act: impl FnMut(&[(Offset, L)]) -> storage::partition::Outcomes,
    ) -> Vec<Settled> {
        let mut results = Vec::new();
        loop {
            let outcomes = act(&letters);
            let error = outcomes.error.as_ref().map(refusal::of_log);
            let is_over = self.clock.monotonic() > busy_until;
            let is_last = is_over || self.shutdown.is_triggered();
            let mut busy = HashSet::new();
            for (offset, outcome) in outcomes.letters {
                match outcome {
                    Outcome::Busy if is_last => results.push((offset, Err(Some(still_busy())))),
                    Outcome::Busy => {
                        busy.insert(offset);
                    }
                    outcome => results.push(settle(offset, outcome, error.as_ref())),
                }
            }
            if busy.is_empty() {
                return results;
            }
            letters.retain(|(offset, _)| busy.contains(offset));
            // Only from here on: the attempt tells of a change itself, which is no reason to try again at once. What is missed is
            // seen a step later.
            let mut changes = partition.subscribe(LogKind::Main);
            let next = async move { drop(changes.changed().await) };
            self.pool.wait(next, BUSY_STEP);
            // The attempts of others who wait for the same letter tell of themselves too: without a rest they would wake each
            // other all the time.
            self.pool.pause(BUSY_REST);
        }
    }

    /// Brings a resolver for a partition along: the broker's time, its switches for tests, and its ways to wait and to tell.
    pub(super) fn with_resolver<T>(
        &self,
        partition: &Arc<PartitionHandle>,
        who: Who<'_>,
        act: impl FnOnce(&Resolver<'_>) -> T,
    ) -> T {
        let now = || self.clock.now();
        let after = |step| {
            partition.notify(LogKind::Main);
            self.pool.step();
            failpoint::hit(match step {
                Step::Claimed => "republish-claimed",
                Step::Written => "republish-written",
                Step::Synced => "republish-synced",
                Step::MarkersWritten => "republish-markers-written",
                Step::MarkersSynced => "republish-markers-synced",
            });
        };
        let wait = || {
            let mut changes = partition.subscribe(LogKind::Main);
            let next = async move { drop(changes.changed().await) };
            self.pool.wait(next, STEP_WAIT);
        };
        let hooks = Hooks {
            now: &now,
            after: &after,
            wait: &wait,
        };
        let result = act(&Resolver {
            owner: partition.owner(),
            who,
            hooks,
        });
        partition.notify(LogKind::Main);
        partition.notify(LogKind::DeadLetter);
        result
    }
}

/// What became of a letter; `None` as an error stands for a letter that is not there.
type Settled = (Offset, Result<Outcome, Option<Refusal>>);

/// Says what became of a letter, with the error that made letters of its batch fail.
fn settle(offset: Offset, outcome: Outcome, error: Option<&Refusal>) -> Settled {
    let result = match outcome {
        Outcome::Failed => Err(Some(error.cloned().unwrap_or_else(unknown_outcome))),
        outcome => Ok(outcome),
    };
    (offset, result)
}

pub(in crate::broker) fn ended() -> Refusal {
    Refusal::new(ErrorCode::ShuttingDown, "the broker is ending")
}

pub(super) fn within(what: &str, bytes: usize, bytes_max: u32) -> Result<(), Refusal> {
    if bytes <= usize::try_from(bytes_max).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let message = format!("{what} has {bytes} bytes, at most {bytes_max} are taken");
    Err(Refusal::new(ErrorCode::LimitExceeded, message))
}

/// Appends the markers that a failed write of the dead-letter log had left out.
pub(super) fn finish_due(
    broker: &Broker,
    partition: &Arc<PartitionHandle>,
) -> Result<(), LogError> {
    let due = partition.owner().lock().due_markers();
    if due.is_empty() {
        // Nothing has changed: whoever waits for a change is not to be woken each second.
        return Ok(());
    }
    let who = Who {
        name: "recovery",
        request_id: None,
    };
    broker.with_resolver(partition, who, |resolver| resolver.finish(&due))
}
