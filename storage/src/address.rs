//! Ids are addresses: a message id or a letter id says where the record stands, so getting one needs no index.
//!
//! An address is 17 bytes, read as one big-endian number and written in base 62 (`0-9A-Za-z`) with leading zeros, always
//! [`ADDRESS_CHARS`] characters.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | kind | 1 | u8 | [`AddressKind`] |
//! | 1 | partition number | 4 | u32 | |
//! | 5 | offset | 8 | u64 | in the partition's main or dead-letter log, by the kind |
//! | 13 | check | 4 | u32 | CRC-32 of bytes 0 to 13 |
//!
//! The check catches mistyping. It is no secret.

use std::fmt;
use std::str::FromStr;

use crate::checksum::crc32;
use crate::log_id::{LogKind, PartitionNumber};
use crate::offset::Offset;

/// Bytes of an address.
pub const ADDRESS_BYTES: usize = 17;
/// Characters of an address: 62^23 is the first power of 62 above 2^136.
pub const ADDRESS_CHARS: usize = 23;

/// Characters that one division of an address gives: as many as fit a `u32`.
const DIVISION_CHARS: usize = 5;
const DIVISOR: u64 = (BASE as u64).pow(5);

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE: u32 = 62;

/// What an address names. The number is its byte in the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// A record of a main log.
    Message,
    /// A letter of a dead-letter log.
    Letter,
}

impl AddressKind {
    /// Returns the kind with this byte, or `None` for a byte that no kind has.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Message),
            2 => Some(Self::Letter),
            _ => None,
        }
    }

    /// Returns the kind's byte in an address.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Letter => 2,
        }
    }

    /// Returns the kind of the log that the address points into.
    #[must_use]
    pub fn log_kind(self) -> LogKind {
        match self {
            Self::Message => LogKind::Main,
            Self::Letter => LogKind::DeadLetter,
        }
    }
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message => "message",
            Self::Letter => "letter",
        })
    }
}

/// Where one record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// What it names.
    pub kind: AddressKind,
    /// The partition.
    pub partition: PartitionNumber,
    /// The offset in the partition's log.
    pub offset: Offset,
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has not the form of an address.
    #[error("an id has {ADDRESS_CHARS} characters of 0-9, A-Z and a-z; this one has {chars}")]
    Length {
        /// How many characters it has.
        chars: usize,
    },
    /// A character is not one of an address.
    #[error(
        "an id has only the characters 0-9, A-Z and a-z; character {at} of this one is {found:?}"
    )]
    Character {
        /// Which character, from 1.
        at: usize,
        /// The character.
        found: char,
    },
    /// It has the form of an address, and its check fails.
    #[error("the id is mistyped: its check does not match")]
    Mistyped,
    /// Its check matches, and this program does not know its kind.
    #[error("the id has kind {kind}, this program knows 1 (message) and 2 (letter)")]
    UnknownKind {
        /// The kind's byte.
        kind: u8,
    },
}

impl AddressError {
    /// Returns whether the text has the form of an address and fails its check, as a mistyped one does.
    #[must_use]
    pub fn is_mistyped(&self) -> bool {
        *self == Self::Mistyped
    }
}

impl Address {
    /// Names the record of a main log at this offset.
    #[must_use]
    pub const fn message(partition: PartitionNumber, offset: Offset) -> Self {
        Self {
            kind: AddressKind::Message,
            partition,
            offset,
        }
    }

    /// Names the letter of a dead-letter log at this offset.
    #[must_use]
    pub const fn letter(partition: PartitionNumber, offset: Offset) -> Self {
        Self {
            kind: AddressKind::Letter,
            partition,
            offset,
        }
    }

    /// Returns the address as bytes, with its check.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ADDRESS_BYTES] {
        let [p0, p1, p2, p3] = self.partition.0.to_be_bytes();
        let [o0, o1, o2, o3, o4, o5, o6, o7] = self.offset.0.to_be_bytes();
        let kind = self.kind.byte();
        let fields = [kind, p0, p1, p2, p3, o0, o1, o2, o3, o4, o5, o6, o7];
        let mut bytes = [0; ADDRESS_BYTES];
        let all = fields.into_iter().chain(crc32(&fields).to_be_bytes());
        for (place, byte) in bytes.iter_mut().zip(all) {
            *place = byte;
        }
        bytes
    }

    /// Returns the address with these bytes.
    ///
    /// # Errors
    /// [`AddressError::Mistyped`] and [`AddressError::UnknownKind`].
    pub fn from_bytes(bytes: [u8; ADDRESS_BYTES]) -> Result<Self, AddressError> {
        let [
            kind,
            p0,
            p1,
            p2,
            p3,
            o0,
            o1,
            o2,
            o3,
            o4,
            o5,
            o6,
            o7,
            c0,
            c1,
            c2,
            c3,
        ] = bytes;
        let fields = [kind, p0, p1, p2, p3, o0, o1, o2, o3, o4, o5, o6, o7];
        if crc32(&fields) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return Err(AddressError::Mistyped);
        }
        Ok(Self {
            kind: AddressKind::from_byte(kind).ok_or(AddressError::UnknownKind { kind })?,
            partition: PartitionNumber(u32::from_be_bytes([p0, p1, p2, p3])),
            offset: Offset(u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7])),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = limbs(self.to_bytes());
        let mut chars = [0; ADDRESS_CHARS];
        for group in chars.rchunks_mut(DIVISION_CHARS) {
            let mut rest = divide(&mut limbs);
            for place in group.iter_mut().rev() {
                let digit = usize::try_from(rest % u64::from(BASE)).ok();
                rest /= u64::from(BASE);
                *place = digit
                    .and_then(|digit| ALPHABET.get(digit))
                    .copied()
                    .unwrap_or(b'0');
            }
        }
        f.pad(std::str::from_utf8(&chars).map_err(|_error| fmt::Error)?)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut bytes = [0; ADDRESS_BYTES];
        let mut is_too_large = false;
        // The characters are judged before their number, so that a pasted URL is called what it is. A text of any length
        // is walked at most as far as an address goes.
        for (index, found) in text.chars().take(ADDRESS_CHARS).enumerate() {
            let at = index.saturating_add(1);
            let digit = digit(found).ok_or(AddressError::Character { at, found })?;
            is_too_large |= multiply_add(&mut bytes, digit) != 0;
        }
        let chars = text.chars().count();
        if chars != ADDRESS_CHARS {
            return Err(AddressError::Length { chars });
        }
        if is_too_large {
            return Err(AddressError::Mistyped);
        }
        Self::from_bytes(bytes)
    }
}

/// Returns the big-endian number in digits of 32 bits, the highest first.
fn limbs(bytes: [u8; ADDRESS_BYTES]) -> [u32; 5] {
    let mut limbs = [0; 5];
    for (place, chunk) in limbs.iter_mut().rev().zip(bytes.rchunks(4)) {
        *place = chunk
            .iter()
            .fold(0, |limb, byte| limb << 8 | u32::from(*byte));
    }
    limbs
}

/// Divides the number by 62 to the power of [`DIVISION_CHARS`] and returns the remainder.
fn divide(limbs: &mut [u32; 5]) -> u64 {
    let mut remainder = 0;
    for limb in limbs {
        let value = (remainder << 32) | u64::from(*limb);
        // The remainder was below the divisor, so the quotient is below 2^32.
        *limb = u32::try_from(value / DIVISOR).unwrap_or(u32::MAX);
        remainder = value % DIVISOR;
    }
    remainder
}

/// Multiplies the big-endian number by 62, adds `digit`, and returns what did not fit.
fn multiply_add(number: &mut [u8; ADDRESS_BYTES], digit: u32) -> u32 {
    let mut carry = digit;
    for byte in number.iter_mut().rev() {
        let value = u32::from(*byte) * BASE + carry;
        let [.., low] = value.to_be_bytes();
        *byte = low;
        carry = value >> 8;
    }
    carry
}

fn digit(found: char) -> Option<u32> {
    match found {
        '0'..='9' => Some(u32::from(found) - u32::from('0')),
        'A'..='Z' => Some(u32::from(found) - u32::from('A') + 10),
        'a'..='z' => Some(u32::from(found) - u32::from('a') + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn address_comes_back(is_letter: bool, partition: u32, offset: u64) {
            let (partition, offset) = (PartitionNumber(partition), Offset(offset));
            let address = if is_letter {
                Address::letter(partition, offset)
            } else {
                Address::message(partition, offset)
            };
            let text = address.to_string();
            prop_assert_eq!(text.len(), ADDRESS_CHARS);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(text.parse(), Ok(address));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let parsed = text.parse::<Address>();
            prop_assert!(parsed.is_err() || text.len() == ADDRESS_CHARS);
        }
    }

    #[test]
    fn every_single_mistyped_character_and_every_swap_is_told() {
        let text = Address::message(PartitionNumber(3), Offset(1_000_000)).to_string();
        for at in 0..ADDRESS_CHARS {
            for other in ALPHABET {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = *other;
                check_mistyped(&text, bytes);
            }
            if at > 0 {
                let mut bytes = text.clone().into_bytes();
                bytes.swap(at - 1, at);
                check_mistyped(&text, bytes);
            }
        }
    }

    fn check_mistyped(good: &str, bytes: Vec<u8>) {
        let text = String::from_utf8(bytes).unwrap();
        if text != good {
            assert_eq!(
                text.parse::<Address>(),
                Err(AddressError::Mistyped),
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_ones_say_what_is_wrong() {
        let short = "abc".parse::<Address>();
        assert_eq!(short, Err(AddressError::Length { chars: 3 }));
        let long = "0".repeat(24).parse::<Address>();
        assert_eq!(long, Err(AddressError::Length { chars: 24 }));
        let at = "https://example.org/xyz".parse::<Address>();
        assert_eq!(at, Err(AddressError::Character { at: 6, found: ':' }));
        let over = "z".repeat(23).parse::<Address>();
        assert_eq!(over, Err(AddressError::Mistyped));
    }

    #[test]
    fn an_unknown_kind_with_a_right_check_is_not_called_mistyped() {
        let mut bytes = Address::letter(PartitionNumber(1), Offset(2)).to_bytes();
        bytes[0] = 9;
        let check = crc32(&bytes[..13]);
        bytes[13..].copy_from_slice(&check.to_be_bytes());
        let kind = Address::from_bytes(bytes);
        assert_eq!(kind, Err(AddressError::UnknownKind { kind: 9 }));
    }
}
