//! Messages, dead letters and log entries in JSON. PURE.
//!
//! Clients read some fields without asking whether they are there: id, URL, method, `maxRetries`, `notBefore`, `createdAt`,
//! `responseStatus` always stand. Others must be absent, not null, when there is nothing to say: `flowControlKey`, `cursor`.
//! Where clients and description differ in a name, both names stand.

use bytes::Bytes;
use serde::Serialize;
use storage::dead_letter::{AttemptResult, DeadLetter, Receiver};
use storage::delivery::envelope::ENVELOPE_HEADER;
use storage::delivery::{Callback, Envelope, FlowControl, Redaction};
use storage::offset::TimestampMs;

use super::redact::{base64_body, body, headers};
use crate::delivery::api::{DeadMessage, LogEvent, MessageView};
use crate::delivery::header_lists::HeaderLists;
use crate::http::base64::{TextOrBase64, encode};

/// What every view of an envelope shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shared {
    message_id: String,
    url: String,
    method: String,
    header: HeaderLists,
    max_retries: u32,
    #[serde(flatten)]
    labels: Labels,
    #[serde(flatten)]
    flow: Flow,
    #[serde(flatten)]
    caller: Caller,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay_expression: Option<String>,
}

/// The first label, and all.
#[derive(Debug, Serialize)]
pub(super) struct Labels {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
}

/// Flow control; the period in seconds.
#[derive(Debug, Serialize, Default)]
pub(super) struct Flow {
    #[serde(rename = "flowControlKey", skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u64>,
}

/// The publisher's address, under both names.
#[derive(Debug, Serialize)]
pub(super) struct Caller {
    #[serde(rename = "callerIP", skip_serializing_if = "Option::is_none")]
    caller_ip: Option<String>,
    #[serde(rename = "callerIp", skip_serializing_if = "Option::is_none")]
    caller_ip_too: Option<String>,
}

/// A message that is still to be delivered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageJson {
    #[serde(flatten)]
    shared: Shared,
    not_before: i64,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_header: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback_header: Option<HeaderLists>,
}

/// A dead letter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterJson {
    #[serde(flatten)]
    message: MessageJson,
    dlq_id: String,
    response_status: u16,
    response_header: HeaderLists,
    response_headers: HeaderLists,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body_base64: Option<String>,
}

/// One event in the life of a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntryJson {
    time: i64,
    state: &'static str,
    #[serde(flatten)]
    shared: Shared,
    body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay_expr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_delivery_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_headers: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback_headers: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_header: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_headers: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
}

impl Shared {
    fn new(message_id: String, envelope: &Envelope) -> Self {
        Self {
            message_id,
            url: envelope.url.clone(),
            method: envelope.method.clone(),
            header: headers(&envelope.headers, &envelope.redaction),
            max_retries: envelope.retries,
            labels: Labels::new(&envelope.labels),
            flow: Flow::new(envelope.flow.as_ref()),
            caller: Caller::new(envelope.caller_ip.as_deref()),
            topic_name: envelope.url_group.clone(),
            endpoint_name: envelope.endpoint.clone(),
            queue_name: envelope.queue.clone(),
            schedule_id: envelope.schedule.clone(),
            callback: url_of(envelope.callback.as_ref()),
            failure_callback: url_of(envelope.failure_callback.as_ref()),
            retry_delay_expression: envelope.retry_delay.clone(),
        }
    }
}

impl Labels {
    pub(super) fn new(labels: &[String]) -> Self {
        Self {
            label: labels.first().cloned(),
            labels: labels.to_vec(),
        }
    }
}

impl Flow {
    pub(super) fn new(flow: Option<&FlowControl>) -> Self {
        let Some(flow) = flow else {
            return Self::default();
        };
        Self {
            key: Some(flow.key.clone()),
            parallelism: flow.parallelism,
            rate: flow.rate,
            period: flow.period_ms.map(|ms| ms.div_ceil(1000)),
        }
    }
}

impl Caller {
    pub(super) fn new(ip: Option<&str>) -> Self {
        Self {
            caller_ip: ip.map(str::to_owned),
            caller_ip_too: ip.map(str::to_owned),
        }
    }
}

impl MessageJson {
    fn new(id: String, envelope: &Envelope, shown: TextOrBase64, created_at: TimestampMs) -> Self {
        Self {
            shared: Shared::new(id, envelope),
            not_before: envelope.not_before.unwrap_or(created_at).0,
            created_at: created_at.0,
            body: shown.text,
            body_base64: shown.base64,
            callback_header: callback_headers(envelope.callback.as_ref(), envelope),
            failure_callback_header: callback_headers(envelope.failure_callback.as_ref(), envelope),
        }
    }
}

impl From<MessageView> for MessageJson {
    fn from(view: MessageView) -> Self {
        let shown = body(&view.body, &view.envelope.redaction);
        Self::new(view.id, &view.envelope, shown, view.created_at)
    }
}

impl From<DeadMessage> for DeadLetterJson {
    fn from(dead: DeadMessage) -> Self {
        let letter = dead.letter;
        let envelope = envelope_of(&letter);
        let body = body(
            &letter.record.value.unwrap_or_default(),
            &envelope.redaction,
        );
        let last = letter.history.attempts().last();
        let (status, header, response) = last.map_or_else(
            // Nothing was sent: what forbade it stands where the answer would.
            || (0, HeaderLists::default(), Bytes::from(letter.reason)),
            |attempt| {
                let headers = attempt.headers.iter().collect();
                (status(attempt.result), headers, attempt.body.clone())
            },
        );
        let response = TextOrBase64::from(Some(response));
        let id = letter.message_id.unwrap_or_default();
        Self {
            message: MessageJson::new(id, &envelope, body, letter.record.timestamp),
            dlq_id: dead.id,
            response_status: status,
            response_headers: header.clone(),
            response_header: header,
            response_body: response.text,
            response_body_base64: response.base64,
        }
    }
}

impl From<LogEvent> for LogEntryJson {
    fn from(event: LogEvent) -> Self {
        let envelope = event.envelope;
        let shown = base64_body(&event.body, &envelope.redaction);
        let (mut code, mut header, mut response) = (None, None, None);
        if let Some(answer) = event.response {
            code = Some(status(answer.result));
            header = Some(answer.headers.iter().collect());
            response = Some(encode(&answer.body));
        }
        Self {
            time: event.time.0,
            state: event.state.name(),
            body: shown,
            retry_delay_expr: envelope.retry_delay.clone(),
            timeout: envelope.timeout_ms,
            error: event.error,
            next_delivery_time: event.next_delivery_at.map(|time| time.0),
            callback_headers: callback_headers(envelope.callback.as_ref(), &envelope),
            failure_callback_headers: callback_headers(
                envelope.failure_callback.as_ref(),
                &envelope,
            ),
            response_status: code,
            response_headers: header.clone(),
            response_header: header,
            response_body: response,
            shared: Shared::new(event.message_id, &envelope),
        }
    }
}

/// Returns the envelope that the letter's record carries; if that cannot be read, one with what the letter itself knows, which hides
/// all that an envelope may hide.
fn envelope_of(letter: &DeadLetter) -> Envelope {
    let mut headers = letter.record.headers.iter();
    let carried = headers.find(|(name, _)| name == ENVELOPE_HEADER);
    let is_carried = carried.is_some();
    let decoded =
        carried.and_then(|(_, value)| Envelope::decode(value.as_deref().unwrap_or_default()).ok());
    decoded.unwrap_or_else(|| {
        let (method, url) = match &letter.receiver {
            Receiver::Destination(to) => (to.method.clone(), to.url.clone()),
            Receiver::Group(_) => (String::new(), String::new()),
        };
        Envelope {
            url,
            method,
            labels: letter.labels.clone(),
            caller_ip: letter.caller.clone(),
            redaction: Redaction {
                body: is_carried,
                headers: is_carried,
                header_names: Vec::new(),
            },
            ..Envelope::default()
        }
    })
}

/// Returns a status as clients read it: 0 where there was none.
fn status(result: AttemptResult) -> u16 {
    match result {
        AttemptResult::Status(status) => status,
        AttemptResult::Error(_) => 0,
    }
}

pub(super) fn url_of(callback: Option<&Callback>) -> Option<String> {
    callback.map(|callback| callback.url.clone())
}

pub(super) fn callback_headers(
    callback: Option<&Callback>,
    envelope: &Envelope,
) -> Option<HeaderLists> {
    let callback = callback.filter(|callback| !callback.headers.is_empty())?;
    Some(headers(&callback.headers, &envelope.redaction))
}
