//! What letters that died of the same cause have in common, as one short value.
//!
//! | at | field | bytes | meaning |
//! |---|---|---|---|
//! | 0 | version | 1 | [`FINGERPRINT_VERSION`]: how the rest was computed |
//! | 1 | hash | 8 | first 64 bits of SHA-256 over the parts below, each with its length (u64) before it |
//!
//! Parts of version 1: host or group; disposition (1 byte); result (empty without an attempt; 1 and the status as u16; 2 and
//! the error class); the first 512 characters of the body in its normal form.
//!
//! Normal form: letters in lower case; a word that is a UUID, or that has eight or more hexadecimal digits with a figure and
//! a letter among them (`0x` before it or not) as `x`; a run of figures as `0`; a run of blanks as one, none at the ends. Only ASCII is
//! changed: tables of other scripts change with Unicode's versions, a fingerprint must not.

use std::fmt;
use std::str::FromStr;

use super::hash::hash64;
use super::history::AttemptResult;
use super::limits::{ATTEMPT_BODY_BYTES_MAX, FINGERPRINT_CHARS_MAX};

/// How fingerprints are computed now.
pub const FINGERPRINT_VERSION: u8 = 1;

/// Bytes of a fingerprint.
pub const FINGERPRINT_BYTES: usize = 9;

const HEX_DIGITS_MIN: usize = 8;
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// The fingerprint of a letter. As text it is 18 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint {
    /// How the hash was computed.
    pub version: u8,
    /// The hash.
    pub hash: u64,
}

/// What a fingerprint is computed from.
#[derive(Debug, Clone, Copy)]
pub struct FingerprintParts<'a> {
    /// Host of the destination, or the consumer group.
    pub receiver: &'a str,
    /// Byte of the disposition.
    pub disposition: u8,
    /// How the last attempt ended, if there was one.
    pub result: Option<AttemptResult>,
    /// Body of the last attempt, or the reason when there was none.
    pub body: &'a [u8],
}

/// Text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 18 hexadecimal digits")]
pub struct FingerprintError;

impl Fingerprint {
    /// Computes a fingerprint.
    #[must_use]
    pub fn compute(parts: &FingerprintParts<'_>) -> Self {
        let mut result = Vec::new();
        match parts.result {
            None => {}
            Some(AttemptResult::Status(status)) => {
                result.push(1);
                result.extend_from_slice(&status.to_be_bytes());
            }
            Some(AttemptResult::Error(class)) => result.extend_from_slice(&[2, class.0]),
        }
        Self {
            version: FINGERPRINT_VERSION,
            hash: hash64(&[
                parts.receiver.as_bytes(),
                &[parts.disposition],
                &result,
                normal_form(parts.body).as_bytes(),
            ]),
        }
    }

    /// Returns the bytes on disk.
    #[must_use]
    pub fn bytes(self) -> [u8; FINGERPRINT_BYTES] {
        let mut bytes = [self.version; FINGERPRINT_BYTES];
        if let Some(hash) = bytes.last_chunk_mut::<8>() {
            *hash = self.hash.to_be_bytes();
        }
        bytes
    }

    /// Reads the bytes on disk; `None` when there are not nine of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, hash) = bytes.split_first()?;
        let hash = u64::from_be_bytes(hash.try_into().ok()?);
        Some(Self { version, hash })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:016x}", self.version, self.hash)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `from_str_radix` takes a sign, which no fingerprint has.
        if text.len() != 2 * FINGERPRINT_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(FingerprintError);
        }
        let (version, hash) = text.split_at_checked(2).ok_or(FingerprintError)?;
        match (
            u8::from_str_radix(version, 16),
            u64::from_str_radix(hash, 16),
        ) {
            (Ok(version), Ok(hash)) => Ok(Self { version, hash }),
            _ => Err(FingerprintError),
        }
    }
}

/// Returns the host of a URL: lower case, without user and port. Text that is no URL is returned as it is.
#[must_use]
pub fn host_of(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    let host = match host.rsplit_once(':') {
        // In an IPv6 address the colons stand between brackets.
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    host.to_ascii_lowercase()
}

/// Returns the first characters of the body's normal form.
fn normal_form(body: &[u8]) -> String {
    let kept = body.get(..ATTEMPT_BODY_BYTES_MAX).unwrap_or(body);
    let text = String::from_utf8_lossy(kept).to_ascii_lowercase();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_whitespace() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
            if !out.is_empty() && !rest.is_empty() {
                out.push(' ');
            }
        } else if let Some(behind) = strip_uuid(rest) {
            out.push('x');
            rest = behind;
        } else if c.is_ascii_alphanumeric() {
            let (word, behind) = split_word(rest);
            push_word(&mut out, word);
            rest = behind;
        } else {
            out.push(c);
            rest = rest.strip_prefix(c).unwrap_or_default();
        }
    }
    out.chars().take(FINGERPRINT_CHARS_MAX).collect()
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Returns what stands behind the UUID that opens `text`, if one does.
fn strip_uuid(text: &str) -> Option<&str> {
    let mut rest = text;
    for (index, digit_count) in UUID_PARTS.into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-')?;
        }
        let (word, behind) = split_word(rest);
        if word.len() != digit_count || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

fn push_word(out: &mut String, word: &str) {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let is_hex = digits.len() >= HEX_DIGITS_MIN
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().any(|b| b.is_ascii_alphabetic());
    if is_hex {
        out.push('x');
        return;
    }
    let mut was_digit = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !was_digit {
            out.push('0');
        }
        was_digit = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::ErrorClass;
    use super::*;

    fn form(text: &str) -> String {
        normal_form(text.as_bytes())
    }

    #[test]
    fn the_normal_form_hides_what_differs_between_two_of_a_kind() {
        assert_eq!(form("  Order 12345\r\n\t not FOUND "), "order 0 not found");
        assert_eq!(form("id 123e4567-e89b-12d3-a456-426614174000!"), "id x!");
        assert_eq!(form("order_12ab34cd at 0x7f3a2b1c90"), "order_x at x");
        assert_eq!(
            form("took 1.25s, deadbeef defaced"),
            "took 0.0s, deadbeef defaced"
        );
        assert_eq!(form("v1beta2"), "v0beta0");
        assert_eq!(form("\u{c9}\u{e9} 1"), "\u{c9}\u{e9} 0");
        assert_eq!(form(""), "");
    }

    #[test]
    fn only_the_first_512_characters_of_the_normal_form_count() {
        let long = format!("{} {}", "1".repeat(600), "a".repeat(600));
        let form = form(&long);
        assert_eq!(form.chars().count(), FINGERPRINT_CHARS_MAX);
        assert!(form.starts_with("0 aaa"));
        assert!(normal_form(&[0xff; 10_000]).chars().count() <= FINGERPRINT_CHARS_MAX);
    }

    #[test]
    fn every_part_counts() {
        let parts = FingerprintParts {
            receiver: "example.com",
            disposition: 1,
            result: Some(AttemptResult::Status(500)),
            body: b"boom 7",
        };
        let base = Fingerprint::compute(&parts);
        let same = FingerprintParts {
            body: b"BOOM 12",
            ..parts
        };
        assert_eq!(Fingerprint::compute(&same), base);
        let error = Some(AttemptResult::Error(ErrorClass::TIMEOUT));
        for other in [
            FingerprintParts {
                receiver: "example.org",
                ..parts
            },
            FingerprintParts {
                disposition: 2,
                ..parts
            },
            FingerprintParts {
                result: None,
                ..parts
            },
            FingerprintParts {
                result: error,
                ..parts
            },
            FingerprintParts {
                body: b"bang",
                ..parts
            },
        ] {
            assert_ne!(Fingerprint::compute(&other), base, "{other:?}");
        }
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let fingerprint = Fingerprint {
            version: 1,
            hash: 0x00ab_cdef_0123_4567,
        };
        assert_eq!(fingerprint.to_string(), "0100abcdef01234567");
        assert_eq!("0100ABCDEF01234567".parse(), Ok(fingerprint));
        assert_eq!(
            Fingerprint::from_bytes(&fingerprint.bytes()),
            Some(fingerprint)
        );
        assert_eq!(Fingerprint::from_bytes(&[1; 8]), None);
        for wrong in [
            "",
            "01",
            "+100abcdef0123456",
            "0100abcdef0123456g",
            "01\u{e9}0abcdef0123456",
        ] {
            assert_eq!(
                wrong.parse::<Fingerprint>(),
                Err(FingerprintError),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_host_is_found_in_a_url() {
        assert_eq!(
            host_of("https://User:pw@Example.COM:8443/a?b@c"),
            "example.com"
        );
        assert_eq!(host_of("http://[::1]:80/x"), "[::1]");
        assert_eq!(host_of("http://[::1]"), "[::1]");
        assert_eq!(host_of("not a url"), "not a url");
    }
}
