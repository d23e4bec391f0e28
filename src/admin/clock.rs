//! `/admin/v1/clock/confirm`: an operator says that the wall clock is right.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;

/// Nothing can be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What was found when the wall clock was taken for right.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClockConfirmed)]
pub(super) struct ConfirmedView {
    /// How far the wall clock was ahead of where it should have been, in milliseconds; negative when it was behind, 0 when it was
    /// within a minute.
    departure_ms: i64,
}

/// Takes the wall clock for right: retention by age goes on by it.
#[utoipa::path(post, path = "/admin/v1/clock/confirm", tag = "clock", operation_id = "confirm_clock", responses(
    (status = 200, description = "The clock is taken for right.", body = ConfirmedView),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
#[expect(clippy::unused_async, reason = "a handler like the others")]
pub(super) async fn confirm(call: Call) -> Answer {
    let Nothing {} = call.json()?;
    let departure_ms = call.broker.confirm_clock();
    ok(&ConfirmedView { departure_ms })
}
