//! Resolving dead letters: republishing and deleting them, one or many.
//!
//! The work blocks on the disk, so it runs on threads of its own, a few at a time. A caller is answered at the commit point;
//! the markers follow on the same thread.

mod answers;
mod share;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use storage::dead_letter::PlacedLetter;
use storage::error::LogError;
use storage::log_id::LogKind;
use storage::offset::Offset;
use storage::partition::{Hooks, Outcome, Republished as Committed, Resolver, Step, Who};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use answers::{deleted, republished, still_busy};
pub(super) use share::Change;
use share::{Share, by_partition, change_all, share_out};

use super::select::{select, unknown_letter};
use super::{Broker, refusal};
use crate::causes::Causes;
use crate::engine::PartitionHandle;
use crate::failpoint;
use crate::limits::{REQUEST_ID_BYTES_MAX, RESOLVE_BYTES_MAX};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::{
    DeleteLettersAnswer, DeleteLettersRequest, Republished, RetryLettersAnswer, RetryLettersRequest,
};
use crate::protocol::selection::{Page, Selection};
use crate::topic::Topic;

/// Bytes of letters that a retry of a page holds in memory at a time.
const PART_BYTES_GOAL: u32 = 4 << 20;
/// How long a caller waits for another one who resolves the same letter.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long one step of that wait is, should no change be told.
const BUSY_STEP: Duration = Duration::from_millis(100);
/// How long one step of a wait for somebody else's roll or sync is, should no change be told.
const STEP_WAIT: Duration = Duration::from_millis(5);

impl Broker {
    /// Republishes letters. Answered when their fresh records are synced.
    ///
    /// # Errors
    /// As [`Broker::list_letters`]; what became of each letter stands in the answer.
    pub async fn retry_letters(
        self: &Arc<Self>,
        request: RetryLettersRequest,
        who: String,
    ) -> Result<RetryLettersAnswer, Refusal> {
        self.retry_changed(request, who, None).await
    }

    /// As [`Broker::retry_letters`], with each letter changed before it is sent back.
    pub(super) async fn retry_changed(
        self: &Arc<Self>,
        request: RetryLettersRequest,
        who: String,
        change: Option<Change>,
    ) -> Result<RetryLettersAnswer, Refusal> {
        let permit = self.may_resolve().await;
        let (answer, answered) = oneshot::channel();
        let this = Arc::clone(self);
        self.pool.begin(move || {
            let _permit = permit;
            this.retry_blocking(&request, (&who, change), answer);
        });
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Waits until one more operation may be under way. The permit goes with the work, which goes on without its caller.
    pub(super) async fn may_resolve(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.resolving).acquire_owned().await.ok()
    }

    fn retry_blocking(
        &self,
        request: &RetryLettersRequest,
        (who, change): (&str, Option<Change>),
        answer: oneshot::Sender<Result<RetryLettersAnswer, Refusal>>,
    ) {
        let who = Who {
            name: who,
            request_id: request.request_id.as_deref(),
        };
        let mut committed = Vec::new();
        let result = self.retry_selected(request, (who, change), &mut committed);
        // The commit point is passed: a caller who has gone away changes nothing.
        answer.send(result).ok();
        for (partition, republished) in by_partition(committed) {
            let finished =
                self.with_resolver(&partition, who, |resolver| resolver.finish(&republished));
            if let Err(error) = finished {
                tracing::warn!(partition = partition.number().0, error = %Causes(&error), "markers of republished letters come later");
            }
        }
    }

    fn retry_selected(
        &self,
        request: &RetryLettersRequest,
        (who, change): (Who<'_>, Option<Change>),
        committed: &mut Vec<(Arc<PartitionHandle>, Committed)>,
    ) -> Result<RetryLettersAnswer, Refusal> {
        within(
            "the request id",
            who.request_id.map_or(0, str::len),
            REQUEST_ID_BYTES_MAX,
        )?;
        let topic = self.topic(&request.topic)?;
        let mut page = request.page.clone();
        let mut answer = RetryLettersAnswer::default();
        // Part by part: what one part takes in memory is used again for the next.
        loop {
            let part = self.retry_part(
                (&topic, &request.selection, &page),
                (who, change.as_ref()),
                committed,
            );
            let part = match part {
                // What was republished is answered; the next call begins where this one could not go on.
                Err(_) if !answer.letters.is_empty() => return Ok(answer),
                part => part?,
            };
            page.limit = page
                .limit
                .saturating_sub(u32::try_from(part.letters.len()).unwrap_or(u32::MAX));
            answer.letters.extend(part.letters);
            answer.cursor.clone_from(&part.cursor);
            if page.limit == 0 || part.cursor.is_none() {
                return Ok(answer);
            }
            page.cursor = part.cursor;
        }
    }

    /// Republishes letters of a page from its start, as many as are held in memory at a time.
    fn retry_part(
        &self,
        (topic, selection, page): (&Arc<Topic>, &Selection, &Page),
        (who, change): (Who<'_>, Option<&Change>),
        committed: &mut Vec<(Arc<PartitionHandle>, Committed)>,
    ) -> Result<RetryLettersAnswer, Refusal> {
        let bytes_max = match selection {
            Selection::Ids(_) => RESOLVE_BYTES_MAX,
            Selection::Filter(_) | Selection::All => PART_BYTES_GOAL,
        };
        let page = select(topic, selection, page, bytes_max)?;
        let (mut answers, mut shares) = share_out(page.letters);
        if let Some(change) = change {
            for (at, refusal) in change_all(&mut shares, change) {
                if let Some((_, place)) = answers.get_mut(at) {
                    *place = Err(refusal);
                }
            }
        }
        let batch_bytes_max = topic.settings().batch_bytes_max;
        for share in shares {
            for outcome in self.retry_share(share, who, batch_bytes_max, committed) {
                let (at, result) = outcome;
                if let Some((id, place)) = answers.get_mut(at) {
                    *place = result.map_err(|code| code.unwrap_or_else(|| unknown_letter(id)));
                }
            }
        }
        Ok(RetryLettersAnswer {
            letters: answers,
            cursor: page.cursor,
        })
    }

    /// Republishes the letters of one partition, batch by batch; waits for whoever else is resolving some of them.
    fn retry_share(
        &self,
        share: Share,
        who: Who<'_>,
        batch_bytes_max: u32,
        committed: &mut Vec<(Arc<PartitionHandle>, Committed)>,
    ) -> Vec<(usize, Result<Republished, Option<Refusal>>)> {
        let mut results = Vec::new();
        let (partition, index, letters, places) = share.into_parts();
        for batch in Resolver::batches(letters, batch_bytes_max) {
            let outcomes = self.until_not_busy(&partition, batch, |batch| {
                let (outcomes, done) =
                    self.with_resolver(&partition, who, |resolver| resolver.republish(batch));
                if let Some(done) = done {
                    let count = u64::try_from(done.letters.len()).unwrap_or(u64::MAX);
                    self.metrics.dead_letters.republished.inc_by(count);
                    committed.push((Arc::clone(&partition), done));
                }
                outcomes
            });
            for (offset, outcome) in outcomes {
                let Some(at) = places.get(&offset) else {
                    continue;
                };
                results.push((*at, republished((partition.number(), index), outcome)));
            }
        }
        results
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
        let page = select(&topic, &request.selection, &request.page, RESOLVE_BYTES_MAX)?;
        let (mut answers, shares) = share_out::<bool>(page.letters);
        for share in shares {
            let (partition, _, letters, places) = share.into_parts();
            let outcomes = self.until_not_busy(&partition, letters, |batch| {
                let offsets: Vec<_> = batch.iter().map(|(offset, _)| *offset).collect();
                let outcomes =
                    self.with_resolver(&partition, who, |resolver| resolver.delete(&offsets));
                let deleted = outcomes
                    .letters
                    .iter()
                    .filter(|(_, outcome)| *outcome == Outcome::Deleted)
                    .count();
                self.metrics
                    .dead_letters
                    .deleted
                    .inc_by(u64::try_from(deleted).unwrap_or(u64::MAX));
                outcomes
            });
            for (offset, outcome) in outcomes {
                let Some(at) = places.get(&offset) else {
                    continue;
                };
                if let Some((id, place)) = answers.get_mut(*at) {
                    *place = deleted(id, outcome);
                }
            }
        }
        Ok(DeleteLettersAnswer {
            letters: answers,
            cursor: page.cursor,
        })
    }

    /// Calls `act` with the letters, then with those that were busy, until none is or the wait is over.
    fn until_not_busy(
        &self,
        partition: &PartitionHandle,
        mut letters: Vec<PlacedLetter>,
        mut act: impl FnMut(&[PlacedLetter]) -> storage::partition::Outcomes,
    ) -> Vec<(Offset, Result<Outcome, Option<Refusal>>)> {
        let mut results = Vec::new();
        let started = self.clock.monotonic();
        loop {
            let outcomes = act(&letters);
            let error = outcomes.error.as_ref().map(refusal::of_log);
            let waited = self.clock.monotonic().saturating_sub(started);
            let is_last = waited > BUSY_WAIT_MAX || self.shutdown.is_triggered();
            let mut busy = HashSet::new();
            for (offset, outcome) in outcomes.letters {
                match outcome {
                    Outcome::Busy if is_last => results.push((offset, Err(Some(still_busy())))),
                    Outcome::Busy => {
                        busy.insert(offset);
                    }
                    Outcome::Failed => {
                        results.push((offset, Err(error.clone().or_else(|| Some(still_busy())))));
                    }
                    outcome => results.push((offset, Ok(outcome))),
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

pub(super) fn ended() -> Refusal {
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
    let who = Who {
        name: "recovery",
        request_id: None,
    };
    broker.with_resolver(partition, who, |resolver| resolver.finish(&due))
}
