//! What the callers are told of each letter. PURE.

use storage::address::Address;
use storage::log_id::PartitionNumber;
use storage::partition::Outcome;

use crate::broker::select::unknown_letter;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::Republished;

/// `None` as an error stands for a letter that is not there.
pub(super) fn republished(
    (partition, index): (PartitionNumber, u32),
    outcome: Result<Outcome, Option<Refusal>>,
) -> Result<Republished, Option<Refusal>> {
    match outcome? {
        Outcome::Republished { target, is_repeat } => Ok(Republished {
            message_id: Address::message(partition, target).to_string(),
            partition: index,
            offset: target,
            is_new: !is_repeat,
        }),
        Outcome::Deleted | Outcome::NotFound | Outcome::Busy | Outcome::Failed => Err(None),
    }
}

pub(super) fn deleted(
    id: &str,
    outcome: Result<Outcome, Option<Refusal>>,
) -> Result<bool, Refusal> {
    match outcome {
        Ok(Outcome::Deleted) => Ok(true),
        Ok(Outcome::Republished { .. }) => Err(Refusal::new(
            ErrorCode::LetterResolved,
            format!("dead letter {id} was republished"),
        )),
        Ok(Outcome::NotFound | Outcome::Busy | Outcome::Failed) | Err(None) => {
            Err(unknown_letter(id))
        }
        Err(Some(refusal)) => Err(refusal),
    }
}

pub(super) fn still_busy() -> Refusal {
    Refusal::new(
        ErrorCode::TimedOut,
        "somebody else is resolving the letter, ask again",
    )
}

pub(super) fn unknown_outcome() -> Refusal {
    Refusal::new(
        ErrorCode::OutcomeUnknown,
        "what became of the letter is not known",
    )
}
