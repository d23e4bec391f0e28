//! From the broker's refusals to HTTP: one exhaustive match.

use hyper::StatusCode;

use super::error::ApiError;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Seconds after which a client may ask again: a failed write is healed, and space is measured, about once a second.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What an answer says besides where nobody can know what became of the request.
const MAY_BE_STORED: &str =
    "what was asked for may be stored and done all the same, so look before asking again";

/// Returns a refusal as an answer. Only what was surely not done is 503: clients ask that again by themselves, and a publish that
/// was stored would be two messages.
#[must_use]
pub fn refused(refusal: &Refusal) -> ApiError {
    let status = status(refusal.code);
    if refusal.code == ErrorCode::OutcomeUnknown {
        return ApiError::new(status, format!("{}: {MAY_BE_STORED}", refusal.message));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        ApiError::unavailable(refusal.message.clone(), RETRY_AFTER_SECONDS)
    } else {
        ApiError::new(status, refusal.message.clone())
    }
}

/// Returns the status that stands for a code.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::MalformedRequest
        | ErrorCode::UnknownApi
        | ErrorCode::UnsupportedVersion
        | ErrorCode::HandshakeExpected
        | ErrorCode::InvalidTopicName
        | ErrorCode::InvalidSettings
        | ErrorCode::CorruptBatch
        | ErrorCode::InvalidBatch
        | ErrorCode::ReservedHeader
        | ErrorCode::InvalidGroupName
        | ErrorCode::InvalidLetterId
        | ErrorCode::InvalidCursor
        | ErrorCode::InvalidSelection
        | ErrorCode::LimitExceeded => StatusCode::BAD_REQUEST,
        ErrorCode::WrongToken => StatusCode::UNAUTHORIZED,
        ErrorCode::ReservedTopic => StatusCode::FORBIDDEN,
        ErrorCode::UnknownTopic
        | ErrorCode::UnknownPartition
        | ErrorCode::UnknownGroup
        | ErrorCode::UnknownLetter
        | ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::TopicExists
        | ErrorCode::TopicInUse
        | ErrorCode::OutOfOrderSequence
        | ErrorCode::ProducerFenced
        | ErrorCode::UnknownProducer
        | ErrorCode::DuplicateSequence
        | ErrorCode::LetterResolved
        | ErrorCode::ReadOnly => StatusCode::CONFLICT,
        ErrorCode::FrameTooLarge | ErrorCode::BatchTooLarge | ErrorCode::RecordTooLarge => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        ErrorCode::OffsetOutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::LogPoisoned
        | ErrorCode::StorageFull
        | ErrorCode::Overloaded
        | ErrorCode::ShuttingDown
        | ErrorCode::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::OutcomeUnknown
        | ErrorCode::DamagedRecords
        | ErrorCode::StorageFailed
        | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_503_with_retry_after() {
        for code in ErrorCode::ALL {
            let response = refused(&Refusal::new(*code, "why")).to_response();
            // A batch that was damaged on its way comes by the binary protocol only, and so does a producer who may ask again
            // whatever became of the first request.
            let is_retryable = code.is_retryable()
                && !matches!(code, ErrorCode::CorruptBatch | ErrorCode::OutcomeUnknown);
            assert_eq!(response.status() == 503, is_retryable, "{code:?}");
            assert_eq!(
                response.headers().contains_key("retry-after"),
                is_retryable,
                "{code:?}"
            );
            assert!(response.status().as_u16() >= 400, "{code:?}");
        }
    }

    #[test]
    fn what_may_have_been_done_does_not_invite_to_ask_again() {
        let error = refused(&Refusal::new(ErrorCode::OutcomeUnknown, "the sync failed"));
        assert_eq!(error.status, 500);
        assert!(
            error
                .message
                .starts_with("the sync failed: what was asked for may be stored"),
            "{error}"
        );
        assert!(!error.to_response().headers().contains_key("retry-after"));
    }
}
