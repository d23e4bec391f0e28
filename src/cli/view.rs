//! How what the broker answers looks as JSON and to people. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use storage::offset::TimestampMs;

use crate::http::base64::TextOrBase64;
use crate::protocol::letter::ReceiverView;
use crate::protocol::metadata::{LetterCounts, PartitionView, TopicView};
use crate::protocol::settings::{Durability, TopicSettings};

/// Returns a time as RFC 3339.
pub(super) fn time(time: TimestampMs) -> String {
    Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"))
}

/// Puts bytes into an object: under `name` as text, or under `name_base64` when they are none. What is not there at all is left
/// out.
pub(super) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    let view = TextOrBase64::from(bytes.cloned());
    if let Some(text) = view.text {
        object.insert(name.to_owned(), text.into());
    }
    if let Some(base64) = view.base64 {
        object.insert(format!("{name}_base64"), base64.into());
    }
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

/// Returns a receiver for people.
pub(super) fn receiver(receiver: &ReceiverView) -> String {
    match receiver {
        ReceiverView::Group(name) => name.clone(),
        ReceiverView::Destination(to) => format!("{} {}", to.method, to.url),
    }
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
    if count == 1 {
        return format!("1 {noun}");
    }
    if let Some(stem) = noun.strip_suffix('y') {
        return format!("{count} {stem}ies");
    }
    let ending = if noun.ends_with("ch") { "es" } else { "s" };
    format!("{count} {noun}{ending}")
}
