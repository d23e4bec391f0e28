//! Rejecting records: dead-lettering what a group cannot process.

use std::sync::Arc;

use storage::address::Address;
use storage::partition::{RejectOutcome, Rejection, Who, prepare_letter};

use super::resolve::{ended, within};
use super::{Broker, partition_of, refusal};
use crate::limits::{REJECT_DETAILS_BYTES_MAX, REJECT_REASON_BYTES_MAX};
use crate::metrics::DispositionLabel;
use crate::names::GroupName;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::reject::{RejectAnswer, RejectRequest};

impl Broker {
    /// Dead-letters a record for a group. Answered when the letter is durable.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidGroupName`], [`ErrorCode::LimitExceeded`], [`ErrorCode::ReservedTopic`],
    /// [`ErrorCode::OffsetOutOfRange`], or the log's.
    pub async fn reject(self: &Arc<Self>, request: RejectRequest) -> Result<RejectAnswer, Refusal> {
        let permit = self.may_resolve().await;
        let this = Arc::clone(self);
        let done = self.pool.run(move || {
            let _permit = permit;
            this.reject_blocking(&request)
        });
        done.await.unwrap_or_else(|_| Err(ended()))
    }

    fn reject_blocking(&self, request: &RejectRequest) -> Result<RejectAnswer, Refusal> {
        let group = GroupName::parse(&request.group)
            .map_err(|error| Refusal::new(ErrorCode::InvalidGroupName, error.to_string()))?;
        within(
            "the reason",
            request.reason.as_str().len(),
            REJECT_REASON_BYTES_MAX,
        )?;
        let details = request
            .details
            .as_ref()
            .map(crate::protocol::cursor::Text::as_str);
        within(
            "the text of the details",
            details.map_or(0, str::len),
            REJECT_DETAILS_BYTES_MAX,
        )?;
        let topic = self.topic(&request.topic)?;
        if topic.name().is_internal() {
            // What becomes of its records is the broker's own affair.
            let message = format!("topic {} belongs to the broker", topic.name());
            return Err(Refusal::new(ErrorCode::ReservedTopic, message));
        }
        let partition = partition_of(&topic, request.partition)?;
        let rejection = Rejection {
            topic: &request.topic,
            partition_index: request.partition,
            group: group.as_str(),
            offset: request.offset,
            reason: request.reason.as_str(),
            details,
        };
        let letter = prepare_letter(partition.reader(), &rejection, self.clock.now())
            .map_err(|error| refusal::of_log(&error))?;
        let who = Who {
            name: group.as_str(),
            request_id: None,
        };
        let outcome = self
            .with_resolver(&partition, who, |resolver| resolver.reject(&letter))
            .map_err(|error| refusal::of_log(&error))?;
        let is_new = matches!(outcome, RejectOutcome::Appended { .. });
        if is_new {
            let label = DispositionLabel::new(letter.disposition.0);
            self.metrics
                .dead_letters
                .letters
                .get_or_create(&label)
                .inc();
        }
        let letter_id = Address::letter(partition.number(), outcome.letter()).to_string();
        Ok(RejectAnswer { letter_id, is_new })
    }
}
