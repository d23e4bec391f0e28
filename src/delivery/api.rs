//! What a surface asks of the engine, and what it gets: plain data, no behaviour.

use std::fmt;

use bytes::Bytes;
use storage::dead_letter::{AttemptResult, DeadLetter};
use storage::delivery::Envelope;
use storage::hidden::{Hidden, HiddenHeaders};
use storage::offset::TimestampMs;

use super::filter::MessageFilter;

/// A message to publish, or one for each endpoint of a URL group: all of it or nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Publication {
    /// By which rules. Its queue and its deduplication key count as they stand in it; the key of a publication to a group
    /// stands for all of its messages. For a group the URL is empty: the engine sets it, the group and the endpoint.
    pub envelope: Envelope,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Where to.
    pub target: Target,
    /// When it was asked for: delays were counted from here, and the record gets this time.
    pub created_at: TimestampMs,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("envelope", &self.envelope)
            .field("body", &Hidden(&self.body))
            .field("target", &self.target)
            .field("created_at", &self.created_at)
            .finish()
    }
}

/// Where a publication goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The envelope's URL.
    Url,
    /// Every endpoint of a URL group, by the group's name.
    UrlGroup(String),
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its messages; of a duplicate, those of the first publication. One if it went to a URL, one for each endpoint if it
    /// went to a group.
    pub messages: Vec<PublishedMessage>,
    /// Whether it is a duplicate, of which nothing was kept.
    pub is_duplicate: bool,
    /// Whether it went to a URL group.
    pub is_group: bool,
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedMessage {
    /// Message id.
    pub id: String,
    /// Where it goes.
    pub url: String,
}

/// A message that is still to be delivered.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageView {
    /// Message id.
    pub id: String,
    /// Where it goes, and by which rules.
    pub envelope: Envelope,
    /// The body.
    pub body: Bytes,
    /// When it was published.
    pub created_at: TimestampMs,
    /// How far it is.
    pub state: MessageState,
    /// Attempts that have ended.
    pub attempts: u32,
    /// When the next attempt is due; `None` while it waits for a place or an attempt is under way.
    pub next_attempt_at: Option<TimestampMs>,
}

impl fmt::Debug for MessageView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageView")
            .field("id", &self.id)
            .field("envelope", &self.envelope)
            .field("body", &Hidden(&self.body))
            .field("created_at", &self.created_at)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("next_attempt_at", &self.next_attempt_at)
            .finish()
    }
}

/// How far a message is. The names are those of the QStash API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// It is stored.
    Created,
    /// An attempt is under way.
    Active,
    /// An attempt has failed, another one is due later.
    Retry,
    /// An attempt has failed.
    Error,
    /// It is delivered.
    Delivered,
    /// It is a dead letter.
    Failed,
    /// It was asked to be cancelled.
    CancelRequested,
    /// It was cancelled.
    Canceled,
}

impl MessageState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Active,
        Self::Retry,
        Self::Error,
        Self::Delivered,
        Self::Failed,
        Self::CancelRequested,
        Self::Canceled,
    ];

    /// Those that `IN_PROGRESS` stands for.
    pub const IN_PROGRESS: [Self; 3] = [Self::Active, Self::Retry, Self::Error];

    /// Returns the state as the QStash API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Active => "ACTIVE",
            Self::Retry => "RETRY",
            Self::Error => "ERROR",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
            Self::CancelRequested => "CANCEL_REQUESTED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// One event in the life of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// When it was.
    pub time: TimestampMs,
    /// Message id.
    pub message_id: String,
    /// What the message came to.
    pub state: MessageState,
    /// Where it goes, and by which rules.
    pub envelope: Envelope,
    /// The body.
    pub body: Bytes,
    /// What went wrong.
    pub error: Option<String>,
    /// When the next attempt is due.
    pub next_delivery_at: Option<TimestampMs>,
    /// What the destination said to the attempt that ended here.
    pub response: Option<ResponseView>,
}

impl fmt::Debug for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEvent")
            .field("time", &self.time)
            .field("message_id", &self.message_id)
            .field("state", &self.state)
            .field("envelope", &self.envelope)
            .field("body", &Hidden(&self.body))
            .field("error", &self.error)
            .field("next_delivery_at", &self.next_delivery_at)
            .field("response", &self.response)
            .finish()
    }
}

/// What a destination said, as far as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ResponseView {
    /// Status, or why there was none.
    pub result: AttemptResult,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl fmt::Debug for ResponseView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseView")
            .field("result", &self.result)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("body", &Hidden(&self.body))
            .finish()
    }
}

/// A dead letter of a message, whole: its record carries the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadMessage {
    /// Id of the letter.
    pub id: String,
    /// The letter.
    pub letter: DeadLetter,
}

/// Which log events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// Of these messages. Its times stay empty: an event's own time counts.
    pub messages: MessageFilter,
    /// With one of these states; none stands for all.
    pub states: Vec<MessageState>,
    /// Earliest time (inclusive).
    pub from: Option<TimestampMs>,
    /// Latest time (inclusive).
    pub to: Option<TimestampMs>,
}

/// A flow-control key: its limits, and what is under way below them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "three claims that have nothing to do with one another"
)]
pub struct FlowView {
    /// The key.
    pub key: String,
    /// Messages that are due and wait.
    pub waiting_count: u64,
    /// Attempts under way at a time, at most; `None` is any number.
    pub parallelism_max: Option<u32>,
    /// Attempts under way.
    pub parallelism_count: u32,
    /// Attempts begun in one period, at most; `None` is any number.
    pub rate_max: Option<u32>,
    /// Attempts begun in this period.
    pub rate_count: u32,
    /// Length of a period, in milliseconds.
    pub rate_period_ms: Option<u64>,
    /// When this period began.
    pub rate_period_start: Option<TimestampMs>,
    /// Whether nothing is delivered.
    pub is_paused: bool,
    /// Whether messages do not change the parallelism.
    pub is_pinned_parallelism: bool,
    /// Whether messages do not change the rate.
    pub is_pinned_rate: bool,
}

/// Attempts under way over all destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParallelismView {
    /// At most.
    pub max: u32,
    /// Now.
    pub count: u32,
}
