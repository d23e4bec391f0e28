//! What is shown of bodies and headers: the true value, or the hash of it. PURE.

use bytes::Bytes;
use storage::delivery::Redaction;

use crate::delivery::header_lists::HeaderLists;
use crate::delivery::redact::{is_header_redacted, redacted};
use crate::http::base64::{TextOrBase64, encode};

/// Shows headers.
pub(super) fn headers(headers: &[(String, Bytes)], redaction: &Redaction) -> HeaderLists {
    let show = |(name, value): &(String, Bytes)| {
        let shown = if is_header_redacted(redaction, name) {
            Bytes::from(redacted(value))
        } else {
            value.clone()
        };
        (name.clone(), shown)
    };
    let shown: Vec<_> = headers.iter().map(show).collect();
    shown.iter().collect()
}

/// Shows a body as text, or as base64 if it is no UTF-8.
pub(super) fn body(body: &Bytes, redaction: &Redaction) -> TextOrBase64 {
    if redaction.body {
        TextOrBase64 {
            text: Some(redacted(body)),
            base64: None,
        }
    } else {
        TextOrBase64::from(Some(body.clone()))
    }
}

/// Shows a body as base64, as logs do; a redacted one as the text that stands for it.
pub(super) fn base64_body(body: &Bytes, redaction: &Redaction) -> String {
    if redaction.body {
        redacted(body)
    } else {
        encode(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(String, Bytes)> {
        [("authorization", "secret"), ("x-a", "1"), ("X-A", "2")]
            .map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes())))
            .to_vec()
    }

    #[test]
    fn hidden_values_are_their_hash() {
        let one = Redaction {
            header_names: vec!["Authorization".to_owned()],
            ..Redaction::default()
        };
        let shown = headers(&all(), &one);
        assert_eq!(shown.values("Authorization"), [redacted(b"secret")]);
        assert_eq!(shown.values("X-A"), ["1", "2"]);
        let every = Redaction {
            headers: true,
            ..Redaction::default()
        };
        assert_eq!(
            headers(&all(), &every).values("X-A"),
            [redacted(b"1"), redacted(b"2")]
        );
        assert_eq!(
            body(&Bytes::from_static(b"x"), &every).text.as_deref(),
            Some("x")
        );
    }

    #[test]
    fn a_hidden_body_is_shown_nowhere() {
        let hidden = Redaction {
            body: true,
            ..Redaction::default()
        };
        for bytes in [&b"x"[..], b"\xff", b""] {
            let bytes = Bytes::from_static(bytes);
            let shown = body(&bytes, &hidden);
            assert_eq!(shown.text, Some(redacted(&bytes)));
            assert_eq!(shown.base64, None);
            assert_eq!(base64_body(&bytes, &hidden), redacted(&bytes));
        }
        let plain = Redaction::default();
        assert_eq!(base64_body(&Bytes::from_static(b"foo"), &plain), "Zm9v");
        assert_eq!(body(&Bytes::from_static(b"\xff"), &plain).text, None);
    }
}
