//! `/v2/logs` and `/v2/events`: what happened to messages. The two differ in the name of the list.

use serde::Serialize;

use super::call::{Answer, Call, ok};
use super::filters::logs;
use super::views::LogEntryJson;
use crate::http::ApiError;

#[derive(Serialize)]
struct LogPage {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    logs: Vec<LogEntryJson>,
}

#[derive(Serialize)]
struct EventPage {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    events: Vec<LogEntryJson>,
}

/// Lists log entries.
pub(super) async fn list(call: Call) -> Answer {
    let _permit = call.broker.may_list().await;
    let (logs, cursor) = page(&call).await?;
    ok(&LogPage { cursor, logs })
}

/// Lists the same as events.
pub(super) async fn events(call: Call) -> Answer {
    let _permit = call.broker.may_list().await;
    let (events, cursor) = page(&call).await?;
    ok(&EventPage { cursor, events })
}

async fn page(call: &Call) -> Result<(Vec<LogEntryJson>, Option<String>), ApiError> {
    let asked = logs(&call.query)?;
    let Some(filter) = asked.filter else {
        return Ok((Vec::new(), None));
    };
    let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let found = call.blocking(move |broker| broker.logs(&filter, asked.cursor, count));
    let (events, next) = found.await?;
    let entries = events.into_iter().map(LogEntryJson::from).collect();
    Ok((entries, next.map(|cursor| cursor.to_string())))
}
