//! Entries as bytes.

use super::{assert_golden, fold, samples};
use crate::control::entry::{ENTRY_KIND_MAX, ENTRY_VERSION};
use crate::control::*;

#[test]
fn the_encodings_are_the_golden_ones() {
    let encoded: Vec<_> = samples().iter().map(Entry::encode).collect();
    assert_golden("control-v1.hex", &encoded);
}

#[test]
fn a_state_that_an_earlier_program_wrote_is_the_same_state() {
    const WRITTEN: &str = include_str!("../../../tests/fixtures/control-state-v1.hex");
    let digits = WRITTEN.trim_end().as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let part = Entry::decode(&bytes).unwrap();
    let Entry::Snapshot(held) = &part else {
        panic!("{part:?} is not a snapshot");
    };
    assert_eq!(held.bytes[0], 1, "version");
    let state = fold(&[part]);
    assert_eq!(state, fold(&samples()[..8]));
    // What it says is written in the present version from now on.
    assert_eq!(fold(&state.snapshot()), state);
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for (entry, kind) in samples().iter().zip([1, 2, 3, 1, 5, 6, 6, 8, 7, 4, 9]) {
        assert_eq!(entry.kind(), kind);
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(entry));
    }
}

#[test]
fn truncated_at_every_byte_is_an_error_and_so_is_a_byte_more() {
    for entry in samples() {
        let mut bytes = entry.encode();
        for end in 0..bytes.len() {
            assert!(
                Entry::decode(&bytes[..end]).is_err(),
                "{entry:?} cut at {end}"
            );
        }
        bytes.push(0);
        assert!(Entry::decode(&bytes).is_err(), "{entry:?} with a byte more");
    }
}

#[test]
fn unknown_kinds_and_versions_are_refused_with_both_numbers() {
    for found in [0, ENTRY_KIND_MAX + 1, 255] {
        let known = ENTRY_KIND_MAX;
        let expected = Err(EntryError::UnknownKind { found, known });
        assert_eq!(Entry::decode(&[found, 1]), expected);
    }
    for found in [0, 2] {
        let (kind, known) = (4, ENTRY_VERSION);
        let expected = EntryError::UnknownVersion { kind, found, known };
        let told = "the control entry of kind 4 has version ";
        assert_eq!(
            expected.to_string(),
            format!("{told}{found}, this program knows 1")
        );
        assert_eq!(Entry::decode(&[kind, found]), Err(expected));
    }
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_allocated() {
    for kind in 1..=ENTRY_KIND_MAX {
        for filler in [0x00, 0x01, 0x7F, 0xFF] {
            let mut bytes = vec![kind, ENTRY_VERSION];
            bytes.extend([filler; 40]);
            // Decodes or does not; a length of 4 GiB that was believed would end the test.
            if let Ok(entry) = Entry::decode(&bytes) {
                assert_eq!(entry.encode(), bytes);
            }
        }
    }
    let mut bytes = vec![3, ENTRY_VERSION, 0, 0, 0, 0];
    bytes.extend(u32::MAX.to_be_bytes());
    assert_eq!(
        Entry::decode(&bytes).unwrap_err(),
        EntryError::Corrupt(crate::error::Corruption::Truncated {
            part: "control entry",
            needed: u64::from(u32::MAX) * 4,
            available: 0,
        })
    );
}
