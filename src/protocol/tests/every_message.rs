//! What holds for every message.

use std::fmt::{Debug, Write as _};

use bytes::Bytes;

use super::catalogue::visit_all;
use super::{Visitor, bytes_in, bytes_of};
use crate::protocol::api_key::{API_VERSION_MAX, API_VERSION_MIN, ApiKey};
use crate::protocol::cursor::{DecodeError, Reader, Wire};
use crate::protocol::frame;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

struct RoundTrip(usize);

impl Visitor for RoundTrip {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_of(message);
        let decoded: T = frame::decode_payload(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(&decoded, message, "{name}");
        let shared = Bytes::from(bytes);
        let decoded: T = frame::decode_payload(&mut Reader::shared(&shared)).unwrap();
        assert_eq!(&decoded, message, "{name}, shared");
        self.0 += 1;
    }
}

#[test]
fn every_message_survives_the_wire() {
    let mut visitor = RoundTrip(0);
    visit_all(&mut visitor);
    assert_eq!(visitor.0, 2 * ApiKey::ALL.len(), "an API has no sample");
}

struct Truncation;

impl Visitor for Truncation {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_of(message);
        for end in 0..bytes.len() {
            let result = frame::decode_payload::<T>(&mut Reader::new(&bytes[..end]));
            let Err(DecodeError::Truncated { field, .. }) = &result else {
                panic!("{name} cut at {end} gives {result:?}");
            };
            assert!(
                !field.is_empty(),
                "{name} cut at {end}: the field has no name"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        let result = frame::decode_payload::<T>(&mut Reader::new(&longer));
        assert_eq!(
            result,
            Err(DecodeError::Trailing {
                position: bytes.len(),
                bytes: 1
            }),
            "{name}"
        );
    }
}

#[test]
fn every_truncation_and_every_addition_is_an_error() {
    visit_all(&mut Truncation);
}

struct Flips;

impl Visitor for Flips {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_of(message);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The codec carries no checksum (batches and TCP do): a flip is an error or another message, whose bytes
            // are then exactly these.
            if let Ok(other) = frame::decode_payload::<T>(&mut Reader::new(&flipped)) {
                assert_ne!(&other, message, "{name}, bit {bit}");
                assert_eq!(bytes_of(&other), flipped, "{name}, bit {bit}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_an_error_or_another_message() {
    visit_all(&mut Flips);
}

/// Messages as lines, in a version's layout.
struct Golden(u16, String);

impl Visitor for Golden {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        write!(self.1, "{name} ").unwrap();
        for byte in bytes_in(self.0, message) {
            write!(self.1, "{byte:02x}").unwrap();
        }
        self.1.push('\n');
    }
}

/// With `REDRIVE_WRITE_GOLDEN` set, writes the file of the newest version. It may only change together with the version, those
/// of older ones never.
#[test]
fn the_bytes_of_every_message_are_the_golden_ones() {
    for version in API_VERSION_MIN..=API_VERSION_MAX {
        let mut golden = Golden(version, String::new());
        visit_all(&mut golden);
        let path = format!("{FIXTURES}/protocol_v{version}.txt");
        if version == API_VERSION_MAX && std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &golden.1).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap();
        for (ours, stored) in golden.1.lines().zip(stored.lines()) {
            assert_eq!(ours, stored, "version {version}");
        }
        assert_eq!(golden.1.lines().count(), stored.lines().count());
    }
}

/// Takes each message for one of an older version.
struct Older(u16);

impl Visitor for Older {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        let bytes = bytes_in(self.0, message);
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            reader.set_version(self.0);
            frame::decode_payload::<T>(&mut reader)
        };
        let decoded = read(&bytes).unwrap();
        assert_eq!(bytes_in(self.0, &decoded), bytes, "{name}");
        // An older message says nothing of what came later; it is no error that it does not.
        let newest = bytes_of(message);
        assert_eq!(newest == bytes, decoded == *message, "{name}");
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn messages_of_older_versions_are_understood() {
    for version in API_VERSION_MIN..API_VERSION_MAX {
        visit_all(&mut Older(version));
    }
}

/// Finds the messages whose layout a version has changed.
struct Changed(Vec<String>);

impl Visitor for Changed {
    fn visit<T: Wire + PartialEq + Debug>(&mut self, name: &str, message: &T) {
        if bytes_in(1, message) != bytes_in(2, message) {
            self.0.push(name.to_owned());
        }
    }
}

#[test]
fn only_requests_with_a_newer_version_have_a_newer_layout() {
    let mut changed = Changed(Vec::new());
    visit_all(&mut changed);
    for name in [
        "ListLetters.request",
        "ListLetters.answer",
        "GetLetter.answer",
    ] {
        assert!(changed.0.iter().any(|one| one == name), "{name}");
    }
    for key in ApiKey::ALL {
        let own = format!("{}.", key.name());
        let has_changed = changed.0.iter().any(|name| name.starts_with(&own));
        assert!(!has_changed || key.version() == 2, "{own}");
        assert!(key.understands(1) && key.understands(key.version()));
        assert!(!key.understands(0) && !key.understands(key.version() + 1));
    }
}
