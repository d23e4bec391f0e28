//! `/admin/v1/topics/{topic}/retention`: deleting now what retention no longer keeps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;

/// Nothing can be said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What a run of retention did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetentionRun)]
pub(super) struct RunView {
    /// Topic.
    topic: String,
    /// Segments that were deleted.
    segment_count: u64,
    /// Logs, main and dead-letter, that start later now.
    log_count: u64,
}

/// Runs retention now, for the main and the dead-letter logs of a topic.
#[utoipa::path(post, path = "/admin/v1/topics/{topic}/retention", tag = "topics", operation_id = "run_retention",
    params(("topic" = String, Path, description = "The topic's name")), responses(
    (status = 200, description = "What was deleted.", body = RunView),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn run(call: Call) -> Answer {
    let Nothing {} = call.json()?;
    let topic = call.param("topic");
    let name = topic.clone();
    let run = call
        .blocking(move |broker| broker.run_retention(&name))
        .await?;
    ok(&RunView {
        topic,
        segment_count: run.segment_count,
        log_count: run.partition_count,
    })
}
