//! Where a request's body ends, as far as hyper leaves room for doubt. PURE.
//!
//! hyper takes any list of transfer codings that ends in `chunked`, and undoes the last one. Another reader in front of the
//! broker may stop at the first, and then the two see different requests. So there is one coding, `chunked`, named once.

use hyper::HeaderMap;
use hyper::header::TRANSFER_ENCODING;

/// Returns whether two readers may find different ends of the body.
pub(super) fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(only), None) => !only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn chunked_stands_once_and_alone() {
        for (values, expected) in [
            (&[][..], false),
            (&["chunked"], false),
            (&["Chunked"], false),
            (&["gzip, chunked"], true),
            (&["chunked, chunked"], true),
            (&["chunked", "chunked"], true),
            (&["identity", "chunked"], true),
            (&[""], true),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, value.parse().unwrap());
            }
            assert_eq!(is_ambiguous(&headers), expected, "{values:?}");
        }
    }
}
