//! Answers as clients read them.

mod letters;
mod resources;

use bytes::Bytes;
use serde_json::{Value, json};
use storage::batch::Record;
use storage::dead_letter::{
    Attempt, AttemptResult, DeadLetter, Destination, Disposition, ErrorClass, History, Lineage,
    Receiver, Source,
};
use storage::delivery::envelope::ENVELOPE_HEADER;
use storage::delivery::{Callback, Envelope, FlowControl, Redaction};
use storage::log_id::PartitionNumber;
use storage::offset::{Offset, TimestampMs};

use super::*;
use crate::delivery::api::{
    DeadMessage, FlowView, LogEvent, MessageState, MessageView, ParallelismView, Published,
    PublishedMessage, ResponseView,
};
use crate::delivery::redact::redacted;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn header(name: &str, value: &'static str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from_static(value.as_bytes()))
}

fn callback(url: &str) -> Callback {
    Callback {
        url: url.to_owned(),
        headers: vec![header("x-c", "1")],
        ..Callback::default()
    }
}

fn full() -> Envelope {
    Envelope {
        url: "https://a/b".to_owned(),
        method: "PUT".to_owned(),
        headers: vec![
            header("content-type", "a/b"),
            header("x-a", "1"),
            header("x-a", "2"),
        ],
        not_before: Some(TimestampMs(5)),
        retries: 2,
        timeout_ms: Some(1500),
        retry_delay: Some("1000".to_owned()),
        labels: vec!["one".to_owned(), "two".to_owned()],
        dedup: Some([1; 16]),
        callback: Some(callback("https://c")),
        failure_callback: Some(callback("https://f")),
        flow: Some(FlowControl {
            key: "k".to_owned(),
            parallelism: Some(3),
            rate: Some(4),
            period_ms: Some(1500),
        }),
        queue: Some("q".to_owned()),
        url_group: Some("g".to_owned()),
        endpoint: Some("e".to_owned()),
        schedule: Some("s".to_owned()),
        redaction: Redaction::default(),
        caller_ip: Some("127.0.0.1".to_owned()),
        root: None,
    }
}

fn least() -> Envelope {
    Envelope {
        url: "https://a".to_owned(),
        method: "POST".to_owned(),
        ..Envelope::default()
    }
}

fn value(shown: &impl serde::Serialize) -> Value {
    serde_json::to_value(shown).unwrap()
}

/// What every view of [`full`] has.
fn full_json() -> Value {
    json!({
        "messageId": "m", "url": "https://a/b", "method": "PUT",
        "header": {"Content-Type": ["a/b"], "X-A": ["1", "2"]},
        "maxRetries": 2, "label": "one", "labels": ["one", "two"],
        "flowControlKey": "k", "parallelism": 3, "rate": 4, "period": 2,
        "callerIP": "127.0.0.1", "callerIp": "127.0.0.1",
        "topicName": "g", "endpointName": "e", "queueName": "q", "scheduleId": "s",
        "callback": "https://c", "failureCallback": "https://f", "retryDelayExpression": "1000",
    })
}

#[track_caller]
fn assert_is(shown: &Value, mut expected: Value, more: Value) {
    let (Value::Object(all), Value::Object(more)) = (&mut expected, more) else {
        panic!("no objects");
    };
    all.extend(more);
    assert_eq!(*shown, expected);
}

fn message(envelope: Envelope, body: &'static [u8]) -> Value {
    value(&MessageJson::from(MessageView {
        id: "m".to_owned(),
        envelope,
        body: Bytes::from_static(body),
        created_at: NOW,
        state: MessageState::Created,
        attempts: 0,
        next_attempt_at: None,
    }))
}

#[test]
fn a_message_has_all_its_fields() {
    let more = json!({
        "notBefore": 5, "createdAt": NOW.0, "body": "text",
        "callbackHeader": {"X-C": ["1"]}, "failureCallbackHeader": {"X-C": ["1"]},
    });
    assert_is(&message(full(), b"text"), full_json(), more);
}

#[test]
fn what_a_message_does_not_have_is_absent_and_what_clients_read_stands() {
    let expected = json!({
        "messageId": "m", "url": "https://a", "method": "POST", "header": {}, "maxRetries": 0,
        "notBefore": NOW.0, "createdAt": NOW.0, "bodyBase64": "/w==",
    });
    assert_eq!(message(least(), b"\xff"), expected);
}

#[test]
fn redacted_parts_are_shown_as_hashes_everywhere() {
    let mut envelope = full();
    envelope.redaction = Redaction {
        body: true,
        headers: true,
        header_names: Vec::new(),
    };
    let shown = message(envelope.clone(), b"secret");
    assert_eq!(shown["body"], redacted(b"secret"));
    assert_eq!(
        shown["header"]["X-A"],
        json!([redacted(b"1"), redacted(b"2")])
    );
    assert_eq!(shown["callbackHeader"]["X-C"], json!([redacted(b"1")]));
    let log = value(&LogEntryJson::from(event(envelope.clone(), None)));
    assert_eq!(log["body"], redacted(b"text"));
    assert_eq!(log["callbackHeaders"]["X-C"], json!([redacted(b"1")]));
    let dead = dead(&envelope, History::default());
    assert_eq!(dead["body"], redacted(b"text"));
    assert!(!dead.to_string().contains("\"2\""), "{dead}");
}

fn attempt(result: AttemptResult, body: &'static [u8]) -> Attempt {
    Attempt {
        number: 1,
        time: NOW,
        duration_ms: 5,
        result,
        headers: vec![("retry-after".to_owned(), "5".to_owned())],
        body: Bytes::from_static(body),
        is_body_cut: false,
        are_headers_cut: false,
    }
}

fn letter(headers: Vec<(String, Option<Bytes>)>, history: History) -> DeadMessage {
    let mut letter = DeadLetter {
        source: Source {
            topic: "_push".to_owned(),
            partition: PartitionNumber(1),
            partition_index: 0,
            offset: Offset(5),
        },
        receiver: Receiver::Destination(Destination {
            url: "https://a/b".to_owned(),
            method: "PUT".to_owned(),
            ..Destination::default()
        }),
        record: Record {
            timestamp: NOW,
            key: None,
            value: Some(Bytes::from_static(b"text")),
            headers,
        },
        disposition: Disposition::RETRIES_EXHAUSTED,
        died_at: NOW,
        reason: "the destination is forbidden".to_owned(),
        details: None,
        history,
        fingerprint: storage::dead_letter::Fingerprint::default(),
        lineage: Lineage::default(),
        labels: vec!["one".to_owned()],
        message_id: Some("m".to_owned()),
        caller: Some("127.0.0.1".to_owned()),
        cut: 0,
    };
    letter.fingerprint = letter.compute_fingerprint();
    DeadMessage {
        id: "d".to_owned(),
        letter,
    }
}

fn dead(envelope: &Envelope, history: History) -> Value {
    let carried = (
        ENVELOPE_HEADER.to_owned(),
        Some(Bytes::from(envelope.encode())),
    );
    value(&DeadLetterJson::from(letter(vec![carried], history)))
}

fn event(envelope: Envelope, response: Option<ResponseView>) -> LogEvent {
    LogEvent {
        time: TimestampMs(7),
        message_id: "m".to_owned(),
        state: MessageState::Error,
        envelope,
        body: Bytes::from_static(b"text"),
        error: response.as_ref().map(|_| "why".to_owned()),
        next_delivery_at: response.as_ref().map(|_| TimestampMs(8)),
        response,
    }
}

#[test]
fn a_log_entry_has_all_its_fields_under_both_names() {
    let response = ResponseView {
        result: AttemptResult::Status(500),
        headers: vec![("x-r".to_owned(), "1".to_owned())],
        body: Bytes::from_static(b"foo"),
    };
    let shown = value(&LogEntryJson::from(event(full(), Some(response))));
    let more = json!({
        "time": 7, "state": "ERROR", "body": "dGV4dA==", "retryDelayExpr": "1000", "timeout": 1500,
        "error": "why", "nextDeliveryTime": 8,
        "callbackHeaders": {"X-C": ["1"]}, "failureCallbackHeaders": {"X-C": ["1"]},
        "responseStatus": 500, "responseBody": "Zm9v",
        "responseHeader": {"X-R": ["1"]}, "responseHeaders": {"X-R": ["1"]},
    });
    assert_is(&shown, full_json(), more);
    let shown = value(&LogEntryJson::from(event(least(), None)));
    let expected = json!({
        "time": 7, "state": "ERROR", "messageId": "m", "url": "https://a", "method": "POST",
        "header": {}, "maxRetries": 0, "body": "dGV4dA==",
    });
    assert_eq!(shown, expected);
}

#[test]
fn states_are_spelt_as_clients_compare_them() {
    let names = MessageState::ALL.map(MessageState::name);
    let expected = [
        "CREATED",
        "ACTIVE",
        "RETRY",
        "ERROR",
        "DELIVERED",
        "FAILED",
        "CANCEL_REQUESTED",
        "CANCELED",
    ];
    assert_eq!(names, expected);
}
