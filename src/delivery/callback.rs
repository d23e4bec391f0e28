//! Callbacks: the JSON that tells somebody how an attempt ended, and the message that carries it. PURE.
//!
//! | field | content |
//! |---|---|
//! | `status` | the answer's status; 0 when there was no answer |
//! | `header` | the answer's headers: lists of values by name |
//! | `body` | the answer's body, base64, up to a MiB of it; the error's text when there was no answer |
//! | `bodyIsCut` | `true` when there was more of it |
//! | `retried` | attempts before this one |
//! | `maxRetries` | attempts after the first, at most |
//! | `dlqId` | of the dead letter, when the message has failed for good |
//! | `sourceMessageId`, `url`, `method` | of the message |
//! | `sourceHeader`, `sourceBody` | what was sent: headers as lists, body in base64 |
//! | `notBefore`, `createdAt` | ms; `notBefore` is `createdAt` when nothing else was asked for |
//! | `callerIP`, `topicName`, `endpointName`, `scheduleId` | where they apply |
//!
//! `status` is always a number: receivers read it as one, and the SDKs read a dead letter's `responseStatus` in the same
//! way. True values are told, also of what is redacted: the callback's message is redacted instead.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use storage::dead_letter::AttemptResult;
use storage::delivery::{Callback, Envelope, Redaction};
use storage::hidden::{Hidden, HiddenHeaders};
use storage::offset::{Offset, TimestampMs};

use super::header_lists::HeaderLists;

/// The message and the attempt that a callback tells of.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The message's envelope.
    pub envelope: &'a Envelope,
    /// The message's id.
    pub message_id: &'a str,
    /// The message's body.
    pub source_body: &'a [u8],
    /// When the message was created.
    pub created_at: TimestampMs,
    /// Number of the attempt, 1 for the first.
    pub attempt: u32,
    /// How the attempt ended.
    pub result: AttemptResult,
    /// The answer's headers.
    pub headers: &'a [(String, String)],
    /// The answer's body, or the error's text.
    pub body: &'a [u8],
    /// Whether there was more of the body.
    pub is_body_cut: bool,
    /// The dead letter's id, when the message has failed for good.
    pub dlq_id: Option<&'a str>,
}

impl fmt::Debug for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told")
            .field("envelope", &self.envelope)
            .field("message_id", &self.message_id)
            .field("source_body", &Hidden(self.source_body))
            .field("created_at", &self.created_at)
            .field("attempt", &self.attempt)
            .field("result", &self.result)
            .field("headers", &HiddenHeaders(self.headers))
            .field("body", &Hidden(self.body))
            .field("is_body_cut", &self.is_body_cut)
            .field("dlq_id", &self.dlq_id)
            .finish()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    status: u16,
    header: HeaderLists,
    body: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    body_is_cut: bool,
    retried: u32,
    max_retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    dlq_id: Option<&'a str>,
    source_message_id: &'a str,
    url: &'a str,
    method: &'a str,
    source_header: HeaderLists,
    source_body: String,
    not_before: i64,
    created_at: i64,
    #[serde(rename = "callerIP", skip_serializing_if = "Option::is_none")]
    caller_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_id: Option<&'a str>,
}

/// Returns the body of a callback.
#[must_use]
pub fn callback_body(told: &Told<'_>) -> Bytes {
    let envelope = told.envelope;
    let payload = Payload {
        status: match told.result {
            AttemptResult::Status(status) => status,
            AttemptResult::Error(_) => 0,
        },
        header: told.headers.iter().collect(),
        body: STANDARD.encode(told.body),
        body_is_cut: told.is_body_cut,
        retried: told.attempt.saturating_sub(1),
        max_retries: envelope.retries,
        dlq_id: told.dlq_id,
        source_message_id: told.message_id,
        url: &envelope.url,
        method: &envelope.method,
        source_header: envelope.headers.iter().collect(),
        source_body: STANDARD.encode(told.source_body),
        not_before: envelope.not_before.unwrap_or(told.created_at).0,
        created_at: told.created_at.0,
        caller_ip: envelope.caller_ip.as_deref(),
        topic_name: envelope.url_group.as_deref(),
        endpoint_name: envelope.endpoint.as_deref(),
        schedule_id: envelope.schedule.as_deref(),
    };
    // Texts, numbers and lists of texts always become JSON.
    serde_json::to_vec(&payload).unwrap_or_default().into()
}

/// Returns the envelope of the message that carries a callback of `source` made at `now`. `root` is the queue's message
/// whose place it holds.
///
/// What the callback does not say about retries is as for its message. It has no labels, no callbacks, no queue and no
/// limits of its own. Its headers are redacted as the message's are, and its body if anything of the message is: it
/// repeats both.
#[must_use]
pub fn callback_envelope(
    source: &Envelope,
    callback: &Callback,
    now: TimestampMs,
    root: Option<Offset>,
) -> Envelope {
    let mut headers = callback.headers.clone();
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        let json = Bytes::from_static(b"application/json");
        headers.push(("Content-Type".to_owned(), json));
    }
    let wait = |delay_ms| now.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX));
    let retry_delay = callback
        .retry_delay
        .as_ref()
        .or(source.retry_delay.as_ref());
    Envelope {
        url: callback.url.clone(),
        method: callback.method.clone().unwrap_or_else(|| "POST".to_owned()),
        headers,
        not_before: callback.delay_ms.map(wait),
        retries: callback.retries.unwrap_or(source.retries),
        timeout_ms: callback.timeout_ms,
        retry_delay: retry_delay.cloned(),
        redaction: Redaction {
            body: source.redaction != Redaction::default(),
            ..source.redaction.clone()
        },
        caller_ip: source.caller_ip.clone(),
        root,
        ..Envelope::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use storage::dead_letter::ErrorClass;

    use super::*;

    const CREATED: TimestampMs = TimestampMs(1_795_867_200_000);

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, Bytes)> {
        let owned = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        pairs.iter().map(owned).collect()
    }

    fn source() -> Envelope {
        Envelope {
            url: "https://example.org/hook".to_owned(),
            method: "PUT".to_owned(),
            headers: pairs(&[("content-type", "text/plain"), ("X-Id", "1"), ("x-id", "2")]),
            retries: 3,
            retry_delay: Some("1000".to_owned()),
            labels: vec!["a".to_owned()],
            queue: Some("q".to_owned()),
            timeout_ms: Some(9000),
            ..Envelope::default()
        }
    }

    fn told(envelope: &Envelope) -> Told<'_> {
        Told {
            envelope,
            message_id: "msg1",
            source_body: b"\xff\x00",
            created_at: CREATED,
            attempt: 3,
            result: AttemptResult::Status(503),
            headers: &[],
            body: b"no",
            is_body_cut: false,
            dlq_id: None,
        }
    }

    fn read(told: &Told<'_>) -> Value {
        serde_json::from_slice(&callback_body(told)).unwrap()
    }

    #[test]
    fn the_body_says_how_the_attempt_ended() {
        let envelope = source();
        let headers = [("retry-after".to_owned(), "9".to_owned())];
        let told = Told {
            headers: &headers,
            ..told(&envelope)
        };
        let expected = json!({
            "status": 503,
            "header": {"Retry-After": ["9"]},
            "body": "bm8=",
            "retried": 2,
            "maxRetries": 3,
            "sourceMessageId": "msg1",
            "url": "https://example.org/hook",
            "method": "PUT",
            "sourceHeader": {"Content-Type": ["text/plain"], "X-Id": ["1", "2"]},
            "sourceBody": "/wA=",
            "notBefore": 1_795_867_200_000_i64,
            "createdAt": 1_795_867_200_000_i64,
        });
        assert_eq!(read(&told), expected);
    }

    #[test]
    fn the_body_says_what_applies() {
        let envelope = Envelope {
            caller_ip: Some("203.0.113.9".to_owned()),
            url_group: Some("group".to_owned()),
            endpoint: Some("one".to_owned()),
            schedule: Some("scd_1".to_owned()),
            not_before: Some(CREATED.saturating_add(5)),
            ..source()
        };
        let body = read(&Told {
            is_body_cut: true,
            dlq_id: Some("dlq1"),
            ..told(&envelope)
        });
        for (field, expected) in [
            ("callerIP", json!("203.0.113.9")),
            ("topicName", json!("group")),
            ("endpointName", json!("one")),
            ("scheduleId", json!("scd_1")),
            ("bodyIsCut", json!(true)),
            ("dlqId", json!("dlq1")),
            ("notBefore", json!(1_795_867_200_005_i64)),
        ] {
            assert_eq!(body[field], expected, "{field}");
        }
    }

    #[test]
    fn without_an_answer_the_status_is_0_and_the_body_the_error() {
        let envelope = source();
        let body = read(&Told {
            result: AttemptResult::Error(ErrorClass::CONNECT),
            body: b"connection refused",
            ..told(&envelope)
        });
        assert_eq!(body["status"], 0);
        assert_eq!(body["body"], "Y29ubmVjdGlvbiByZWZ1c2Vk");
        assert_eq!(body["header"], json!({}));
    }

    #[test]
    fn a_callback_takes_from_its_message_what_it_does_not_say() {
        let callback = Callback {
            url: "https://example.org/called".to_owned(),
            ..Callback::default()
        };
        let source = Envelope {
            caller_ip: Some("203.0.113.9".to_owned()),
            schedule: Some("scd_1".to_owned()),
            dedup: Some([1; 16]),
            callback: Some(callback.clone()),
            failure_callback: Some(callback.clone()),
            ..source()
        };
        let expected = Envelope {
            url: "https://example.org/called".to_owned(),
            method: "POST".to_owned(),
            headers: pairs(&[("Content-Type", "application/json")]),
            retries: 3,
            retry_delay: Some("1000".to_owned()),
            caller_ip: Some("203.0.113.9".to_owned()),
            root: Some(Offset(7)),
            ..Envelope::default()
        };
        let found = callback_envelope(&source, &callback, CREATED, Some(Offset(7)));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_callbacks_own_settings_win() {
        let callback = Callback {
            url: "https://example.org/called".to_owned(),
            method: Some("PATCH".to_owned()),
            headers: pairs(&[("X-One", "1"), ("content-type", "application/x")]),
            retries: Some(0),
            timeout_ms: Some(2000),
            retry_delay: Some("2000".to_owned()),
            delay_ms: Some(5000),
        };
        let found = callback_envelope(&source(), &callback, CREATED, None);
        let expected = Envelope {
            url: callback.url.clone(),
            method: "PATCH".to_owned(),
            headers: callback.headers.clone(),
            not_before: Some(CREATED.saturating_add(5000)),
            retries: 0,
            timeout_ms: Some(2000),
            retry_delay: Some("2000".to_owned()),
            ..Envelope::default()
        };
        assert_eq!(found, expected);
        let far = Callback {
            delay_ms: Some(u64::MAX),
            ..callback
        };
        let found = callback_envelope(&source(), &far, CREATED, None);
        assert_eq!(found.not_before, Some(TimestampMs(i64::MAX)));
    }

    #[test]
    fn whatever_is_redacted_of_a_message_redacts_its_callbacks_body() {
        let body = Redaction {
            body: true,
            ..Redaction::default()
        };
        let names = Redaction {
            header_names: vec!["authorization".to_owned()],
            ..Redaction::default()
        };
        let headers = Redaction {
            headers: true,
            ..Redaction::default()
        };
        for redaction in [Redaction::default(), body, names, headers] {
            let is_redacted = redaction != Redaction::default();
            let source = Envelope {
                redaction: redaction.clone(),
                ..source()
            };
            let found = callback_envelope(&source, &Callback::default(), CREATED, None);
            assert_eq!(found.redaction.body, is_redacted, "{redaction:?}");
            assert_eq!(found.redaction.headers, redaction.headers);
            assert_eq!(found.redaction.header_names, redaction.header_names);
        }
    }
}
