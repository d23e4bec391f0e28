//! `/admin/v1/topics/{topic}/partitions/{index}/records`: a look at a few records, for people.

use serde::Serialize;
use storage::offset::Offset;
use utoipa::ToSchema;

use super::arguments::time;
use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use crate::broker::{PeekFrom, PeekedRecord};
use crate::http::ApiError;
use crate::http::base64::TextOrBase64;
use crate::limits::PEEK_RECORD_COUNT_MAX;

/// Records that a peek shows when nothing else is asked for.
const COUNT_DEFAULT: u32 = 10;

/// Some records.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordList {
    /// Topic.
    topic: String,
    /// Index of the partition within the topic.
    partition: u32,
    /// The records, by offset. Fewer than asked for at the end of the log, and when they are large.
    records: Vec<RecordView>,
}

/// A record. A key, value or header that is no UTF-8 stands as base64; one that is not there at all is left out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Record)]
pub(super) struct RecordView {
    /// Offset.
    offset: u64,
    /// The record's time by the producer's clock, in milliseconds since 1970.
    timestamp_ms: i64,
    /// When it was appended by the broker's clock, in milliseconds since 1970.
    append_time_ms: i64,
    /// Key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Key that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// Value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Value that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// Headers, in their order.
    headers: Vec<Header>,
}

/// A header of a record.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Header {
    /// Name.
    name: String,
    /// Value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Value that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl From<(String, Option<bytes::Bytes>)> for Header {
    fn from((name, value): (String, Option<bytes::Bytes>)) -> Self {
        let value = TextOrBase64::from(value);
        Self {
            name,
            value: value.text,
            value_base64: value.base64,
        }
    }
}

impl From<PeekedRecord> for RecordView {
    fn from(peeked: PeekedRecord) -> Self {
        let record = peeked.record;
        let (key, value) = (
            TextOrBase64::from(record.key),
            TextOrBase64::from(record.value),
        );
        Self {
            offset: peeked.offset.0,
            timestamp_ms: record.timestamp.0,
            append_time_ms: peeked.append_time.0,
            key: key.text,
            key_base64: key.base64,
            value: value.text,
            value_base64: value.base64,
            headers: record.headers.into_iter().map(Header::from).collect(),
        }
    }
}

/// Shows some records.
#[utoipa::path(get, path = "/admin/v1/topics/{topic}/partitions/{index}/records", tag = "topics", operation_id = "peek_records",
    params(("topic" = String, Path, description = "The topic's name"),
        ("index" = u32, Path, description = "The partition's index within the topic"),
        ("from" = Option<String>, Query, description = "earliest (the default), an offset, or @TIME: records appended at that \
            time or later, in milliseconds since 1970 or as RFC 3339"),
        ("count" = Option<u32>, Query, description = "How many at most, 1 to 1000; 10 if not given")), responses(
    (status = 200, description = "The records.", body = RecordList),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn peek(call: Call) -> Answer {
    let (topic, index) = (call.param("topic"), call.partition_index()?);
    let from = peek_from(call.query.one("from")?.unwrap_or("earliest"))?;
    let count = call.query.number("count")?.unwrap_or(COUNT_DEFAULT);
    if count == 0 {
        let message =
            format!("the query parameter count is 0, it must be 1 to {PEEK_RECORD_COUNT_MAX}");
        return Err(ApiError::bad_request(message));
    }
    let name = topic.clone();
    let peeked = call
        .blocking(move |broker| broker.peek(&name, index, from, count))
        .await?;
    let records = peeked.into_iter().map(RecordView::from).collect();
    ok(&RecordList {
        topic,
        partition: index,
        records,
    })
}

fn peek_from(text: &str) -> Result<PeekFrom, ApiError> {
    if text == "earliest" {
        return Ok(PeekFrom::Earliest);
    }
    if let Some(text) = text.strip_prefix('@') {
        return time("the query parameter from, behind the @,", text).map(PeekFrom::Time);
    }
    let offset = text.parse().map_err(|_not_a_number| {
        ApiError::bad_request(format!(
            "the query parameter from is {text:?}, it must be earliest, an offset, or @ and a time"
        ))
    })?;
    Ok(PeekFrom::Offset(Offset(offset)))
}
