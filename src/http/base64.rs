//! Bytes of records in JSON: text where they are UTF-8, base64 (RFC 4648, with padding) where they are not. PURE.

use bytes::Bytes;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as the one or the other; neither for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextOrBase64 {
    /// The text.
    pub text: Option<String>,
    /// What is no text.
    pub base64: Option<String>,
}

impl From<Option<Bytes>> for TextOrBase64 {
    fn from(bytes: Option<Bytes>) -> Self {
        let Some(bytes) = bytes else {
            return Self::default();
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self {
                text: Some(text.to_owned()),
                base64: None,
            },
            Err(_) => Self {
                text: None,
                base64: Some(encode(&bytes)),
            },
        }
    }
}

/// Encodes bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).ok();
            let digit = digit.and_then(|digit| ALPHABET.get(digit));
            let is_padding = at > group.len();
            text.push(if is_padding {
                '='
            } else {
                digit.map_or('=', |digit| char::from(*digit))
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff\xfe\xfb", "//77"),
        ] {
            assert_eq!(encode(bytes), expected);
        }
    }

    #[test]
    fn only_what_is_no_text_becomes_base64() {
        let view = |bytes: &'static [u8]| TextOrBase64::from(Some(Bytes::from_static(bytes)));
        assert_eq!(view("z\u{e9}".as_bytes()).text.as_deref(), Some("z\u{e9}"));
        assert_eq!(view(b"").text.as_deref(), Some(""));
        assert_eq!(view(b"\xff").base64.as_deref(), Some("/w=="));
        assert_eq!(view(b"\xff").text, None);
        assert_eq!(TextOrBase64::from(None), TextOrBase64::default());
    }
}
