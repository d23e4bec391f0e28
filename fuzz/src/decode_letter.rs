//! What stands in dead-letter logs and in what callers send back: any bytes are decoded or refused, and come back as they were.

use std::str::FromStr;

use storage::address::Address;
use storage::cause::Cause;
use storage::dead_letter::{DeadLetter, Fingerprint, Marker};

/// Decodes the bytes as everything they could be.
pub fn run(data: &[u8]) {
    if let Ok(letter) = DeadLetter::decode(data) {
        let again = DeadLetter::decode(&letter.encode());
        assert_eq!(again.as_ref(), Ok(&letter));
    }
    if let Ok(marker) = Marker::decode(data) {
        let mut bytes = Vec::new();
        marker.encode(&mut bytes);
        assert_eq!(Marker::decode(&bytes).as_ref(), Ok(&marker));
    }
    if let Ok(cause) = Cause::decode(data) {
        assert_eq!(Cause::decode(&cause.encode()).as_ref(), Ok(&cause));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(address) = Address::from_str(text) {
            assert_eq!(address.to_string(), text, "two texts of one address");
        }
        if let Ok(fingerprint) = Fingerprint::from_str(text) {
            assert_eq!(
                Fingerprint::from_str(&fingerprint.to_string()).ok(),
                Some(fingerprint)
            );
        }
    }
}
