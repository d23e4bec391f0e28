//! The envelope of a pushed record: where it goes, and by which rules. The value of the reserved header [`ENVELOPE_HEADER`].
//!
//! The record's value is the body, byte for byte; its timestamp is when the message was created. All numbers are big-endian.
//!
//! | field | bytes | meaning |
//! |---|---|---|
//! | version | 1 | [`ENVELOPE_VERSION`] |
//! | fields | | tagged fields (see `fields.rs`), by rising tag; an unknown tag is an error |
//!
//! | tag | field | content |
//! |---|---|---|
//! | 1 | url | text |
//! | 2 | method | text |
//! | 3 | headers | to the end: name (block), value (block) |
//! | 4 | not before | i64, ms; absent: at once |
//! | 5 | retries | u32 |
//! | 6 | timeout | u64, ms; absent: the broker's default |
//! | 7 | retry delay | text, an expression; absent: the default backoff |
//! | 8 | labels | blocks |
//! | 9 | deduplication key | 16 bytes |
//! | 10 | callback | tagged fields: 1 url, 2 method, 3 headers, 4 retries u32, 5 timeout u64 ms, 6 retry delay, 7 delay u64 ms; 1 always |
//! | 11 | failure callback | the same |
//! | 12 | flow control | tagged fields: 1 key, 2 parallelism u32, 3 rate u32, 4 period u64 ms; 1 always |
//! | 13 | queue | text |
//! | 14 | URL group | text |
//! | 15 | endpoint | text: its name in the group |
//! | 16 | schedule | text: its id |
//! | 17 | redaction | bits u8 (0 body, 1 all headers), then to the end: header names (blocks) |
//! | 18 | caller IP | text |
//! | 19 | root | u64: a callback's own: offset of the queue's message in this main log that it belongs to |

use bytes::Bytes;

use crate::error::Corruption;
use crate::fields::{
    Fields, Reader, missing, owned, put_block, put_field, put_text_field, text, wrong,
};
use crate::offset::{Offset, TimestampMs};

/// Reserved header whose value is an [`Envelope`].
pub const ENVELOPE_HEADER: &str = "redrive.envelope";
/// The version of this layout.
pub const ENVELOPE_VERSION: u8 = 1;

const PART: &str = "envelope";
const REDACT_BODY: u8 = 1;
const REDACT_HEADERS: u8 = 2;

/// Where a pushed record goes, and by which rules. `Debug` shows no value of a header and no query.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// The destination.
    pub url: String,
    /// The HTTP method.
    pub method: String,
    /// Headers for the destination, as they are sent, the content type among them.
    pub headers: Vec<(String, Bytes)>,
    /// Time before which it is not attempted; `None` is at once.
    pub not_before: Option<TimestampMs>,
    /// Attempts after the first one, at most.
    pub retries: u32,
    /// Time for one attempt, in milliseconds; `None` is the broker's default.
    pub timeout_ms: Option<u64>,
    /// Expression for the delay before a retry, in milliseconds; `None` is the default backoff.
    pub retry_delay: Option<String>,
    /// Labels for finding it.
    pub labels: Vec<String>,
    /// Hash of what makes it a duplicate of another one.
    pub dedup: Option<[u8; 16]>,
    /// Whom to tell of every attempt's end.
    pub callback: Option<Callback>,
    /// Whom to tell when it fails for good.
    pub failure_callback: Option<Callback>,
    /// Which messages it shares limits with.
    pub flow: Option<FlowControl>,
    /// The queue that it stands in.
    pub queue: Option<String>,
    /// The URL group that it was published to.
    pub url_group: Option<String>,
    /// The name of its endpoint in that group.
    pub endpoint: Option<String>,
    /// Id of the schedule that published it.
    pub schedule: Option<String>,
    /// What is not shown.
    pub redaction: Redaction,
    /// Address of the publisher.
    pub caller_ip: Option<String>,
    /// Of a callback: the queue's message in the same main log whose place in the queue it holds.
    pub root: Option<Offset>,
}

/// Whom to tell of an end, and how. `Debug` as of [`Envelope`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Callback {
    /// The destination.
    pub url: String,
    /// The HTTP method; `None` is POST.
    pub method: Option<String>,
    /// Headers for the destination.
    pub headers: Vec<(String, Bytes)>,
    /// Attempts after the first one; `None` is as many as the message itself.
    pub retries: Option<u32>,
    /// Time for one attempt, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Expression for the delay before a retry; `None` is the message's own.
    pub retry_delay: Option<String>,
    /// Time to wait before the first attempt, in milliseconds.
    pub delay_ms: Option<u64>,
}

/// Limits that all messages with the same key share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowControl {
    /// The key.
    pub key: String,
    /// Attempts under way at a time; `None` is any number.
    pub parallelism: Option<u32>,
    /// Attempts begun in one period; `None` is any number.
    pub rate: Option<u32>,
    /// Length of a period, in milliseconds; `None` is one second.
    pub period_ms: Option<u64>,
}

/// What is shown only as a hash. Deliveries carry the true values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redaction {
    /// The body.
    pub body: bool,
    /// All headers.
    pub headers: bool,
    /// These headers, by name in lower case.
    pub header_names: Vec<String>,
}

impl Envelope {
    /// Encodes the envelope as the value of [`ENVELOPE_HEADER`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![ENVELOPE_VERSION];
        put_field(&mut out, 1, self.url.as_bytes());
        put_field(&mut out, 2, self.method.as_bytes());
        put_headers(&mut out, 3, &self.headers);
        put_number(&mut out, 4, self.not_before.map(|t| t.0.to_be_bytes()));
        put_field(&mut out, 5, &self.retries.to_be_bytes());
        put_number(&mut out, 6, self.timeout_ms.map(u64::to_be_bytes));
        put_text_field(&mut out, 7, self.retry_delay.as_deref());
        put_texts(&mut out, 8, &self.labels);
        put_number(&mut out, 9, self.dedup);
        put_part(&mut out, 10, self.callback.as_ref().map(Callback::encode));
        put_part(
            &mut out,
            11,
            self.failure_callback.as_ref().map(Callback::encode),
        );
        put_part(&mut out, 12, self.flow.as_ref().map(FlowControl::encode));
        put_text_field(&mut out, 13, self.queue.as_deref());
        put_text_field(&mut out, 14, self.url_group.as_deref());
        put_text_field(&mut out, 15, self.endpoint.as_deref());
        put_text_field(&mut out, 16, self.schedule.as_deref());
        if self.redaction != Redaction::default() {
            put_field(&mut out, 17, &self.redaction.encode());
        }
        put_text_field(&mut out, 18, self.caller_ip.as_deref());
        put_number(&mut out, 19, self.root.map(|root| root.0.to_be_bytes()));
        out
    }

    /// Decodes an envelope.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new(PART, bytes);
        let version = reader.u8()?;
        if version != ENVELOPE_VERSION {
            return Err(wrong("envelope version", u64::from(version)));
        }
        let mut envelope = Self::default();
        let (mut has_url, mut has_method, mut has_retries) = (false, false, false);
        let mut fields = Fields::new(reader);
        while let Some((tag, bytes)) = fields.next()? {
            has_url |= tag == 1;
            has_method |= tag == 2;
            has_retries |= tag == 5;
            envelope.take(tag, bytes)?;
        }
        if has_url && has_method && has_retries {
            Ok(envelope)
        } else {
            Err(missing("envelope url, method or retries"))
        }
    }

    fn take(&mut self, tag: u8, bytes: &[u8]) -> Result<(), Corruption> {
        match tag {
            1 => self.url = text("url", bytes)?,
            2 => self.method = text("method", bytes)?,
            3 => self.headers = decode_headers(bytes)?,
            4 => {
                self.not_before =
                    Some(TimestampMs(i64::from_be_bytes(array("not before", bytes)?)));
            }
            5 => self.retries = u32::from_be_bytes(array("retries", bytes)?),
            6 => self.timeout_ms = Some(u64::from_be_bytes(array("timeout", bytes)?)),
            7 => self.retry_delay = Some(text("retry delay", bytes)?),
            8 => self.labels = decode_texts("label", bytes)?,
            9 => self.dedup = Some(array("deduplication key", bytes)?),
            10 => self.callback = Some(Callback::decode(bytes)?),
            11 => self.failure_callback = Some(Callback::decode(bytes)?),
            12 => self.flow = Some(FlowControl::decode(bytes)?),
            13 => self.queue = Some(text("queue", bytes)?),
            14 => self.url_group = Some(text("url group", bytes)?),
            15 => self.endpoint = Some(text("endpoint", bytes)?),
            16 => self.schedule = Some(text("schedule", bytes)?),
            17 => self.redaction = Redaction::decode(bytes)?,
            18 => self.caller_ip = Some(text("caller ip", bytes)?),
            19 => self.root = Some(Offset(u64::from_be_bytes(array("root", bytes)?))),
            other => return Err(wrong("envelope tag", u64::from(other))),
        }
        Ok(())
    }
}

impl Callback {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 1, self.url.as_bytes());
        put_text_field(&mut out, 2, self.method.as_deref());
        put_headers(&mut out, 3, &self.headers);
        put_number(&mut out, 4, self.retries.map(u32::to_be_bytes));
        put_number(&mut out, 5, self.timeout_ms.map(u64::to_be_bytes));
        put_text_field(&mut out, 6, self.retry_delay.as_deref());
        put_number(&mut out, 7, self.delay_ms.map(u64::to_be_bytes));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut callback = Self::default();
        let mut has_url = false;
        let mut fields = Fields::new(Reader::new("callback", bytes));
        while let Some((tag, bytes)) = fields.next()? {
            has_url |= tag == 1;
            match tag {
                1 => callback.url = text("callback url", bytes)?,
                2 => callback.method = Some(text("callback method", bytes)?),
                3 => callback.headers = decode_headers(bytes)?,
                4 => {
                    callback.retries = Some(u32::from_be_bytes(array("callback retries", bytes)?));
                }
                5 => {
                    callback.timeout_ms =
                        Some(u64::from_be_bytes(array("callback timeout", bytes)?));
                }
                6 => callback.retry_delay = Some(text("callback retry delay", bytes)?),
                7 => callback.delay_ms = Some(u64::from_be_bytes(array("callback delay", bytes)?)),
                other => return Err(wrong("callback tag", u64::from(other))),
            }
        }
        if has_url {
            Ok(callback)
        } else {
            Err(missing("callback url"))
        }
    }
}

impl FlowControl {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 1, self.key.as_bytes());
        put_number(&mut out, 2, self.parallelism.map(u32::to_be_bytes));
        put_number(&mut out, 3, self.rate.map(u32::to_be_bytes));
        put_number(&mut out, 4, self.period_ms.map(u64::to_be_bytes));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut flow = Self::default();
        let mut has_key = false;
        let mut fields = Fields::new(Reader::new("flow control", bytes));
        while let Some((tag, bytes)) = fields.next()? {
            has_key |= tag == 1;
            match tag {
                1 => flow.key = text("flow-control key", bytes)?,
                2 => flow.parallelism = Some(u32::from_be_bytes(array("parallelism", bytes)?)),
                3 => flow.rate = Some(u32::from_be_bytes(array("rate", bytes)?)),
                4 => flow.period_ms = Some(u64::from_be_bytes(array("period", bytes)?)),
                other => return Err(wrong("flow-control tag", u64::from(other))),
            }
        }
        if has_key {
            Ok(flow)
        } else {
            Err(missing("flow-control key"))
        }
    }
}

impl Redaction {
    fn encode(&self) -> Vec<u8> {
        let body = if self.body { REDACT_BODY } else { 0 };
        let headers = if self.headers { REDACT_HEADERS } else { 0 };
        let mut out = vec![body | headers];
        for name in &self.header_names {
            put_block(&mut out, name.as_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("redaction", bytes);
        let bits = reader.u8()?;
        if bits & !(REDACT_BODY | REDACT_HEADERS) != 0 {
            return Err(wrong("redaction", u64::from(bits)));
        }
        Ok(Self {
            body: bits & REDACT_BODY != 0,
            headers: bits & REDACT_HEADERS != 0,
            header_names: decode_texts("redacted header", reader.rest())?,
        })
    }
}

fn put_number<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: Option<[u8; N]>) {
    if let Some(bytes) = bytes {
        put_field(out, tag, &bytes);
    }
}

fn put_part(out: &mut Vec<u8>, tag: u8, part: Option<Vec<u8>>) {
    if let Some(part) = part {
        put_field(out, tag, &part);
    }
}

fn put_texts(out: &mut Vec<u8>, tag: u8, texts: &[String]) {
    let mut field = Vec::new();
    for text in texts {
        put_block(&mut field, text.as_bytes());
    }
    if !texts.is_empty() {
        put_field(out, tag, &field);
    }
}

fn put_headers(out: &mut Vec<u8>, tag: u8, headers: &[(String, Bytes)]) {
    let mut field = Vec::new();
    for (name, value) in headers {
        put_block(&mut field, name.as_bytes());
        put_block(&mut field, value);
    }
    if !headers.is_empty() {
        put_field(out, tag, &field);
    }
}

fn decode_headers(bytes: &[u8]) -> Result<Vec<(String, Bytes)>, Corruption> {
    let mut reader = Reader::new("envelope headers", bytes);
    let mut headers = Vec::new();
    while !reader.is_empty() {
        headers.push((reader.text("header name")?, owned(reader.block()?)));
    }
    Ok(headers)
}

fn decode_texts(part: &'static str, bytes: &[u8]) -> Result<Vec<String>, Corruption> {
    let mut reader = Reader::new(part, bytes);
    let mut texts = Vec::new();
    while !reader.is_empty() {
        texts.push(reader.text(part)?);
    }
    Ok(texts)
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Corruption> {
    bytes.try_into().map_err(|_wrong_length| Corruption::Field {
        field,
        value: crate::fields::length_u64(bytes),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    /// An envelope with every field set.
    fn full() -> Envelope {
        let headers = || vec![("X-One".to_owned(), Bytes::from_static(b"1"))];
        let callback = Callback {
            url: "https://example.org/called".to_owned(),
            method: Some("PUT".to_owned()),
            headers: headers(),
            retries: Some(1),
            timeout_ms: Some(2000),
            retry_delay: Some("1000 * retried".to_owned()),
            delay_ms: Some(5),
        };
        Envelope {
            url: "https://example.org//a?x=y".to_owned(),
            method: "POST".to_owned(),
            headers: headers(),
            not_before: Some(TimestampMs(-1)),
            retries: 3,
            timeout_ms: Some(30_000),
            retry_delay: Some("pow(2, retried)".to_owned()),
            labels: vec!["a".to_owned(), String::new()],
            dedup: Some([7; 16]),
            callback: Some(callback.clone()),
            failure_callback: Some(callback),
            flow: Some(FlowControl {
                key: "k".to_owned(),
                parallelism: Some(5),
                rate: Some(10),
                period_ms: Some(60_000),
            }),
            queue: Some("q".to_owned()),
            url_group: Some("g".to_owned()),
            endpoint: Some("e".to_owned()),
            schedule: Some("s".to_owned()),
            redaction: Redaction {
                body: true,
                headers: false,
                header_names: vec!["authorization".to_owned()],
            },
            caller_ip: Some("127.0.0.1".to_owned()),
            root: Some(Offset(9)),
        }
    }

    #[test]
    fn envelopes_come_back() {
        let least = Envelope {
            url: "http://x".to_owned(),
            method: "GET".to_owned(),
            ..Envelope::default()
        };
        for envelope in [full(), least] {
            assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
        }
    }

    #[test]
    fn an_envelope_cut_or_lengthened_is_an_error_or_another_one() {
        let bytes = full().encode();
        for end in 0..bytes.len() {
            let decoded = Envelope::decode(bytes.get(..end).unwrap());
            assert_ne!(decoded, Ok(full()), "cut at {end}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Envelope::decode(&longer).is_err());
    }

    #[test]
    fn an_unknown_version_or_tag_is_an_error() {
        let mut bytes = full().encode();
        if let Some(version) = bytes.first_mut() {
            *version = 2;
        }
        assert_eq!(Envelope::decode(&bytes), Err(wrong("envelope version", 2)));
        let mut bytes = full().encode();
        put_field(&mut bytes, 20, b"");
        assert_eq!(Envelope::decode(&bytes), Err(wrong("envelope tag", 20)));
    }
}
