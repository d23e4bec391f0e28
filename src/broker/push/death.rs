//! What the last attempt of a message comes to in its dead letter; none when its outcome was given up. PURE.

use storage::dead_letter::{AttemptResult, Disposition};
use storage::delivery::{Outcome, Verdict};

/// Returns what it died of.
pub(super) fn disposition(outcome: Option<&Outcome>) -> Disposition {
    match outcome.map(|outcome| outcome.verdict) {
        Some(Verdict::Dead { disposition }) => disposition,
        Some(Verdict::Delivered | Verdict::Retry { .. }) | None => Disposition::RETRIES_EXHAUSTED,
    }
}

/// Says it in a line.
pub(super) fn reason(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "what its last attempt came to was given up with damaged entries".to_owned();
    };
    match outcome.attempt.result {
        AttemptResult::Status(status) => format!("the destination answered {status}"),
        AttemptResult::Error(_) => String::from_utf8_lossy(&outcome.attempt.body).into_owned(),
    }
}
