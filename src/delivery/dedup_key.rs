//! What makes two messages the same: a 128-bit key, of an id that the publisher gives or of the message's content. PURE.
//!
//! A key is the first 16 bytes of a SHA-256. What is hashed begins with its kind, and every part with its length, so an id
//! never equals a content, and moving a byte from one part to the next changes the key.
//!
//! | kind | then |
//! |---|---|
//! | `redrive.dedup.id` | the id |
//! | `redrive.dedup.content` | the destination (URL or URL group), the body, then name and value of each header, sorted |

use bytes::Bytes;
use sha2::{Digest, Sha256};

const ID: &[u8] = b"redrive.dedup.id";
const CONTENT: &[u8] = b"redrive.dedup.content";

/// A key, as an envelope holds it.
pub type DedupKey = [u8; 16];

/// Returns the key of a deduplication id.
#[must_use]
pub fn of_id(id: &str) -> DedupKey {
    key(ID, &[id.as_bytes()])
}

/// Returns the key of a message's content. `headers` are the forwarded ones and the content type. Their order and the
/// case of their names do not count, except for the values of one name, whose order does.
#[must_use]
pub fn of_content(destination: &str, body: &[u8], headers: &[(String, Bytes)]) -> DedupKey {
    let lower = |(name, value): &(String, Bytes)| (name.to_ascii_lowercase(), value.clone());
    let mut headers: Vec<_> = headers.iter().map(lower).collect();
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut parts = vec![destination.as_bytes(), body];
    for (name, value) in &headers {
        parts.extend([name.as_bytes(), value]);
    }
    key(CONTENT, &parts)
}

fn key(kind: &[u8], parts: &[&[u8]]) -> DedupKey {
    let mut hash = Sha256::new();
    for part in [kind].iter().chain(parts) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut key = DedupKey::default();
    for (to, from) in key.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, Bytes)> {
        let owned = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        pairs.iter().map(owned).collect()
    }

    /// Made with Python's `hashlib`. Keys stand in logs, so they must not change.
    #[test]
    fn keys_are_the_ones_that_another_program_makes() {
        assert_eq!(
            of_id("order-1"),
            0x4fc5_7b9d_17ed_8ea2_cf5f_2eee_f6d4_9555_u128.to_be_bytes()
        );
        let headers = pairs(&[("X-B", "2"), ("Content-Type", "text/plain")]);
        let content = of_content("https://example.org/a", b"body", &headers);
        assert_eq!(
            content,
            0xc305_68c3_64c0_93ea_bfe4_9d1c_b2ba_ebe4_u128.to_be_bytes()
        );
    }

    #[test]
    fn everything_that_counts_changes_the_key() {
        let one = pairs(&[("x-a", "1")]);
        let keys = [
            of_id("a"),
            of_id("b"),
            of_id(""),
            of_content("a", b"", &[]),
            of_content("", b"a", &[]),
            of_content("", b"", &[]),
            of_content("a", b"b", &[]),
            of_content("ab", b"", &[]),
            of_content("a", b"b", &one),
            of_content("a", b"b", &pairs(&[("x-a", "2")])),
            of_content("a", b"b", &pairs(&[("x-b", "1")])),
            of_content("a", b"b", &pairs(&[("x-a1", "")])),
            of_content("a", b"b", &pairs(&[("x-a", "1"), ("x-a", "1")])),
            of_content("a", b"b", &pairs(&[("x-a", "1"), ("x-a", "2")])),
            of_content("a", b"b", &pairs(&[("x-a", "2"), ("x-a", "1")])),
        ];
        assert_eq!(HashSet::from(keys).len(), keys.len());
    }

    #[test]
    fn the_order_of_headers_and_the_case_of_their_names_do_not_count() {
        let one = pairs(&[("X-A", "1"), ("x-b", "2"), ("content-type", "t")]);
        let other = pairs(&[("Content-Type", "t"), ("X-B", "2"), ("x-a", "1")]);
        assert_eq!(of_content("u", b"b", &one), of_content("u", b"b", &other));
    }

    proptest! {
        #[test]
        fn different_contents_have_different_keys(
            a in (".{0,5}", vec(any::<u8>(), 0..5), vec(("[a-c]{1,2}", "[a-c]{0,2}"), 0..3)),
            b in (".{0,5}", vec(any::<u8>(), 0..5), vec(("[a-c]{1,2}", "[a-c]{0,2}"), 0..3)),
        ) {
            let of = |(url, body, headers): &(String, Vec<u8>, Vec<(String, String)>)| {
                let mut headers: Vec<_> = headers.iter().map(|(n, v)| (n.clone(), Bytes::from(v.clone()))).collect();
                let key = of_content(url, body, &headers);
                headers.sort_by(|(a, _), (b, _)| a.cmp(b));
                ((url.clone(), body.clone(), headers), key)
            };
            let ((a, a_key), (b, b_key)) = (of(&a), of(&b));
            prop_assert_eq!(a == b, a_key == b_key);
        }
    }
}
