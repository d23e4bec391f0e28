//! Rejecting records: dead-lettering what a group cannot process.
//!
//! Rejections are carried out in turns, all that wait for a partition together: however many callers reject at once, they
//! wait for one sync and hold one thread.

mod queue;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use storage::address::Address;
use storage::dead_letter::DeadLetter;
use storage::partition::{RecentBatches, RejectOutcome, Rejection, Who, prepare_letter};
use tokio::sync::oneshot;

pub(super) use queue::RejectQueue;
use queue::Waiting;

use super::resolve::{ended, within};
use super::{Broker, partition_of, refusal};
use crate::engine::PartitionHandle;
use crate::limits::{REJECT_DETAILS_BYTES_MAX, REJECT_REASON_BYTES_MAX};
use crate::metrics::DispositionLabel;
use crate::names::GroupName;
use crate::protocol::cursor::Text;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::reject::{RejectAnswer, RejectRequest};
use crate::topic::dead_letter_config;

/// Letters that are appended together, with those who wait for them.
#[derive(Default)]
struct Run {
    letters: Vec<DeadLetter>,
    waiting: Vec<Waiting>,
    /// Bytes that they take at most: as many as one batch may have.
    bytes: usize,
}

impl Broker {
    /// Dead-letters a record for a group. Answered when the letter is durable.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidGroupName`], [`ErrorCode::LimitExceeded`], [`ErrorCode::ReservedTopic`],
    /// [`ErrorCode::OffsetOutOfRange`], or the log's.
    pub async fn reject(self: &Arc<Self>, request: RejectRequest) -> Result<RejectAnswer, Refusal> {
        check(&request)?;
        let topic = self.topic(&request.topic)?;
        if topic.name().is_internal() {
            // What becomes of its records is the broker's own affair.
            let message = format!("topic {} belongs to the broker", topic.name());
            return Err(Refusal::new(ErrorCode::ReservedTopic, message));
        }
        let partition = partition_of(&topic, request.partition)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            request,
            batch_bytes_max: dead_letter_config(&topic.settings()).batch_bytes_max,
            answer,
        };
        if self.rejects.add(&partition, waiting) {
            let this = Arc::clone(self);
            self.pool.begin(move || this.reject_in_turns());
        }
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    fn reject_in_turns(&self) {
        while let Some((partition, waiting)) = self.rejects.next_turn() {
            // Should it fail inside, those who wait are told that there is no answer, and the others have their turns.
            let turn = AssertUnwindSafe(|| self.reject_together(&partition, waiting));
            catch_unwind(turn).ok();
            self.rejects.end_turn(partition);
        }
    }

    fn reject_together(&self, partition: &Arc<PartitionHandle>, mut waiting: Vec<Waiting>) {
        // Neighbours stand in one batch.
        waiting.sort_by_key(Waiting::offset);
        let mut recent = RecentBatches::default();
        let mut run = Run::default();
        for rejection in waiting {
            let letter = {
                let request = &rejection.request;
                let wanted = Rejection {
                    topic: &request.topic,
                    partition_index: request.partition,
                    group: &request.group,
                    offset: request.offset,
                    reason: request.reason.as_str(),
                    details: request.details.as_ref().map(Text::as_str),
                };
                prepare_letter(partition.reader(), &mut recent, &wanted, self.clock.now())
            };
            match letter {
                Ok(letter) => {
                    let bytes = letter.weight();
                    let bytes_max = usize::try_from(rejection.batch_bytes_max);
                    if run.bytes.saturating_add(bytes) > bytes_max.unwrap_or(usize::MAX) {
                        self.reject_run(partition, std::mem::take(&mut run));
                    }
                    run.bytes = run.bytes.saturating_add(bytes);
                    run.letters.push(letter);
                    run.waiting.push(rejection);
                }
                Err(error) => rejection.answer(Err(refusal::of_log(&error))),
            }
        }
        self.reject_run(partition, run);
    }

    fn reject_run(&self, partition: &Arc<PartitionHandle>, run: Run) {
        if run.letters.is_empty() {
            return;
        }
        let nobody = Who {
            name: "",
            request_id: None,
        };
        let (outcomes, error) =
            self.with_resolver(partition, nobody, |resolver| resolver.reject(&run.letters));
        let mut waiting = run.waiting.into_iter();
        for (outcome, rejection) in outcomes.into_iter().zip(waiting.by_ref()) {
            rejection.answer(Ok(self.rejected(partition, outcome)));
        }
        if let Some(error) = error {
            let refusal = refusal::of_log(&error);
            for rejection in waiting {
                rejection.answer(Err(refusal.clone()));
            }
        }
    }

    fn rejected(&self, partition: &PartitionHandle, outcome: RejectOutcome) -> RejectAnswer {
        let is_new = matches!(outcome, RejectOutcome::Appended { .. });
        if is_new {
            let label = DispositionLabel::new(storage::dead_letter::Disposition::REJECTED.0);
            let letters = &self.metrics.dead_letters.appended;
            letters.get_or_create(&label).inc();
        }
        let letter_id = Address::letter(partition.number(), outcome.letter()).to_string();
        RejectAnswer { letter_id, is_new }
    }
}

/// Checks what needs no log.
fn check(request: &RejectRequest) -> Result<(), Refusal> {
    GroupName::parse(&request.group)
        .map_err(|error| Refusal::new(ErrorCode::InvalidGroupName, error.to_string()))?;
    within(
        "the reason",
        request.reason.as_str().len(),
        REJECT_REASON_BYTES_MAX,
    )?;
    within(
        "the text of the details",
        request
            .details
            .as_ref()
            .map_or(0, |text| text.as_str().len()),
        REJECT_DETAILS_BYTES_MAX,
    )
}
