//! What the last attempt of a message comes to in its dead letter. PURE.

use storage::dead_letter::{AttemptResult, Disposition};
use storage::delivery::{Outcome, Verdict};

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
