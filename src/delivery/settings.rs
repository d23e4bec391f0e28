//! What a publisher says about a message, and how that changes an envelope. PURE.
//!
//! The same settings make the envelope of a new message, and override the one of a dead letter that is retried.

use std::fmt;

use bytes::Bytes;
use storage::delivery::{Callback, Envelope, FlowControl, Redaction};
use storage::hidden::{HiddenHeaders, HiddenQuery};
use storage::offset::TimestampMs;

/// Attempts after the first one when nothing is said.
pub const RETRIES_DEFAULT: u32 = 3;

/// The method when nothing is said.
pub const METHOD_DEFAULT: &str = "POST";

/// What is said about a message; what is not said stays as it is. `Debug` shows no value of a header.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PublishSettings {
    /// The HTTP method.
    pub method: Option<String>,
    /// Headers for the destination, by names in lower case, the content type among them. They replace those of the same name.
    pub headers: Vec<(String, Bytes)>,
    /// When it may be attempted first.
    pub start: Option<Start>,
    /// Attempts after the first one.
    pub retries: Option<u32>,
    /// Time for one attempt, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Expression for the delay before a retry.
    pub retry_delay: Option<String>,
    /// Labels; they replace all labels.
    pub labels: Option<Vec<String>>,
    /// Whom to tell of every attempt's end.
    pub callback: CallbackSettings,
    /// Whom to tell when it fails for good.
    pub failure_callback: CallbackSettings,
    /// Which messages it shares limits with.
    pub flow: Option<FlowControl>,
    /// What is not shown.
    pub redaction: Option<Redaction>,
}

/// When a message may be attempted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// So many milliseconds after it is published.
    After(u64),
    /// At a time.
    At(TimestampMs),
}

/// What is said about a callback. `Debug` shows no value of a header, and no query.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CallbackSettings {
    /// The destination. Without it the rest changes a callback that is there.
    pub url: Option<String>,
    /// The HTTP method.
    pub method: Option<String>,
    /// Headers for the destination, by names in lower case.
    pub headers: Vec<(String, Bytes)>,
    /// Attempts after the first one.
    pub retries: Option<u32>,
    /// Time for one attempt, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Expression for the delay before a retry.
    pub retry_delay: Option<String>,
    /// Time to wait before the first attempt, in milliseconds.
    pub delay_ms: Option<u64>,
}

impl fmt::Debug for PublishSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishSettings")
            .field("method", &self.method)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("start", &self.start)
            .field("retries", &self.retries)
            .field("timeout_ms", &self.timeout_ms)
            .field("retry_delay", &self.retry_delay)
            .field("labels", &self.labels)
            .field("callback", &self.callback)
            .field("failure_callback", &self.failure_callback)
            .field("flow", &self.flow)
            .field("redaction", &self.redaction)
            .finish()
    }
}

impl fmt::Debug for CallbackSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackSettings")
            .field("url", &self.url.as_deref().map(HiddenQuery))
            .field("method", &self.method)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

impl PublishSettings {
    /// Returns the envelope of a new message, without what belongs to its place: URL, queue, group, schedule, deduplication
    /// key, publisher.
    #[must_use]
    pub fn envelope(&self, now: TimestampMs) -> Envelope {
        let mut envelope = Envelope {
            method: METHOD_DEFAULT.to_owned(),
            retries: RETRIES_DEFAULT,
            ..Envelope::default()
        };
        self.apply(&mut envelope, now);
        envelope
    }

    /// Overrides an envelope. A delay is counted from `now`.
    pub fn apply(&self, envelope: &mut Envelope, now: TimestampMs) {
        if let Some(method) = &self.method {
            envelope.method.clone_from(method);
        }
        replace(&mut envelope.headers, &self.headers);
        match self.start {
            None => {}
            Some(Start::At(time)) => envelope.not_before = Some(time),
            Some(Start::After(delay)) => {
                let delay = i64::try_from(delay).unwrap_or(i64::MAX);
                envelope.not_before = Some(TimestampMs(now.0.saturating_add(delay)));
            }
        }
        set(&mut envelope.retries, self.retries);
        set_some(&mut envelope.timeout_ms, self.timeout_ms.as_ref());
        set_some(&mut envelope.retry_delay, self.retry_delay.as_ref());
        set(&mut envelope.labels, self.labels.clone());
        self.callback.apply(&mut envelope.callback);
        self.failure_callback.apply(&mut envelope.failure_callback);
        set_some(&mut envelope.flow, self.flow.as_ref());
        set(&mut envelope.redaction, self.redaction.clone());
    }
}

impl CallbackSettings {
    fn apply(&self, callback: &mut Option<Callback>) {
        if let Some(url) = &self.url {
            callback.get_or_insert_default().url.clone_from(url);
        }
        let Some(callback) = callback else {
            return;
        };
        set_some(&mut callback.method, self.method.as_ref());
        replace(&mut callback.headers, &self.headers);
        set_some(&mut callback.retries, self.retries.as_ref());
        set_some(&mut callback.timeout_ms, self.timeout_ms.as_ref());
        set_some(&mut callback.retry_delay, self.retry_delay.as_ref());
        set_some(&mut callback.delay_ms, self.delay_ms.as_ref());
    }
}

fn set<T>(old: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *old = new;
    }
}

fn set_some<T: Clone>(old: &mut Option<T>, new: Option<&T>) {
    if let Some(new) = new {
        *old = Some(new.clone());
    }
}

fn replace(headers: &mut Vec<(String, Bytes)>, new: &[(String, Bytes)]) {
    let is_new = |name: &str| {
        new.iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    headers.retain(|(name, _)| !is_new(name));
    headers.extend_from_slice(new);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000_000);

    fn header(name: &str, value: &'static str) -> (String, Bytes) {
        (name.to_owned(), Bytes::from_static(value.as_bytes()))
    }

    #[test]
    fn what_is_not_said_has_its_default_or_stays() {
        let settings = PublishSettings::default();
        let mut envelope = settings.envelope(NOW);
        assert_eq!((envelope.method.as_str(), envelope.retries), ("POST", 3));
        assert_eq!(envelope.not_before, None);
        envelope.labels = vec!["a".to_owned()];
        envelope.retry_delay = Some("1".to_owned());
        envelope.headers = vec![header("x", "1")];
        envelope.not_before = Some(NOW);
        let before = envelope.clone();
        settings.apply(&mut envelope, TimestampMs(0));
        assert_eq!(envelope, before);
    }

    #[test]
    fn what_is_said_overrides() {
        let mut envelope = Envelope {
            headers: vec![
                header("x-a", "old"),
                header("X-B", "old"),
                header("x-b", "older"),
            ],
            callback: Some(Callback {
                url: "http://old".to_owned(),
                retries: Some(5),
                ..Callback::default()
            }),
            ..Envelope::default()
        };
        let settings = PublishSettings {
            method: Some("PUT".to_owned()),
            headers: vec![header("x-b", "new")],
            start: Some(Start::After(500)),
            retries: Some(0),
            labels: Some(Vec::new()),
            callback: CallbackSettings {
                method: Some("GET".to_owned()),
                ..CallbackSettings::default()
            },
            failure_callback: CallbackSettings {
                method: Some("GET".to_owned()),
                ..CallbackSettings::default()
            },
            ..PublishSettings::default()
        };
        settings.apply(&mut envelope, NOW);
        assert_eq!(envelope.method, "PUT");
        assert_eq!(
            envelope.headers,
            [header("x-a", "old"), header("x-b", "new")]
        );
        assert_eq!(envelope.not_before, Some(TimestampMs(1_000_500)));
        assert_eq!(envelope.retries, 0);
        let callback = envelope.callback.unwrap();
        assert_eq!(callback.url, "http://old");
        assert_eq!(
            (callback.method.as_deref(), callback.retries),
            (Some("GET"), Some(5))
        );
        // Settings of a callback that is not there change nothing.
        assert_eq!(envelope.failure_callback, None);
    }

    #[test]
    fn a_start_beyond_all_times_does_not_overflow() {
        let settings = PublishSettings {
            start: Some(Start::After(u64::MAX)),
            ..PublishSettings::default()
        };
        assert_eq!(
            settings.envelope(NOW).not_before,
            Some(TimestampMs(i64::MAX))
        );
    }
}
