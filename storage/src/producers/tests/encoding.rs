//! The memory as bytes.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn sample() -> Producers {
    let mut partition = Partition::new(SMALL);
    for n in 0..7 {
        partition.produce(1, 2, n * 3, 3);
        partition.now += 1;
    }
    partition.produce(u64::MAX - 1, u16::MAX, 0, 9);
    partition.append(producer(5, 0, u32::MAX - 1), 1);
    partition.producers
}

#[test]
fn the_encoding_is_the_golden_one() {
    const GOLDEN: &str = include_str!("../../../tests/fixtures/producers-v1.hex");
    let bytes = sample().encode();
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    assert_eq!(hex, GOLDEN.trim());
}

#[test]
fn truncated_at_every_byte_is_an_error() {
    let bytes = sample().encode();
    for end in 0..bytes.len() {
        assert!(
            Producers::decode(SMALL, &bytes[..end]).is_err(),
            "cut at {end}"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Producers::decode(SMALL, &longer).is_err());
}

#[test]
fn lies_are_refused_and_cost_nothing() {
    let bytes = sample().encode();
    let lie = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        Producers::decode(SMALL, &bytes)
    };
    for (what, at, value) in [
        ("version", 0, &[2][..]),
        ("count of producers", 1, &[0xFF; 4]),
        ("producer id", 5, &[0xFF; 8]),
        ("batch count 0", 23, &[0]),
        ("batch count 6", 23, &[6]),
        ("sequence", 24, &[0xFF; 4]),
        ("record count", 28, &[0; 4]),
    ] {
        assert!(lie(at, value).is_err(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_decode_to_an_error_or_to_what_encodes_to_them(
        at in 0..200_usize, byte in any::<u8>(),
    ) {
        let mut bytes = sample().encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(decoded) = Producers::decode(SMALL, &bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }
}
