//! Bytes of records in JSON: text where they are UTF-8, base64 (RFC 4648, with padding) where they are not. PURE.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

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
                base64: Some(STANDARD.encode(&bytes)),
            },
        }
    }
}

/// Encodes bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
