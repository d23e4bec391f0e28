//! Redaction: which parts of a message are shown only as a hash, and that hash. PURE.
//!
//! `Upstash-Redact-Fields` is a list with commas: `body`, `header` or `headers` for all headers, `header[Name]` for one.
//! Blanks around a field, empty fields and case do not count. Only what is shown is redacted; deliveries, callbacks and
//! retries carry the true values.

use std::fmt::Write;

use hyper::header::HeaderName;
use sha2::{Digest, Sha256};
use storage::delivery::Redaction;

/// Headers that one message may name: more than a record may have are never needed.
pub const REDACTED_HEADER_COUNT_MAX: usize = 100;

/// Why a text does not say what to redact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactionError {
    /// A field is none that can be redacted.
    #[error("{field:?} cannot be redacted, it must be body, header or header[Name]")]
    UnknownField {
        /// The field.
        field: String,
    },
    /// Too many headers are named.
    #[error(
        "more than {REDACTED_HEADER_COUNT_MAX} headers are to be redacted, header redacts all of them"
    )]
    TooMany,
}

/// Parses the value of `Upstash-Redact-Fields`.
///
/// # Errors
/// The [`RedactionError`].
pub fn parse_redaction(text: &str) -> Result<Redaction, RedactionError> {
    let mut redaction = Redaction::default();
    for field in text.split(',').map(str::trim).filter(|f| !f.is_empty()) {
        match field.to_ascii_lowercase().as_str() {
            "body" => redaction.body = true,
            "header" | "headers" => redaction.headers = true,
            lower => {
                let name = header_name(lower).ok_or_else(|| RedactionError::UnknownField {
                    field: field.to_owned(),
                })?;
                if !redaction.header_names.contains(&name) {
                    redaction.header_names.push(name);
                }
            }
        }
    }
    if redaction.header_names.len() > REDACTED_HEADER_COUNT_MAX {
        return Err(RedactionError::TooMany);
    }
    Ok(redaction)
}

/// Returns whether the value of a header of this name, in any case, is not to be shown.
#[must_use]
pub fn is_header_redacted(redaction: &Redaction, name: &str) -> bool {
    let mut names = redaction.header_names.iter();
    redaction.headers || names.any(|redacted| redacted.eq_ignore_ascii_case(name))
}

/// Returns what is shown in place of a value.
#[must_use]
pub fn redacted(value: &[u8]) -> String {
    let mut shown = "REDACTED:".to_owned();
    for byte in Sha256::digest(value) {
        // Writing to a string does not fail.
        let _ok = write!(shown, "{byte:02x}");
    }
    shown
}

fn header_name(field: &str) -> Option<String> {
    let name = field.strip_prefix("header[")?.strip_suffix(']')?.trim();
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some(name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The redaction of these fields: the body, all headers, or a header.
    fn parts(fields: &[&str]) -> Redaction {
        let mut redaction = Redaction::default();
        for field in fields {
            match *field {
                "BODY" => redaction.body = true,
                "ALL" => redaction.headers = true,
                name => redaction.header_names.push(name.to_owned()),
            }
        }
        redaction
    }

    #[test]
    fn fields_are_read_as_the_sdks_and_the_documentation_write_them() {
        for (text, expected) in [
            ("", parts(&[])),
            ("body", parts(&["BODY"])),
            ("header", parts(&["ALL"])),
            ("headers", parts(&["ALL"])),
            ("body,header", parts(&["BODY", "ALL"])),
            ("body, headers", parts(&["BODY", "ALL"])),
            ("header[Authorization]", parts(&["authorization"])),
            (
                "body,header[Authorization],header[X-Api-Key]",
                parts(&["BODY", "authorization", "x-api-key"]),
            ),
            (
                " BODY ,, Header[ X-A ] ,header[x-a],",
                parts(&["BODY", "x-a"]),
            ),
        ] {
            assert_eq!(parse_redaction(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_redacted_is_refused_with_its_name() {
        for field in [
            "url",
            "bodies",
            "header[]",
            "header[a b]",
            "header[a",
            "headers[a]",
            "header[a]]",
            "header[\u{e9}]",
            "[a]",
            "body;header",
            "header[x:y]",
        ] {
            let field = field.to_owned();
            let text = format!("body, {field}");
            assert_eq!(
                parse_redaction(&text),
                Err(RedactionError::UnknownField { field })
            );
        }
        let told = parse_redaction("Url").unwrap_err().to_string();
        let expected = "\"Url\" cannot be redacted, it must be body, header or header[Name]";
        assert_eq!(told, expected);
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let names = |count: usize| {
            let fields: Vec<_> = (0..count).map(|n| format!("header[x-{n}]")).collect();
            parse_redaction(&fields.join(","))
        };
        assert_eq!(names(100).unwrap().header_names.len(), 100);
        assert_eq!(names(101), Err(RedactionError::TooMany));
    }

    #[test]
    fn named_headers_are_redacted_in_any_case() {
        let one = parse_redaction("header[Authorization]").unwrap();
        assert!(is_header_redacted(&one, "AUTHORIZATION"));
        assert!(!is_header_redacted(&one, "x-authorization"));
        let all = parse_redaction("headers").unwrap();
        assert!(is_header_redacted(&all, "anything"));
        let body = parse_redaction("body").unwrap();
        assert!(!is_header_redacted(&body, "body"));
    }

    #[test]
    fn the_hash_is_shown() {
        let expected = "REDACTED:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(redacted(b"abc"), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(body|header|\\[|\\]|,| |[a-z-]){0,8}|\\PC{0,40}") {
            if let Ok(redaction) = parse_redaction(&text) {
                for name in &redaction.header_names {
                    prop_assert!(text.to_ascii_lowercase().contains(name.as_str()));
                    prop_assert!(is_header_redacted(&redaction, name));
                }
            }
        }
    }
}
