//! What people are shown of a record: what its envelope redacts stands as a hash, and what the broker itself has put on it does
//! not stand there as bytes. PURE. Logs, letters and deliveries keep the true values.

use std::fmt::Write as _;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use storage::batch::Record;
use storage::batch::record::RESERVED_PREFIX;
use storage::cause::GROUP_HEADER;
use storage::delivery::envelope::ENVELOPE_HEADER;
use storage::delivery::{Envelope, Redaction};

/// Opens what is shown in place of a redacted value.
const REDACTED_PREFIX: &str = "REDACTED:";

/// Returns what is shown in place of a redacted value: `REDACTED:` and its SHA-256 in hex.
pub(crate) fn shown(value: &[u8]) -> String {
    let mut text = REDACTED_PREFIX.to_owned();
    for byte in Sha256::digest(value) {
        // Writing to a string does not fail.
        let _ok = write!(text, "{byte:02x}");
    }
    text
}

/// Turns a record into what is shown of it: of a pushed one its body and the headers for its destination, redacted as it says.
/// The broker's own headers are left out, but for the name of the group that a republished record is for.
pub(crate) fn shown_record(record: &mut Record) {
    shown_parts(&mut record.value, &mut record.headers);
}

/// As [`shown_record`], of a record's value and headers.
pub(crate) fn shown_parts(body: &mut Option<Bytes>, headers: &mut Vec<(String, Option<Bytes>)>) {
    let envelope = headers.iter().find(|(name, _)| name == ENVELOPE_HEADER);
    let envelope = envelope.map(|(_, value)| {
        let decoded = Envelope::decode(value.as_deref().unwrap_or_default());
        // Where it cannot be read, nobody knows what may be shown.
        decoded.unwrap_or_else(|_damaged| Envelope {
            redaction: Redaction {
                body: true,
                headers: true,
                header_names: Vec::new(),
            },
            ..Envelope::default()
        })
    });
    headers.retain(|(name, _)| is_shown_header(name));
    let Some(envelope) = envelope else {
        return;
    };
    let own = envelope.headers.into_iter();
    headers.extend(own.map(|(name, value)| (name, Some(value))));
    if envelope.redaction.body {
        redact(body);
    }
    for (name, value) in headers {
        if hides(&envelope.redaction, name) {
            redact(value);
        }
    }
}

/// Returns whether a header is for readers: of the broker's own only the one that names a group is.
pub(crate) fn is_shown_header(name: &str) -> bool {
    !name.starts_with(RESERVED_PREFIX) || name == GROUP_HEADER
}

/// Returns whether a header's value is redacted.
fn hides(redaction: &Redaction, name: &str) -> bool {
    let mut names = redaction.header_names.iter();
    redaction.headers || names.any(|redacted| redacted.eq_ignore_ascii_case(name))
}

fn redact(value: &mut Option<Bytes>) {
    if let Some(value) = value {
        *value = Bytes::from(shown(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `secret`.
    const SECRET: &str =
        "REDACTED:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn pushed(redaction: Redaction) -> Record {
        let header = |name: &str| (name.to_owned(), Bytes::from_static(b"secret"));
        let envelope = Envelope {
            url: "https://example.org".to_owned(),
            method: "POST".to_owned(),
            headers: vec![header("Authorization"), header("X-Open")],
            redaction,
            ..Envelope::default()
        };
        let reserved = |name: &str, value| (name.to_owned(), Some(value));
        Record {
            value: Some(Bytes::from_static(b"secret")),
            headers: vec![
                reserved(ENVELOPE_HEADER, Bytes::from(envelope.encode())),
                reserved("redrive.cause", Bytes::from_static(b"\x01\xff")),
                reserved("own", Bytes::from_static(b"secret")),
            ],
            ..Record::default()
        }
    }

    /// Returns the body and the headers that are shown.
    fn look(mut record: Record) -> (Option<String>, Vec<(String, String)>) {
        shown_record(&mut record);
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let headers = record.headers.iter().map(|(name, value)| {
            let value = value.as_ref().map(text);
            (name.clone(), value.unwrap_or_default())
        });
        (record.value.as_ref().map(text), headers.collect())
    }

    fn named(values: [&str; 3]) -> Vec<(String, String)> {
        let names = ["own", "Authorization", "X-Open"];
        let pairs = names.into_iter().zip(values);
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn what_is_redacted_stands_as_its_hash_and_nothing_else_does() {
        let secret = || Some("secret".to_owned());
        let none = look(pushed(Redaction::default()));
        assert_eq!(none, (secret(), named(["secret"; 3])));
        let body = look(pushed(Redaction {
            body: true,
            ..Redaction::default()
        }));
        assert_eq!(body, (Some(SECRET.to_owned()), named(["secret"; 3])));
        let all = look(pushed(Redaction {
            headers: true,
            ..Redaction::default()
        }));
        assert_eq!(all, (secret(), named([SECRET; 3])));
        let one = look(pushed(Redaction {
            header_names: vec!["authorization".to_owned()],
            ..Redaction::default()
        }));
        assert_eq!(one, (secret(), named(["secret", SECRET, "secret"])));
    }

    #[test]
    fn an_envelope_that_cannot_be_read_shows_nothing() {
        let mut record = pushed(Redaction::default());
        if let Some((_, value)) = record.headers.first_mut() {
            *value = Some(Bytes::from_static(b"\xff"));
        }
        let expected = vec![("own".to_owned(), SECRET.to_owned())];
        assert_eq!(look(record), (Some(SECRET.to_owned()), expected));
    }

    #[test]
    fn of_other_records_only_what_the_broker_put_there_is_left_out() {
        let header = |name: &str| (name.to_owned(), Some(Bytes::from_static(b"v")));
        let names = ["mine", "redrive.cause", "redrive.group", "redrive.lineage"];
        let record = Record {
            headers: names.map(header).to_vec(),
            ..Record::default()
        };
        let (value, headers) = look(record);
        assert_eq!(value, None);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["mine", "redrive.group"]);
    }
}
