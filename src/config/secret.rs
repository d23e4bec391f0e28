//! The token as a hash: its text is not kept, so that nothing can print it.

use std::fmt;

use sha2::{Digest, Sha256};

/// A secret that can be compared and nothing else. Only its SHA-256 is kept.
#[derive(Clone)]
pub struct Secret {
    digest: [u8; 32],
}

impl Secret {
    /// Hashes `text`.
    pub fn new(text: &str) -> Self {
        Self {
            digest: Sha256::digest(text.as_bytes()).into(),
        }
    }

    /// Returns true if `candidate` is the secret. Takes the same time wherever they differ: two digests are compared
    /// whole, and a digest cannot be guessed byte by byte.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        let difference = self
            .digest
            .iter()
            .zip(&candidate)
            .fold(0_u8, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_matches() {
        let secret = Secret::new("open sesame");
        assert!(secret.matches(b"open sesame"));
        for wrong in [&b""[..], b"open sesam", b"open sesame ", b"Open sesame"] {
            assert!(!secret.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn debug_shows_neither_text_nor_digest() {
        assert_eq!(format!("{:?}", Secret::new("open sesame")), "Secret(..)");
    }
}
