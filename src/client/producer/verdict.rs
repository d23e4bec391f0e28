//! What to do about the oldest batch in flight when its answer is there. Pure.

use super::super::error::ClientError;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::produce::Appended;

/// What is known of a batch when its answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts that one decision is made of"
)]
pub(super) struct Facts {
    /// The producer has an id, so the broker recognises a repeat.
    pub is_idempotent: bool,
    /// An earlier attempt ended with its outcome unknown.
    pub is_ambiguous: bool,
    /// The batch was sent behind one that failed for good: the broker must have refused it for the gap.
    pub is_behind_failure: bool,
    /// Its time is over.
    pub is_expired: bool,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It stands in the log.
    Settle(Appended),
    /// Send it again, and all behind it, with the same sequences.
    Repeat(ClientError),
    /// It was certainly not appended and its sequence leads nowhere: send it again, and all behind it, as a new producer.
    Renew,
    /// Give it up alone; those behind it were refused for the gap that it leaves, or will be.
    Fail(ClientError),
    /// Give it up with all behind it: any of them may have been appended.
    FailAll(ClientError),
}

/// Decides about the oldest batch in flight.
pub(super) fn judge(outcome: Result<Appended, ClientError>, facts: Facts) -> Verdict {
    let error = match outcome {
        Ok(appended) => return Verdict::Settle(appended),
        Err(error) => error,
    };
    let code = error.refusal().map(|refusal| refusal.code);
    let is_gap = code == Some(ErrorCode::OutOfOrderSequence);
    let is_forgotten = code == Some(ErrorCode::UnknownProducer);
    if facts.is_behind_failure && !facts.is_ambiguous && (is_gap || is_forgotten) {
        return Verdict::Renew;
    }
    // The broker forgets a producer that was silent for long; what it never saw it cannot have appended.
    if is_forgotten && facts.is_idempotent && !facts.is_ambiguous {
        return Verdict::Renew;
    }
    let is_unknown = facts.is_ambiguous || error.is_outcome_unknown();
    let may_repeat = error.is_retryable() && (facts.is_idempotent || !is_unknown);
    match (may_repeat && !facts.is_expired, is_unknown) {
        (true, _) => Verdict::Repeat(error),
        (false, true) => Verdict::FailAll(error),
        (false, false) => Verdict::Fail(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests may panic")]

    use std::sync::Arc;

    use storage::offset::{Offset, TimestampMs};

    use super::*;
    use crate::protocol::api_key::ApiKey;
    use crate::protocol::error_code::Refusal;

    fn refused(code: ErrorCode) -> Result<Appended, ClientError> {
        Err(ClientError::Refused {
            doing: ApiKey::Produce.doing(),
            refusal: Refusal::new(code, ""),
        })
    }

    fn lost() -> Result<Appended, ClientError> {
        Err(ClientError::Disconnected {
            addr: Arc::from("x"),
            source: None,
        })
    }

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Settle(_) => "settle",
            Verdict::Repeat(_) => "repeat",
            Verdict::Renew => "renew",
            Verdict::Fail(_) => "fail",
            Verdict::FailAll(_) => "fail all",
        }
    }

    const IDEMPOTENT: Facts = Facts {
        is_idempotent: true,
        is_ambiguous: false,
        is_behind_failure: false,
        is_expired: false,
    };

    #[test]
    fn an_appended_batch_is_settled_even_when_its_time_is_over() {
        let appended = Appended {
            base_offset: Offset(1),
            append_time: TimestampMs(2),
        };
        let facts = Facts {
            is_expired: true,
            ..IDEMPOTENT
        };
        assert_eq!(name(&judge(Ok(appended), facts)), "settle");
    }

    #[test]
    fn a_lost_connection_is_repeated_only_with_a_producer_id() {
        assert_eq!(name(&judge(lost(), IDEMPOTENT)), "repeat");
        assert_eq!(name(&judge(lost(), Facts::default())), "fail all");
    }

    #[test]
    fn a_refusal_that_may_pass_is_repeated_until_time_is_over() {
        let refusal = || refused(ErrorCode::StorageFull);
        assert_eq!(name(&judge(refusal(), IDEMPOTENT)), "repeat");
        assert_eq!(name(&judge(refusal(), Facts::default())), "repeat");
        let expired = Facts {
            is_expired: true,
            ..IDEMPOTENT
        };
        assert_eq!(name(&judge(refusal(), expired)), "fail");
        let ambiguous = Facts {
            is_ambiguous: true,
            ..expired
        };
        assert_eq!(name(&judge(refusal(), ambiguous)), "fail all");
    }

    #[test]
    fn a_refusal_for_good_fails_the_batch_alone() {
        assert_eq!(
            name(&judge(refused(ErrorCode::RecordTooLarge), IDEMPOTENT)),
            "fail"
        );
    }

    #[test]
    fn a_gap_is_renewed_only_behind_a_failure() {
        let gap = || refused(ErrorCode::OutOfOrderSequence);
        assert_eq!(name(&judge(gap(), IDEMPOTENT)), "fail");
        let behind = Facts {
            is_behind_failure: true,
            ..IDEMPOTENT
        };
        assert_eq!(name(&judge(gap(), behind)), "renew");
        let ambiguous = Facts {
            is_ambiguous: true,
            ..behind
        };
        assert_eq!(name(&judge(gap(), ambiguous)), "fail all");
    }

    #[test]
    fn a_forgotten_producer_is_renewed_unless_the_batch_may_stand() {
        let forgotten = || refused(ErrorCode::UnknownProducer);
        assert_eq!(name(&judge(forgotten(), IDEMPOTENT)), "renew");
        let ambiguous = Facts {
            is_ambiguous: true,
            ..IDEMPOTENT
        };
        assert_eq!(name(&judge(forgotten(), ambiguous)), "fail all");
    }
}
