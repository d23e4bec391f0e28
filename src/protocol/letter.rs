//! A dead letter, as answers show it.
//!
//! | letter | type | meaning |
//! |---|---|---|
//! | id | string | |
//! | topic, partition index | string, `u32` | of the record, and of the letter |
//! | dead-letter offset, source offset | offset, offset | in the dead-letter log, in the main log |
//! | receiver | `u8`, then string or destination | 1 group: name; 2 destination |
//! | disposition | `u8` | 1 retries exhausted, 2 not retryable, 3 rejected by a group, 4 destination forbidden |
//! | reason, details | text, optional text | |
//! | died at | time | |
//! | fingerprint | string | 18 hex digits |
//! | first message id, republished | optional string, `u32` | lineage: the first ancestor, and how many there are |
//! | history, attempts left out | array of attempt, `u32` | the first attempt and the last ones |
//! | labels | array of string | |
//! | message id, caller | optional string, optional string | |
//! | record timestamp | time | by the producer's clock |
//! | key, value | optional bytes, optional bytes | |
//! | headers | array of (name string, optional bytes) | none that is the broker's own; of a pushed record those that it carries to its destination |
//!
//! What of a pushed record is redacted stands as `REDACTED:` and its SHA-256 in hex.
//!
//! | destination | type | meaning |
//! |---|---|---|
//! | method, url | string, string | |
//! | URL group, endpoint, queue, schedule, flow-control key | five optional strings | since version 2; the endpoint by its name in the group, the schedule by its id |
//!
//! | attempt | type | meaning |
//! |---|---|---|
//! | started at, duration ms | time, `u32` | |
//! | status | optional `u16` | HTTP status of the answer |
//! | error | optional text | what went wrong when there was no answer |
//! | headers | array of (name text, value text) | of the answer |
//! | body, is cut | bytes, bool | of the answer; whether anything of it was left out |
//! | number | `u32` | since version 2; 1 is the first |
//! | error class | optional `u8` | since version 2; 1 resolve, 2 connect, 3 TLS, 4 timeout, 5 broken, 6 protocol, 7 forbidden |

use bytes::Bytes;
use storage::offset::{Offset, TimestampMs};

use super::cursor::{DecodeError, Reader, Text, Wire, Writer, wire_struct};

/// For whom the record was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverView {
    /// A group, by name.
    Group(String),
    /// A destination.
    Destination(DestinationView),
}

/// Where a pushed record was to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DestinationView {
    /// HTTP method.
    pub method: String,
    /// URL.
    pub url: String,
    /// The URL group that it was published to.
    pub url_group: Option<String>,
    /// The endpoint's name in that group.
    pub endpoint: Option<String>,
    /// The queue that it stood in.
    pub queue: Option<String>,
    /// Id of the schedule that published it.
    pub schedule: Option<String>,
    /// The flow-control key.
    pub flow_control_key: Option<String>,
}
wire_struct!(DestinationView { method, url } since 2 {
    url_group,
    endpoint,
    queue,
    schedule,
    flow_control_key,
});

impl Wire for ReceiverView {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Group(name) => {
                1_u8.write(writer);
                name.write(writer);
            }
            Self::Destination(destination) => {
                2_u8.write(writer);
                destination.write(writer);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            1 => Ok(Self::Group(Wire::read(reader)?)),
            2 => Ok(Self::Destination(Wire::read(reader)?)),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterView {
    /// Id.
    pub id: String,
    /// Topic of the record.
    pub topic: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// Offset of the letter in the dead-letter log.
    pub dead_letter_offset: Offset,
    /// Offset of the record in the main log.
    pub source_offset: Offset,
    /// For whom the record was.
    pub receiver: ReceiverView,
    /// Why it died, by number.
    pub disposition: u8,
    /// Why it died, in short.
    pub reason: Text,
    /// Why it died, at length.
    pub details: Option<Text>,
    /// When it died.
    pub died_at: TimestampMs,
    /// What failures like it have in common.
    pub fingerprint: String,
    /// Message id of its first ancestor.
    pub first_message_id: Option<String>,
    /// How often it and its ancestors were republished.
    pub republished: u32,
    /// Attempts, oldest first.
    pub history: Vec<AttemptView>,
    /// Attempts between the first and the others of `history` that are not in it.
    pub attempts_left_out: u32,
    /// Labels.
    pub labels: Vec<String>,
    /// Message id of the record.
    pub message_id: Option<String>,
    /// Who published it.
    pub caller: Option<String>,
    /// The record's time, by the producer's clock.
    pub record_timestamp: TimestampMs,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's value.
    pub value: Option<Bytes>,
    /// The record's headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}
wire_struct!(LetterView {
    id,
    topic,
    partition,
    dead_letter_offset,
    source_offset,
    receiver,
    disposition,
    reason,
    details,
    died_at,
    fingerprint,
    first_message_id,
    republished,
    history,
    attempts_left_out,
    labels,
    message_id,
    caller,
    record_timestamp,
    key,
    value,
    headers,
});

/// Names of the classes of errors, from 1 on.
const ERROR_CLASSES: [&str; 7] = [
    "resolve",
    "connect",
    "tls",
    "timeout",
    "broken",
    "protocol",
    "forbidden",
];

/// Names of dispositions, by number from 1, as every surface writes them.
const DISPOSITIONS: [&str; 4] = [
    "retries_exhausted",
    "not_retryable",
    "rejected",
    "destination_forbidden",
];

/// Returns the name of a disposition; a number that this version does not know stands for itself.
#[must_use]
pub fn disposition_name(number: u8) -> String {
    name_in(&DISPOSITIONS, number)
}

/// Returns the disposition of a name, or of a number as text.
#[must_use]
pub fn disposition_number(text: &str) -> Option<u8> {
    let mut known = (1..).zip(DISPOSITIONS);
    let found = known.find(|(_, name)| *name == text);
    found.map_or_else(|| text.parse().ok(), |(number, _)| Some(number))
}

/// Returns what a disposition may be, for an error.
#[must_use]
pub fn disposition_choices() -> String {
    format!("{}, or a number up to 255", DISPOSITIONS.join(", "))
}

/// Returns the name of a class of errors; a number that this version does not know stands for itself.
#[must_use]
pub fn error_class_name(class: u8) -> String {
    name_in(&ERROR_CLASSES, class)
}

fn name_in(names: &[&str], number: u8) -> String {
    let found = usize::from(number)
        .checked_sub(1)
        .and_then(|at| names.get(at));
    found.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// One attempt at delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    /// When it began.
    pub started_at: TimestampMs,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// What went wrong when there was no answer.
    pub error: Option<Text>,
    /// Headers of the answer.
    pub headers: Vec<(Text, Text)>,
    /// Body of the answer.
    pub body: Bytes,
    /// Whether anything of the answer was left out.
    pub is_cut: bool,
    /// Its number: 1 is the first.
    pub number: u32,
    /// What kind of thing went wrong when there was no answer.
    pub error_class: Option<u8>,
}
wire_struct!(AttemptView {
    started_at,
    duration_ms,
    status,
    error,
    headers,
    body,
    is_cut
} since 2 {
    number,
    error_class
});
