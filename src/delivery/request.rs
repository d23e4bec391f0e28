//! The headers of an attempt: what the publisher forwards, and what the broker says about the message. PURE.
//!
//! | header | value |
//! |---|---|
//! | `User-Agent` | [`USER_AGENT_VALUE`], whatever is forwarded |
//! | `Upstash-Message-Id` | the message's id |
//! | `Upstash-Retried` | attempts before this one: 0 at the first |
//! | `Upstash-Signature` | see [`signature`](super::signature) |
//! | `Upstash-Caller-Ip` | the publisher's address, if known |
//! | `Upstash-Topic-Name` | the URL group, if the message was published to one |
//! | `Upstash-Schedule-Id` | the schedule, if one published the message |
//!
//! None of these is ever forwarded from the publisher, also where the broker has nothing to say: a receiver can trust
//! them. Headers that belong to one connection or that frame the body ([`is_forwarded`]) are the client's. All others pass
//! as they are, the content type and other `Upstash-` headers among them, repeated ones in their order.

use std::fmt::{self, Write as _};

use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use storage::delivery::Envelope;
use storage::hidden::Hidden;
use storage::offset::TimestampMs;

use super::signature::{Signed, SigningKey, sign};

/// How the broker names itself to receivers.
pub const USER_AGENT_VALUE: &str = "Upstash-QStash";
/// Bytes of a signature's id besides the message's, or a few more.
const JTI_BYTES: usize = 40;

const MESSAGE_ID: HeaderName = HeaderName::from_static("upstash-message-id");
const RETRIED: HeaderName = HeaderName::from_static("upstash-retried");
const SIGNATURE: HeaderName = HeaderName::from_static("upstash-signature");
const CALLER_IP: HeaderName = HeaderName::from_static("upstash-caller-ip");
const TOPIC_NAME: HeaderName = HeaderName::from_static("upstash-topic-name");
const SCHEDULE_ID: HeaderName = HeaderName::from_static("upstash-schedule-id");

const OWN: [HeaderName; 7] = [
    USER_AGENT,
    MESSAGE_ID,
    RETRIED,
    SIGNATURE,
    CALLER_IP,
    TOPIC_NAME,
    SCHEDULE_ID,
];

/// Of one connection, or about how the body is framed on it.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a header cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Its name is none.
    #[error(
        "{name:?} is no header name, it must be one or more letters, digits or characters of !#$%&'*+-.^_`|~"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Its value has a byte that no value has. The value is not shown: it may be a secret.
    #[error(
        "the value of header {name:?} has the byte {byte:#04x} at place {place}, line breaks and other control characters cannot be sent"
    )]
    Value {
        /// The header's name.
        name: String,
        /// The byte.
        byte: u8,
        /// Its place, in bytes, from 1.
        place: usize,
    },
}

/// Checks a header that a publisher asks to be forwarded. Nothing that passes can end a line.
///
/// # Errors
/// The [`HeaderError`].
pub fn check_forwarded(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_no_name| HeaderError::Name {
        name: name.to_owned(),
    })?;
    match HeaderValue::from_bytes(value) {
        Ok(value) => Ok((name, value)),
        Err(_no_value) => {
            let is_wrong = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
            let found = (1..).zip(value).find(|(_, byte)| is_wrong(byte));
            let (place, byte) = found.map_or((0, 0), |(place, byte)| (place, *byte));
            let name = name.as_str().to_owned();
            Err(HeaderError::Value { name, byte, place })
        }
    }
}

/// Returns whether a publisher's header of this name reaches the destination.
#[must_use]
pub fn is_forwarded(name: &HeaderName) -> bool {
    let text = name.as_str();
    !OWN.contains(name) && !HOP_BY_HOP.contains(&text) && !text.starts_with("proxy-")
}

/// One attempt of a message, as far as its headers go.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where the message goes, and by which rules.
    pub envelope: &'a Envelope,
    /// The message's id.
    pub message_id: &'a str,
    /// Number of the attempt, 1 for the first.
    pub attempt: u32,
    /// The message's body.
    pub body: &'a [u8],
    /// When the attempt begins.
    pub now: TimestampMs,
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("envelope", &self.envelope)
            .field("message_id", &self.message_id)
            .field("attempt", &self.attempt)
            .field("body", &Hidden(self.body))
            .field("now", &self.now)
            .finish()
    }
}

impl Outgoing<'_> {
    /// Returns the attempt's headers, signed with `key`. Headers of the envelope that cannot be sent are left out; the
    /// ones that [`check_forwarded`] let pass can.
    #[must_use]
    pub fn headers(&self, key: &SigningKey) -> HeaderMap {
        let envelope = self.envelope;
        let mut headers =
            HeaderMap::with_capacity(envelope.headers.len().saturating_add(OWN.len()));
        for (name, value) in &envelope.headers {
            if let Ok((name, value)) = check_forwarded(name, value)
                && is_forwarded(&name)
            {
                headers.append(name, value);
            }
        }
        let retried = self.attempt.saturating_sub(1);
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        headers.insert(RETRIED, HeaderValue::from(retried));
        let signature = self.signature(retried, key);
        for (name, value) in [
            (MESSAGE_ID, Some(self.message_id)),
            (SIGNATURE, Some(signature.as_str())),
            (CALLER_IP, envelope.caller_ip.as_deref()),
            (TOPIC_NAME, envelope.url_group.as_deref()),
            (SCHEDULE_ID, envelope.schedule.as_deref()),
        ] {
            if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
                headers.insert(name, value);
            }
        }
        headers
    }

    fn signature(&self, retried: u32, key: &SigningKey) -> String {
        // With the time: an attempt that a crash cut off is made again under its number.
        let mut jti = String::with_capacity(self.message_id.len().saturating_add(JTI_BYTES));
        // Writing to a string does not fail.
        let _ok = write!(jti, "jwt_{}_{retried}_{}", self.message_id, self.now);
        let signed = Signed {
            url: &self.envelope.url,
            now: self.now,
            jti: &jti,
            body: self.body,
        };
        sign(key, &signed)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::signature::verify;
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_795_867_200_000);

    fn key() -> SigningKey {
        SigningKey::new("sig_1")
    }

    fn envelope(headers: &[(&str, &str)]) -> Envelope {
        let owned = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        Envelope {
            url: "https://example.org/hook".to_owned(),
            method: "POST".to_owned(),
            headers: headers.iter().map(owned).collect(),
            ..Envelope::default()
        }
    }

    fn sent(envelope: &Envelope, attempt: u32) -> HeaderMap {
        let outgoing = Outgoing {
            envelope,
            message_id: "msg1",
            attempt,
            body: b"hello",
            now: NOW,
        };
        outgoing.headers(&key())
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_plain_message_says_what_always_applies() {
        let headers = sent(&envelope(&[]), 1);
        let expected = [
            "upstash-message-id",
            "upstash-retried",
            "upstash-signature",
            "user-agent",
        ];
        assert_eq!(names(&headers), expected);
        assert_eq!(headers["user-agent"], "Upstash-QStash");
        assert_eq!(headers["upstash-message-id"], "msg1");
        assert_eq!(headers["upstash-retried"], "0");
        let signature = headers["upstash-signature"].to_str().unwrap();
        let url = Some("https://example.org/hook");
        assert_eq!(verify(&key(), signature, url, b"hello", NOW), Ok(()));
        assert_eq!(sent(&envelope(&[]), 3)["upstash-retried"], "2");
    }

    #[test]
    fn what_applies_to_this_message_is_said() {
        let told = Envelope {
            caller_ip: Some("203.0.113.9".to_owned()),
            url_group: Some("group".to_owned()),
            schedule: Some("scd_1".to_owned()),
            ..envelope(&[])
        };
        let headers = sent(&told, 1);
        assert_eq!(headers["upstash-caller-ip"], "203.0.113.9");
        assert_eq!(headers["upstash-topic-name"], "group");
        assert_eq!(headers["upstash-schedule-id"], "scd_1");
    }

    #[test]
    fn forwarded_headers_pass_as_they_are() {
        let headers = sent(
            &envelope(&[
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Authorization", "Bearer x"),
                ("X-Many", "1"),
                ("x-many", "2"),
                ("Upstash-Workflow-Init", "true"),
                ("Accept", "caf\u{e9}\t"),
            ]),
            1,
        );
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(headers["authorization"], "Bearer x");
        assert_eq!(headers["upstash-workflow-init"], "true");
        assert_eq!(headers["accept"].as_bytes(), "caf\u{e9}\t".as_bytes());
        let many: Vec<_> = headers.get_all("x-many").iter().collect();
        assert_eq!(many, ["1", "2"]);
    }

    #[test]
    fn neither_ours_nor_the_connections_headers_are_forwarded() {
        let plain = sent(&envelope(&[]), 1);
        for name in [
            "User-Agent",
            "Upstash-Message-Id",
            "UPSTASH-RETRIED",
            "Upstash-Signature",
            "Upstash-Caller-Ip",
            "Upstash-Topic-Name",
            "Upstash-Schedule-Id",
            "Connection",
            "Transfer-Encoding",
            "Content-Length",
            "Host",
            "TE",
            "Trailer",
            "Upgrade",
            "Keep-Alive",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Expect",
        ] {
            assert_eq!(sent(&envelope(&[(name, "forged")]), 1), plain, "{name}");
        }
    }

    #[test]
    fn what_ends_a_line_is_refused_with_its_place() {
        let refused = |name: &str, value: &[u8]| check_forwarded(name, value).unwrap_err();
        for (value, byte, place) in [
            (&b"a\r\nX: y"[..], 0x0d, 2),
            (b"\n", 0x0a, 1),
            (b"abc\0", 0, 4),
            (b"\x7f", 0x7f, 1),
            (b"\t\x1b", 0x1b, 2),
        ] {
            let name = "x-a".to_owned();
            let expected = HeaderError::Value { name, byte, place };
            assert_eq!(refused("X-A", value), expected);
        }
        for name in ["", "a b", "a:", "a\r\nb", "\u{e9}", "a\0"] {
            let expected = HeaderError::Name {
                name: name.to_owned(),
            };
            assert_eq!(refused(name, b"v"), expected);
        }
        let told = refused("X-Secret", b"hunter2\n").to_string();
        assert!(
            told.contains("\"x-secret\" has the byte 0x0a at place 8"),
            "{told}"
        );
        assert!(!told.contains("hunter2"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_ends_a_line(name in "\\PC{0,20}|[A-Za-z-]{1,20}[\\r\\n\\x00]?", value in proptest::collection::vec(any::<u8>(), 0..30)) {
            match check_forwarded(&name, &value) {
                Ok((name, sent)) => {
                    prop_assert_eq!(sent.as_bytes(), &value[..]);
                    prop_assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
                    prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b':'));
                }
                Err(HeaderError::Value { place, byte, .. }) => prop_assert_eq!(value[place - 1], byte),
                Err(HeaderError::Name { name: told }) => prop_assert_eq!(&told, &name),
            }
            // An envelope is sent, whatever is in it.
            let mut any = envelope(&[]);
            any.headers = vec![(name.clone(), Bytes::from(value))];
            any.caller_ip = Some(name);
            prop_assert!(sent(&any, 1).len() >= 4);
        }
    }
}
