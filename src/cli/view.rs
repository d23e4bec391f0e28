//! How what the broker answers looks as JSON and to people. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use storage::offset::TimestampMs;

use crate::protocol::letter::{AttemptView, LetterView, ReceiverView, error_class_name};
use crate::protocol::metadata::{LetterCounts, PartitionView, TopicView};
use crate::protocol::settings::{Durability, TopicSettings};

/// Dispositions by number, as the command line and the JSON name them.
pub(super) const DISPOSITIONS: &[(u8, &str)] = &[
    (1, "retries-exhausted"),
    (2, "not-retryable"),
    (3, "rejected"),
    (4, "destination-forbidden"),
];

/// Returns the name of a disposition, or its number.
pub(super) fn disposition(number: u8) -> String {
    let named = DISPOSITIONS.iter().find(|(known, _)| *known == number);
    named.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Returns a time as RFC 3339.
pub(super) fn time(time: TimestampMs) -> String {
    Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"))
}

/// Puts bytes into an object: under `name` as text, or under `name_hex` when they are none.
pub(super) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    let Some(bytes) = bytes else {
        object.insert(name.to_owned(), Value::Null);
        return;
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a string does not fail.
        let _ok = write!(text, "{byte:02x}");
    }
    text
}

/// Returns headers as an array of objects: a name may come more than once.
pub(super) fn headers(headers: &[(String, Option<Bytes>)]) -> Value {
    let objects = headers.iter().map(|(name, value)| {
        let mut object = Map::new();
        object.insert("name".to_owned(), name.as_str().into());
        put_bytes(&mut object, "value", value.as_ref());
        Value::Object(object)
    });
    objects.collect()
}

/// Returns the word for a durability.
pub(super) fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Synced => "synced",
        Durability::Written => "written",
    }
}

/// Returns a topic as JSON.
pub(super) fn topic(topic: &TopicView) -> Value {
    let partitions: Vec<Value> = topic.partitions.iter().map(partition).collect();
    json!({
        "name": topic.name,
        "durability": durability(topic.durability),
        "settings": settings(&topic.settings),
        "partitions": partitions,
    })
}

fn settings(settings: &TopicSettings) -> Value {
    json!({
        "segment_bytes": settings.segment_bytes,
        "segment_ms": settings.segment_ms,
        "retention_ms": settings.retention_ms,
        "retention_bytes": settings.retention_bytes,
        "dead_letter_retention_ms": settings.dead_letter_retention_ms,
        "dead_letter_retention_bytes": settings.dead_letter_retention_bytes,
        "record_bytes_max": settings.record_bytes_max,
        "batch_bytes_max": settings.batch_bytes_max,
    })
}

fn partition(partition: &PartitionView) -> Value {
    json!({
        "index": partition.index,
        "number": partition.number,
        "log_start_offset": partition.log_start_offset.0,
        "high_watermark": partition.high_watermark.0,
        "log_end_offset": partition.log_end_offset.0,
        "dead_letters": letter_counts(&partition.letters),
    })
}

/// Returns counts of dead letters as JSON.
pub(super) fn letter_counts(counts: &LetterCounts) -> Value {
    json!({
        "live": counts.live,
        "republished": counts.republished,
        "deleted": counts.deleted,
        "expired": counts.expired,
    })
}

/// Returns a dead letter as JSON.
pub(super) fn letter(letter: &LetterView) -> Value {
    let history: Vec<Value> = letter.history.iter().map(attempt).collect();
    let mut record = Map::new();
    record.insert("timestamp".to_owned(), letter.record_timestamp.0.into());
    put_bytes(&mut record, "key", letter.key.as_ref());
    put_bytes(&mut record, "value", letter.value.as_ref());
    record.insert("headers".to_owned(), headers(&letter.headers));
    json!({
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "dead_letter_offset": letter.dead_letter_offset.0,
        "source_offset": letter.source_offset.0,
        "receiver": receiver_json(&letter.receiver),
        "disposition": disposition(letter.disposition),
        "reason": letter.reason.0,
        "details": letter.details.as_ref().map(|details| details.0.as_str()),
        "died_at": letter.died_at.0,
        "fingerprint": letter.fingerprint,
        "first_message_id": letter.first_message_id,
        "republished": letter.republished,
        "history": history,
        "attempts_left_out": letter.attempts_left_out,
        "labels": letter.labels,
        "message_id": letter.message_id,
        "caller": letter.caller,
        "record": record,
    })
}

fn receiver_json(receiver: &ReceiverView) -> Value {
    match receiver {
        ReceiverView::Group(name) => json!({ "group": name }),
        ReceiverView::Destination(to) => json!({ "destination": {
            "method": to.method,
            "url": to.url,
            "url_group": to.url_group,
            "endpoint": to.endpoint,
            "queue": to.queue,
            "schedule": to.schedule,
            "flow_control_key": to.flow_control_key,
        } }),
    }
}

/// Returns a receiver for people.
pub(super) fn receiver(receiver: &ReceiverView) -> String {
    match receiver {
        ReceiverView::Group(name) => name.clone(),
        ReceiverView::Destination(to) => format!("{} {}", to.method, to.url),
    }
}

fn attempt(attempt: &AttemptView) -> Value {
    let headers: Vec<Value> = attempt
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name.0, "value": value.0 }))
        .collect();
    let mut object = Map::new();
    object.insert("number".to_owned(), attempt.number.into());
    object.insert("started_at".to_owned(), attempt.started_at.0.into());
    object.insert("duration_ms".to_owned(), attempt.duration_ms.into());
    object.insert("status".to_owned(), attempt.status.into());
    let error = attempt.error.as_ref().map(|error| error.0.as_str());
    object.insert("error".to_owned(), error.into());
    let class = attempt.error_class.map(error_class_name);
    object.insert("error_class".to_owned(), class.into());
    object.insert("headers".to_owned(), headers.into());
    put_bytes(&mut object, "body", Some(&attempt.body));
    object.insert("is_cut".to_owned(), attempt.is_cut.into());
    Value::Object(object)
}

/// Returns text from elsewhere for a terminal: what would steer it is replaced.
pub(super) fn plain(text: &str) -> String {
    let is_steering = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.replace(is_steering, "\u{fffd}")
}

/// Cuts text for a table's cell: one line, not too long.
pub(super) fn cell(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let mut cut: String = plain(line).chars().take(CHARS_MAX).collect();
    if cut.chars().count() < text.chars().count() {
        cut.push_str("...");
    }
    cut
}

/// Returns a count with its noun.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
