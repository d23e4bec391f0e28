//! Republishing letters, part by part: while the fresh records of some parts are synced, those of the next one are written, and
//! the one behind it is selected.
//!
//! Invariants:
//! - What is in memory are the letters of two parts (of the one that is selected, as many of each partition), and of the
//!   [`UNCOMMITTED_PARTS_MAX`] before them only who they are.
//! - A call ends behind [`RESOLVE_BYTES_MAX`] of letters, however many it may have: who waits for its answer knows how long that
//!   takes.
//! - Nobody is waited for while letters are held that are not committed: two who hold what the other one wants would wait in
//!   vain. So whoever meets letters that somebody else resolves commits what is written first.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use storage::dead_letter::PlacedLetter;
use storage::log_id::{LogKind, PartitionNumber};
use storage::partition::{Outcome, Outcomes, Republished as Committed, Resolver, Who, Written};
use tokio::sync::oneshot;

use super::answers::republished;
use super::share::{Answers, ByLetter, Change, Share, by_partition, change_all, share_out};
use super::{Settled, ended, settle, within};
use crate::broker::select::{SelectedPage, select, unknown_letter};
use crate::broker::{Broker, refusal};
use crate::causes::Causes;
use crate::engine::{Begun, PartitionHandle, Unfinished};
use crate::limits::{REQUEST_ID_BYTES_MAX, RESOLVE_BYTES_MAX};
use crate::protocol::error_code::Refusal;
use crate::protocol::resolve_letters::{Republished, RetryLettersAnswer, RetryLettersRequest};
use crate::protocol::selection::{Page, Selection};
use crate::topic::Topic;

/// Bytes of the letters of one part.
const PART_BYTES_GOAL: u32 = 2 << 20;
/// Parts that are written and not committed: so many that a sync which takes its time is not waited for.
const UNCOMMITTED_PARTS_MAX: usize = 8;

/// Letters of a page whose fresh records are written.
struct Part {
    answers: Answers<Republished>,
    cursor: Option<String>,
    shares: Vec<WrittenShare>,
}

/// A part that is being selected, with all that stands behind it.
struct Selecting {
    page: Page,
    begun: Begun<Result<SelectedPage, Refusal>>,
}

/// What is written of the letters of one partition.
struct WrittenShare {
    partition: Arc<PartitionHandle>,
    places: Places,
    batches: Vec<Written>,
    /// Letters that somebody else is resolving, of each batch that has some.
    busy: Vec<Vec<PlacedLetter>>,
}

/// The places in an answer of the letters of one partition.
struct Places {
    partition: (PartitionNumber, u32),
    by_letter: ByLetter,
}

/// Republishes the letters of one request.
struct Retry<'a> {
    broker: &'a Broker,
    who: Who<'a>,
    change: Option<&'a Change>,
    busy_until: Duration,
    committed: Vec<(Arc<PartitionHandle>, Committed)>,
}

impl Places {
    fn answer(&self, results: Vec<Settled>, answers: &mut Answers<Republished>) {
        for (offset, result) in results {
            let at = self.by_letter.get(offset);
            if let Some((id, place)) = at.and_then(|at| answers.get_mut(at)) {
                let result = republished(self.partition, result);
                *place = result.map_err(|code| code.unwrap_or_else(|| unknown_letter(id)));
            }
        }
    }
}

/// Returns what of a page stands behind the letters selected first.
fn behind(page: &Page, selected: &SelectedPage) -> Option<Page> {
    let count = u32::try_from(selected.letters.len()).unwrap_or(u32::MAX);
    let rest = Page {
        limit: page.limit.saturating_sub(count),
        cursor: selected.cursor.clone(),
        order: page.order,
    };
    (rest.limit > 0 && rest.cursor.is_some()).then_some(rest)
}

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
    pub(in crate::broker) async fn retry_changed(
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
        let mut retry = Retry {
            broker: self,
            who,
            change: change.as_ref(),
            busy_until: self.busy_until(),
            committed: Vec::new(),
        };
        let result = retry.run(request);
        // The commit point is passed: a caller who has gone away changes nothing.
        answer.send(result).ok();
        for (partition, republished) in by_partition(retry.committed) {
            let finished =
                self.with_resolver(&partition, who, |resolver| resolver.finish(&republished));
            if let Err(error) = finished {
                tracing::warn!(partition = partition.number().0, error = %Causes(&error), "markers of republished letters come later");
            }
        }
    }
}

impl Retry<'_> {
    fn run(&mut self, request: &RetryLettersRequest) -> Result<RetryLettersAnswer, Refusal> {
        within(
            "the request id",
            self.who.request_id.map_or(0, str::len),
            REQUEST_ID_BYTES_MAX,
        )?;
        let topic = self.broker.topic(&request.topic)?;
        let selection = Arc::new(request.selection.clone());
        let mut answer = RetryLettersAnswer::default();
        let mut next = Some(self.select(&topic, &selection, request.page.clone()));
        let mut uncommitted = VecDeque::new();
        let mut bytes_left = usize::try_from(RESOLVE_BYTES_MAX).unwrap_or(usize::MAX);
        while let Some(Selecting { page, begun }) = next.take() {
            let selected = match begun.end(&self.broker.pool) {
                Ok(selected) => selected,
                Err(Unfinished) => Err(ended()),
            };
            let selected = match selected {
                Ok(selected) => selected,
                Err(refusal) => {
                    self.commit_all(&mut uncommitted, &mut answer);
                    if answer.letters.is_empty() {
                        return Err(refusal);
                    }
                    // What was republished is answered; the next call begins where this one could not go on.
                    return Ok(answer);
                }
            };
            bytes_left = bytes_left.saturating_sub(selected.bytes());
            let rest = behind(&page, &selected).filter(|_| bytes_left > 0);
            let select = |page| self.select(&topic, &selection, page);
            next = rest.clone().map(select);
            uncommitted.push_back(self.write_part(&topic, selected));
            let must_wait = |part: &Part| part.shares.iter().any(|share| !share.busy.is_empty());
            if uncommitted.back().is_some_and(must_wait) {
                self.commit_all(&mut uncommitted, &mut answer);
                // What was selected before the wait may be resolved by now.
                next = rest.map(|page| self.select(&topic, &selection, page));
            } else if uncommitted.len() >= UNCOMMITTED_PARTS_MAX
                && let Some(oldest) = uncommitted.pop_front()
            {
                self.commit_part(oldest, &mut answer);
            }
        }
        self.commit_all(&mut uncommitted, &mut answer);
        Ok(answer)
    }

    /// Begins to select the letters of a page from its start, as many as one part has.
    fn select(&self, topic: &Arc<Topic>, selection: &Arc<Selection>, page: Page) -> Selecting {
        let bytes_max = match **selection {
            Selection::Ids(_) => RESOLVE_BYTES_MAX,
            Selection::Filter(_) | Selection::All => PART_BYTES_GOAL,
        };
        let (topic, selection, of) = (Arc::clone(topic), Arc::clone(selection), page.clone());
        let buffers = Arc::clone(&self.broker.resolving.buffers);
        let select = move || select(&topic, &selection, &of, (bytes_max, &buffers));
        let begun = self.broker.pool.fork(select);
        Selecting { page, begun }
    }

    /// Writes the fresh records of the letters of a part.
    fn write_part(&self, topic: &Topic, selected: SelectedPage) -> Part {
        let (mut answers, mut shares) = share_out(selected.letters);
        if let Some(change) = self.change {
            for (at, refusal) in change_all(&mut shares, change) {
                if let Some((_, place)) = answers.get_mut(at) {
                    *place = Err(refusal);
                }
            }
        }
        let batch_bytes_max = topic.settings().batch_bytes_max;
        let shares = shares.into_iter();
        Part {
            answers,
            cursor: selected.cursor,
            shares: shares
                .map(|share| self.write_share(share, batch_bytes_max))
                .collect(),
        }
    }

    /// Writes the fresh records of letters of one partition, batch by batch, and has one sync begin for all of them.
    fn write_share(&self, share: Share, batch_bytes_max: u32) -> WrittenShare {
        let (partition, index, letters, places) = share.into_parts();
        let mut batches = Vec::new();
        let mut busy = Vec::new();
        for letters in Resolver::batches(letters, batch_bytes_max) {
            let written = self.broker.with_resolver(&partition, self.who, |resolver| {
                resolver.write_fresh(&letters)
            });
            let is_busy: HashSet<_> = written.busy().collect();
            if !is_busy.is_empty() {
                let letters = letters.into_iter();
                let of_others = letters.filter(|(offset, _)| is_busy.contains(offset));
                busy.push(of_others.collect());
            }
            batches.push(written);
        }
        partition.schedule_sync(LogKind::Main);
        let places = Places {
            partition: (partition.number(), index),
            by_letter: places,
        };
        WrittenShare {
            partition,
            places,
            batches,
            busy,
        }
    }

    fn commit_all(&mut self, parts: &mut VecDeque<Part>, answer: &mut RetryLettersAnswer) {
        for part in parts.drain(..) {
            self.commit_part(part, answer);
        }
    }

    /// Commits all that is written, then waits for whoever is resolving some of the letters, and answers all of them.
    fn commit_part(&mut self, part: Part, answer: &mut RetryLettersAnswer) {
        let mut answers = part.answers;
        let mut busy = Vec::new();
        for share in part.shares {
            let results = self.commit_batches(&share.partition, share.batches);
            share.places.answer(results, &mut answers);
            busy.push((share.partition, share.places, share.busy));
        }
        let broker = self.broker;
        for (partition, places, of_others) in busy {
            for letters in of_others {
                let results =
                    broker.until_not_busy(&partition, letters, self.busy_until, |letters| {
                        self.republish(&partition, letters)
                    });
                places.answer(results, &mut answers);
            }
        }
        answer.letters.extend(answers);
        answer.cursor = part.cursor;
    }

    fn commit_batches(
        &mut self,
        partition: &Arc<PartitionHandle>,
        batches: Vec<Written>,
    ) -> Vec<Settled> {
        let (broker, who) = (self.broker, self.who);
        let mut results = Vec::new();
        for written in batches {
            let (outcomes, done) =
                broker.with_resolver(partition, who, |resolver| resolver.commit(written));
            self.note(partition, done);
            let error = outcomes.error.as_ref().map(refusal::of_log);
            let letters = outcomes.letters.into_iter();
            let settled = letters.filter(|(_, outcome)| *outcome != Outcome::Busy);
            results
                .extend(settled.map(|(offset, outcome)| settle(offset, outcome, error.as_ref())));
        }
        results
    }

    fn republish(
        &mut self,
        partition: &Arc<PartitionHandle>,
        letters: &[PlacedLetter],
    ) -> Outcomes {
        let (outcomes, done) = self
            .broker
            .with_resolver(partition, self.who, |resolver| resolver.republish(letters));
        self.note(partition, done);
        outcomes
    }

    fn note(&mut self, partition: &Arc<PartitionHandle>, done: Option<Committed>) {
        let done = done.map(|done| (Arc::clone(partition), done));
        self.committed.extend(done);
    }
}
