//! Which messages, dead letters and log events a request means. PURE.
//!
//! Inside a field the values are alternatives, repeated or separated by commas; between fields all must match. URLs have
//! commas of their own: they are split only before `http://` or `https://`. Ids win over every other field, and an empty
//! list of ids, or `null` for it, selects nothing. A field without a value is refused: it would select everything.

use serde::{Deserialize, Deserializer};
use storage::offset::TimestampMs;

use crate::delivery::api::{LogFilter, MessageState};
use crate::delivery::filter::MessageFilter;
use crate::delivery::log_cursor::LogCursor;
use crate::http::ApiError;
use crate::http::parameters::{Query, json};
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};
use crate::qstash::headers::cut;
use crate::qstash::limits::{
    CANCEL_COUNT_MAX, DLQ_COUNT_MAX, FILTER_VALUE_COUNT_MAX, IDS_PER_REQUEST_MAX,
    LOG_COUNT_DEFAULT, LOG_COUNT_MAX,
};

/// Which dead letters, and which part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterQuery {
    /// Which; `None` selects nothing.
    pub selection: Option<Selection>,
    /// Which part.
    pub page: Page,
}

/// Which messages to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelQuery {
    /// These.
    Ids(Vec<String>),
    /// Those that match, at most so many; `None` is all.
    Filter(Box<MessageFilter>, Option<u32>),
}

/// Which log events, and which part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Which; `None` selects nothing.
    pub filter: Option<LogFilter>,
    /// Where to go on.
    pub cursor: Option<LogCursor>,
    /// How many at most.
    pub count: u32,
}

/// Ids in a body, as one client sends them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IdsBody {
    #[serde(default, deserialize_with = "given")]
    dlq_ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    message_ids: Option<Vec<String>>,
}

/// Reads ids that were given. One client sends `null` for a list that its caller has not filled: taken for no list at all it would
/// select everything.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let ids: Option<Vec<String>> = Option::deserialize(from)?;
    Ok(Some(ids.unwrap_or_default()))
}

fn ids_body(body: &[u8], name: &str) -> Result<IdsBody, ApiError> {
    // An array would be taken for the fields in their order, and an empty one for none of them.
    if body.trim_ascii_start().starts_with(b"[") {
        let message =
            format!("the body is an array, it must be an object such as {{\"{name}\": [\"id\"]}}");
        return Err(ApiError::bad_request(message));
    }
    json(body)
}

/// Reads which dead letters are meant, from the query and, if there is one, the body.
///
/// # Errors
/// 400.
pub fn letters(query: &Query, body: &[u8]) -> Result<LetterQuery, ApiError> {
    let body = ids_body(body, "dlqIds")?;
    if body.message_ids.is_some() {
        return Err(ApiError::bad_request(
            "the body has messageIds, dead letters are named by dlqIds",
        ));
    }
    let (from, to) = times(query)?;
    let filter = LetterFilter {
        urls: urls(query, "url")?,
        url_groups: texts(query, "topicName")?,
        queues: texts(query, "queueName")?,
        schedules: texts(query, "scheduleId")?,
        labels: texts(query, "label")?,
        message_ids: texts(query, "messageId")?,
        callers: callers(query)?,
        flow_control_keys: texts(query, "flowControlKey")?,
        statuses: statuses(query)?,
        died_from: from,
        // The letters' own end is exclusive.
        died_to: to.map(|to| TimestampMs(to.0.saturating_add(1))),
        ..LetterFilter::default()
    };
    let ids = ids(query, "dlqIds", body.dlq_ids)?;
    let selection = match ids {
        Some(ids) if ids.is_empty() => None,
        Some(ids) => Some(Selection::Ids(ids)),
        None if filter == LetterFilter::default() => Some(Selection::All),
        None => Some(Selection::Filter(filter)),
    };
    let is_ids = matches!(selection, Some(Selection::Ids(_)));
    let count = count(query, DLQ_COUNT_MAX)?;
    // Ids are one page, however many they are.
    let limit = if is_ids {
        IDS_LIMIT
    } else {
        count.unwrap_or(DLQ_COUNT_MAX)
    };
    let cursor = cursor(query)?.filter(|_| !is_ids);
    let order = query.one("order")?.map(order).transpose()?;
    Ok(LetterQuery {
        selection,
        page: Page {
            order: order.unwrap_or_default(),
            limit,
            cursor,
        },
    })
}

/// Reads which messages to cancel.
///
/// # Errors
/// 400.
pub fn cancel(query: &Query, body: &[u8]) -> Result<CancelQuery, ApiError> {
    let body = ids_body(body, "messageIds")?;
    if body.dlq_ids.is_some() {
        return Err(ApiError::bad_request(
            "the body has dlqIds, messages are named by messageIds",
        ));
    }
    let mut filter = messages(query)?;
    (filter.created_from, filter.created_to) = times(query)?;
    let count = count(query, CANCEL_COUNT_MAX)?;
    Ok(match ids(query, "messageIds", body.message_ids)? {
        Some(ids) => CancelQuery::Ids(ids),
        None => CancelQuery::Filter(Box::new(filter), count),
    })
}

/// Reads which log events are meant.
///
/// # Errors
/// 400.
pub fn logs(query: &Query) -> Result<LogQuery, ApiError> {
    let mut messages = messages(query)?;
    let ids = ids(query, "messageIds", None)?;
    let is_nothing = ids.as_ref().is_some_and(Vec::is_empty);
    match ids {
        Some(ids) => {
            messages = MessageFilter {
                message_ids: ids,
                ..MessageFilter::default()
            }
        }
        None => messages.message_ids = texts(query, "messageId")?,
    }
    let (from, to) = times(query)?;
    let filter = LogFilter {
        messages,
        states: states(query)?,
        from,
        to,
    };
    let cursor = cursor(query)?
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: crate::delivery::log_cursor::LogCursorError| {
            ApiError::bad_request(error.to_string())
        })?;
    Ok(LogQuery {
        filter: (!is_nothing).then_some(filter),
        cursor,
        count: count(query, LOG_COUNT_MAX)?.unwrap_or(LOG_COUNT_DEFAULT),
    })
}

const IDS_LIMIT: u32 = crate::limits::LETTER_IDS_PER_CALL_MAX;

fn messages(query: &Query) -> Result<MessageFilter, ApiError> {
    Ok(MessageFilter {
        urls: urls(query, "url")?,
        hosts: texts(query, "host")?,
        paths: texts(query, "path")?,
        url_groups: texts(query, "topicName")?,
        queues: texts(query, "queueName")?,
        schedules: texts(query, "scheduleId")?,
        labels: texts(query, "label")?,
        flow_keys: texts(query, "flowControlKey")?,
        caller_ips: callers(query)?,
        ..MessageFilter::default()
    })
}

fn wrong(name: &str, value: &str, expected: &str) -> ApiError {
    let value = cut(value);
    ApiError::bad_request(format!(
        "the query parameter {name} is {value:?}, {expected}"
    ))
}

/// Returns the values of a field, repeated or separated by commas.
fn texts(query: &Query, name: &str) -> Result<Vec<String>, ApiError> {
    values(query, name, |text| text.split(',').collect())
}

/// Returns URLs: a comma separates them only before the next `http://` or `https://`.
fn urls(query: &Query, name: &str) -> Result<Vec<String>, ApiError> {
    values(query, name, |text| {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(end) = url_end(rest) {
            let Some((url, tail)) = rest.split_at_checked(end) else {
                break;
            };
            parts.push(url);
            rest = tail.strip_prefix(',').unwrap_or(tail);
        }
        parts.push(rest);
        parts
    })
}

/// Returns the place of the first comma that another URL follows.
fn url_end(text: &str) -> Option<usize> {
    text.match_indices(',').map(|(at, _)| at).find(|at| {
        let next = text.get(at.saturating_add(1)..).unwrap_or_default();
        let next = next.trim_start();
        next.starts_with("http://") || next.starts_with("https://")
    })
}

fn values<'q>(
    query: &'q Query,
    name: &str,
    split: impl Fn(&'q str) -> Vec<&'q str>,
) -> Result<Vec<String>, ApiError> {
    let mut found: Vec<String> = Vec::new();
    for text in query.all(name) {
        let parts = split(text).into_iter().map(str::trim);
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err(wrong(name, text, "it must have a value, or be left out"));
        }
        for part in parts {
            if found.len() >= FILTER_VALUE_COUNT_MAX {
                let expected =
                    format!("which is one too many: it may have {FILTER_VALUE_COUNT_MAX} values");
                return Err(wrong(name, part, &expected));
            }
            if !found.iter().any(|known| known == part) {
                found.push(part.to_owned());
            }
        }
    }
    Ok(found)
}

/// Returns ids from the query and the body; `None` if neither speaks of ids.
fn ids(
    query: &Query,
    name: &str,
    in_body: Option<Vec<String>>,
) -> Result<Option<Vec<String>>, ApiError> {
    let given = query.all(name);
    if given.is_empty() && in_body.is_none() {
        return Ok(None);
    }
    let parts = given.iter().flat_map(|text| text.split(','));
    let mut found: Vec<String> = parts.map(|part| part.trim().to_owned()).collect();
    found.extend(in_body.unwrap_or_default());
    found.retain(|id| !id.is_empty());
    if found.len() > IDS_PER_REQUEST_MAX {
        return Err(ApiError::bad_request(format!(
            "{name} has {} ids, it may have {IDS_PER_REQUEST_MAX}",
            found.len()
        )));
    }
    Ok(Some(found))
}

fn callers(query: &Query) -> Result<Vec<String>, ApiError> {
    let mut found = texts(query, "callerIp")?;
    found.extend(texts(query, "callerIP")?);
    Ok(found)
}

fn statuses(query: &Query) -> Result<Vec<u16>, ApiError> {
    let name = "responseStatus";
    let parse = |text: &String| {
        let status: Option<u16> = text.parse().ok();
        status
            .filter(|status| *status < 1000)
            .ok_or_else(|| wrong(name, text, "it must be a status such as 503, or 0 for none"))
    };
    texts(query, name)?.iter().map(parse).collect()
}

fn states(query: &Query) -> Result<Vec<MessageState>, ApiError> {
    let name = "state";
    let mut found = Vec::new();
    for text in texts(query, name)? {
        match text.as_str() {
            "IN_PROGRESS" => found.extend(MessageState::IN_PROGRESS),
            // As the description spells it.
            "CANCELLED" => found.push(MessageState::Canceled),
            text => {
                let state = MessageState::ALL
                    .into_iter()
                    .find(|state| state.name() == text);
                found.push(state.ok_or_else(|| {
                    let names = MessageState::ALL.map(MessageState::name).join(", ");
                    wrong(
                        name,
                        text,
                        &format!("it must be one of {names}, IN_PROGRESS"),
                    )
                })?);
            }
        }
    }
    Ok(found)
}

/// Returns the two ends of a span of time, both inclusive.
fn times(query: &Query) -> Result<(Option<TimestampMs>, Option<TimestampMs>), ApiError> {
    let time = |name: &str| {
        let parse = |text: &str| {
            let ms: Result<i64, _> = text.parse();
            ms.map(TimestampMs).map_err(|_not_a_number| {
                wrong(name, text, "it must be a time in milliseconds since 1970")
            })
        };
        query.one(name)?.map(parse).transpose()
    };
    Ok((time("fromDate")?, time("toDate")?))
}

fn count(query: &Query, most: u32) -> Result<Option<u32>, ApiError> {
    let name = "count";
    let parse = |text: &str| {
        let count: Option<u32> = text.parse().ok();
        count
            .filter(|count| (1..=most).contains(count))
            .ok_or_else(|| wrong(name, text, &format!("it must be a number from 1 to {most}")))
    };
    query.one(name)?.map(parse).transpose()
}

/// Returns the cursor; an empty one is none.
fn cursor(query: &Query) -> Result<Option<String>, ApiError> {
    let cursor = query.one("cursor")?.filter(|cursor| !cursor.is_empty());
    Ok(cursor.map(str::to_owned))
}

fn order(text: &str) -> Result<Order, ApiError> {
    match text {
        "earliestFirst" => Ok(Order::OldestFirst),
        "latestFirst" => Ok(Order::NewestFirst),
        _ => Err(wrong(
            "order",
            text,
            "it must be earliestFirst or latestFirst",
        )),
    }
}

#[cfg(test)]
mod tests;
