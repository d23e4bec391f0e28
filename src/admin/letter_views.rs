//! A dead letter in JSON. PURE.

use serde::Serialize;
use utoipa::ToSchema;

use super::records::Header;
use crate::http::base64::TextOrBase64;
use crate::protocol::letter::{self as wire, AttemptView, LetterView, ReceiverView};

/// A dead letter with its record. What of a pushed record is redacted stands as `REDACTED:` and its SHA-256. A key, value or header that is no UTF-8 stands as base64; one that is not there at all is
/// left out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct Letter {
    /// Id.
    id: String,
    /// Topic of the record.
    topic: String,
    /// Index of the partition within the topic.
    partition: u32,
    /// Offset of the record in the main log.
    source_offset: u64,
    /// Offset of the letter in the dead-letter log.
    dead_letter_offset: u64,
    /// The group that rejected the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Where the record was to be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<DestinationView>,
    /// Why it died: `retries_exhausted`, `not_retryable`, `rejected`, `destination_forbidden`, or a number.
    disposition: String,
    /// Why it died, in short.
    reason: String,
    /// Why it died, at length.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
    /// When it died, in milliseconds since 1970.
    died_at_ms: i64,
    /// What failures like it have in common.
    fingerprint: String,
    /// Message id of its first ancestor.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_message_id: Option<String>,
    /// How often it and its ancestors were republished.
    republished_count: u32,
    /// Attempts, oldest first.
    history: Vec<AttemptJson>,
    /// Attempts between the first and the others of `history` that are not in it.
    attempts_left_out: u32,
    /// Labels.
    labels: Vec<String>,
    /// Message id of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Who published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    /// The record's time by the producer's clock, in milliseconds since 1970.
    timestamp_ms: i64,
    /// The record's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The record's key that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// The record's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The record's value that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// The record's headers, in their order; of a pushed record those that it carries to its destination.
    headers: Vec<Header>,
}

/// Where a record was to be delivered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Destination)]
pub(super) struct DestinationView {
    /// HTTP method.
    method: String,
    /// URL.
    url: String,
    /// The URL group that it was published to.
    #[serde(skip_serializing_if = "Option::is_none")]
    url_group: Option<String>,
    /// The endpoint's name in that group.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// The queue that it stood in.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// Id of the schedule that published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// The flow-control key.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_control_key: Option<String>,
}

/// One attempt at delivery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptJson {
    /// Its number: 1 is the first.
    number: u32,
    /// When it began, in milliseconds since 1970.
    started_at_ms: i64,
    /// How long it took, in milliseconds.
    duration_ms: u32,
    /// HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What went wrong when there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Which kind of error it was: `resolve`, `connect`, `tls`, `timeout`, `broken`, `protocol`, `forbidden`, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_class: Option<String>,
    /// Headers of the answer.
    headers: Vec<Header>,
    /// Body of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Body of the answer that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Whether anything of the answer was left out.
    is_cut: bool,
}

impl From<LetterView> for Letter {
    fn from(view: LetterView) -> Self {
        let (key, value) = (TextOrBase64::from(view.key), TextOrBase64::from(view.value));
        let (group, destination) = match view.receiver {
            ReceiverView::Group(group) => (Some(group), None),
            ReceiverView::Destination(destination) => (None, Some(destination.into())),
        };
        Self {
            id: view.id,
            topic: view.topic,
            partition: view.partition,
            source_offset: view.source_offset.0,
            dead_letter_offset: view.dead_letter_offset.0,
            group,
            destination,
            disposition: wire::disposition_name(view.disposition),
            reason: view.reason.0,
            details: view.details.map(|details| details.0),
            died_at_ms: view.died_at.0,
            fingerprint: view.fingerprint,
            first_message_id: view.first_message_id,
            republished_count: view.republished,
            history: view.history.into_iter().map(AttemptJson::from).collect(),
            attempts_left_out: view.attempts_left_out,
            labels: view.labels,
            message_id: view.message_id,
            caller: view.caller,
            timestamp_ms: view.record_timestamp.0,
            key: key.text,
            key_base64: key.base64,
            value: value.text,
            value_base64: value.base64,
            headers: view.headers.into_iter().map(Header::from).collect(),
        }
    }
}

impl From<wire::DestinationView> for DestinationView {
    fn from(view: wire::DestinationView) -> Self {
        Self {
            method: view.method,
            url: view.url,
            url_group: view.url_group,
            endpoint: view.endpoint,
            queue: view.queue,
            schedule: view.schedule,
            flow_control_key: view.flow_control_key,
        }
    }
}

impl From<AttemptView> for AttemptJson {
    fn from(view: AttemptView) -> Self {
        let body = TextOrBase64::from(Some(view.body));
        let headers = view.headers.into_iter();
        Self {
            number: view.number,
            started_at_ms: view.started_at.0,
            duration_ms: view.duration_ms,
            status: view.status,
            error: view.error.map(|error| error.0),
            error_class: view.error_class.map(wire::error_class_name),
            headers: headers
                .map(|(name, value)| Header::from((name.0, Some(value.0.into()))))
                .collect(),
            body: body.text,
            body_base64: body.base64,
            is_cut: view.is_cut,
        }
    }
}
