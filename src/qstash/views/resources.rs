//! Publishing's answers, queues, schedules, URL groups and flow-control keys in JSON. PURE.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use storage::delivery::Envelope;
use storage::offset::TimestampMs;

use super::message::{Caller, Flow, Labels, callback_headers, url_of};
use super::redact::{body, headers};
use crate::delivery::api::{FlowView, MessageState, ParallelismView, Published};
use crate::delivery::header_lists::HeaderLists;

/// What became of a publication: an object for a URL, a list for a URL group.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum PublishedJson {
    /// To a URL.
    One(PublishedMessageJson),
    /// To the endpoints of a group.
    Group(Vec<PublishedMessageJson>),
}

/// A message that was published.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedMessageJson {
    message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    deduplicated: bool,
}

/// A queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueJson {
    /// Its name.
    pub name: String,
    /// Messages that are delivered at a time.
    pub parallelism: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was changed, in milliseconds since 1970.
    pub updated_at: i64,
    /// Messages that are not settled.
    pub lag: u64,
    /// Whether nothing is delivered.
    pub paused: bool,
}

/// A URL group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlGroupJson {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was changed, in milliseconds since 1970.
    pub updated_at: i64,
    /// Its endpoints.
    pub endpoints: Vec<EndpointJson>,
}

/// An endpoint of a URL group.
#[derive(Debug, Serialize)]
pub struct EndpointJson {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its URL.
    pub url: String,
}

/// A flow-control key. Numbers that there are none of are 0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the API's own fields")]
pub struct FlowKeyJson {
    flow_control_key: String,
    wait_list_size: u64,
    parallelism_max: u32,
    parallelism_count: u32,
    rate_max: u32,
    rate_count: u32,
    rate_period: u64,
    rate_period_start: i64,
    is_paused: bool,
    is_pinned_parallelism: bool,
    is_pinned_rate: bool,
}

/// Attempts under way over all keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalParallelismJson {
    parallelism_max: u32,
    parallelism_count: u32,
}

/// What is known of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleFacts {
    /// Its id.
    pub id: String,
    /// When it fires.
    pub cron: String,
    /// URL, or name of a URL group.
    pub destination: String,
    /// By which rules. Its time is counted from the firing: it is the delay.
    pub envelope: Envelope,
    /// The body.
    pub body: Bytes,
    /// When it was made.
    pub created_at: TimestampMs,
    /// Whether it does not fire.
    pub is_paused: bool,
    /// When it fired last.
    pub last: Option<TimestampMs>,
    /// When it fires next.
    pub next: Option<TimestampMs>,
    /// What became of the messages of the last firing.
    pub states: Vec<(String, MessageState)>,
    /// Why it cannot fire.
    pub problem: Option<String>,
}

/// A schedule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleJson {
    schedule_id: String,
    cron: String,
    destination: String,
    created_at: i64,
    method: String,
    header: HeaderLists,
    retries: u32,
    is_paused: bool,
    #[serde(flatten)]
    labels: Labels,
    #[serde(flatten)]
    flow: Flow,
    #[serde(flatten)]
    caller: Caller,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_header: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback_header: Option<HeaderLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_schedule_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_schedule_time: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    last_schedule_states: BTreeMap<String, &'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_schedule_error: Option<String>,
    /// The same, by the name that one client reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Published> for PublishedJson {
    fn from(published: Published) -> Self {
        let is_group = published.is_group;
        let mut messages = published
            .messages
            .into_iter()
            .map(|message| PublishedMessageJson {
                message_id: message.id,
                url: is_group.then_some(message.url),
                deduplicated: published.is_duplicate,
            });
        match messages.next() {
            Some(one) if !is_group => Self::One(one),
            first => Self::Group(first.into_iter().chain(messages).collect()),
        }
    }
}

impl From<FlowView> for FlowKeyJson {
    fn from(view: FlowView) -> Self {
        Self {
            flow_control_key: view.key,
            wait_list_size: view.waiting_count,
            parallelism_max: view.parallelism_max.unwrap_or(0),
            parallelism_count: view.parallelism_count,
            rate_max: view.rate_max.unwrap_or(0),
            rate_count: view.rate_count,
            rate_period: view.rate_period_ms.map_or(0, |ms| ms.div_ceil(1000)),
            rate_period_start: view
                .rate_period_start
                .map_or(0, |time| time.0.div_euclid(1000)),
            is_paused: view.is_paused,
            is_pinned_parallelism: view.is_pinned_parallelism,
            is_pinned_rate: view.is_pinned_rate,
        }
    }
}

impl From<ParallelismView> for GlobalParallelismJson {
    fn from(view: ParallelismView) -> Self {
        Self {
            parallelism_max: view.max,
            parallelism_count: view.count,
        }
    }
}

impl From<ScheduleFacts> for ScheduleJson {
    fn from(facts: ScheduleFacts) -> Self {
        let envelope = &facts.envelope;
        let shown = body(&facts.body, &envelope.redaction);
        let delay = envelope
            .not_before
            .and_then(|delay| u64::try_from(delay.0).ok());
        let states = facts.states.iter();
        Self {
            method: envelope.method.clone(),
            header: headers(&envelope.headers, &envelope.redaction),
            retries: envelope.retries,
            labels: Labels::new(&envelope.labels),
            flow: Flow::new(envelope.flow.as_ref()),
            caller: Caller::new(envelope.caller_ip.as_deref()),
            body: shown.text,
            body_base64: shown.base64,
            queue_name: envelope.queue.clone(),
            delay: delay.map(|ms| ms.div_ceil(1000)),
            timeout: envelope.timeout_ms.map(|ms| ms.div_ceil(1000)),
            callback: url_of(envelope.callback.as_ref()),
            callback_header: callback_headers(envelope.callback.as_ref(), envelope),
            failure_callback: url_of(envelope.failure_callback.as_ref()),
            failure_callback_header: callback_headers(envelope.failure_callback.as_ref(), envelope),
            retry_delay_expression: envelope.retry_delay.clone(),
            last_schedule_time: facts.last.map(|time| time.0),
            next_schedule_time: facts.next.map(|time| time.0),
            last_schedule_states: states
                .map(|(id, state)| (id.clone(), outcome(*state)))
                .collect(),
            error: facts.problem.clone(),
            last_schedule_error: facts.problem,
            schedule_id: facts.id,
            cron: facts.cron,
            destination: facts.destination,
            created_at: facts.created_at.0,
            is_paused: facts.is_paused,
        }
    }
}

/// Returns the word that schedules have for a state; clients know these three.
fn outcome(state: MessageState) -> &'static str {
    match state {
        MessageState::Delivered => "SUCCESS",
        MessageState::Failed | MessageState::Canceled => "FAIL",
        MessageState::Created
        | MessageState::Active
        | MessageState::Retry
        | MessageState::Error
        | MessageState::CancelRequested => "IN_PROGRESS",
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !value
}
