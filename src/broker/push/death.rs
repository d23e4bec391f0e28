//! What the last attempt of a message comes to in its dead letter, also when its outcome was given up. PURE.

use bytes::Bytes;
use storage::dead_letter::{Attempt, AttemptResult, Disposition, ErrorClass};
use storage::delivery::{Outcome, Owes, Verdict};
use storage::offset::{Offset, TimestampMs};

/// Returns what it died of.
pub(super) fn disposition(outcome: &Outcome) -> Disposition {
    match outcome.verdict {
        Verdict::Dead { disposition } => disposition,
        Verdict::Delivered | Verdict::Retry { .. } => Disposition::RETRIES_EXHAUSTED,
    }
}

/// Says it in a line.
pub(super) fn reason(outcome: &Outcome) -> String {
    match outcome.attempt.result {
        AttemptResult::Status(status) => format!("the destination answered {status}"),
        AttemptResult::Error(_) => String::from_utf8_lossy(&outcome.attempt.body).into_owned(),
    }
}

/// Returns when the attempt ended.
pub(super) fn ended_at(outcome: &Outcome) -> TimestampMs {
    let attempt = &outcome.attempt;
    attempt.time.saturating_add(i64::from(attempt.duration_ms))
}

/// Stands in for an outcome whose entry an operator has given up.
pub(super) fn given_up_outcome(message: Offset, number: u32, now: TimestampMs) -> Outcome {
    Outcome {
        message,
        verdict: Verdict::Dead {
            disposition: Disposition::RETRIES_EXHAUSTED,
        },
        owes: Owes::default(),
        previous: None,
        attempt: Attempt {
            number,
            time: now,
            duration_ms: 0,
            result: AttemptResult::Error(ErrorClass::BROKEN),
            headers: Vec::new(),
            body: Bytes::from_static(GIVEN_UP),
            is_body_cut: false,
            are_headers_cut: false,
        },
    }
}

const GIVEN_UP: &[u8] = b"what the attempt came to was given up with damaged entries";
