//! The header that a segment file opens with.
//!
//! All numbers are big-endian. Magic, version and CRC stand at the same places in every version of the format, so that a
//! newer file can be told from a damaged one.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | magic | 4 | u32 | [`SEGMENT_MAGIC`] |
//! | 4 | format version | 2 | u16 | [`SEGMENT_VERSION`] |
//! | 6 | log kind | 1 | u8 | [`LogKind`] |
//! | 7 | reserved | 1 | u8 | 0 |
//! | 8 | partition number | 4 | u32 | |
//! | 12 | reserved | 4 | u32 | 0 |
//! | 16 | base offset | 8 | u64 | offset of the first record; also the file's name |
//! | 24 | previous header CRC | 4 | u32 | header CRC of the last batch before this segment; 0 for a log's first |
//! | 28 | CRC | 4 | u32 | CRC-32 of bytes 0 to 28 |

use crate::checksum::crc32;
use crate::error::Corruption;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::Offset;

/// Bytes of a segment header: where the first batch stands.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// The same, as the type of file positions.
pub const SEGMENT_HEADER_BYTES_U64: u64 = 32;
/// Opens every segment file: `RDSG`.
pub const SEGMENT_MAGIC: u32 = 0x5244_5347;
/// The version of the segment format.
pub const SEGMENT_VERSION: u16 = 1;

const CRC_AT: usize = 28;
const _: () = assert!(4 + 2 + 1 + 1 + 4 + 4 + 8 + 4 + 4 == SEGMENT_HEADER_BYTES);

/// A decoded segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log that the segment belongs to.
    pub log: LogId,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Header CRC of the last batch before this segment; 0 for a log's first.
    pub prev_header_crc: u32,
}

/// Why a segment header was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentHeaderError {
    /// The bytes do not verify.
    Corrupt(Corruption),
    /// The bytes verify and carry a version that this program does not know.
    UnknownVersion(u16),
}

impl SegmentHeader {
    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC.to_be_bytes());
        bytes.extend_from_slice(&SEGMENT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&[self.log.kind.byte(), 0]);
        bytes.extend_from_slice(&self.log.partition.0.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.base_offset.0.to_be_bytes());
        bytes.extend_from_slice(&self.prev_header_crc.to_be_bytes());
        bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
        bytes.try_into().unwrap_or([0; SEGMENT_HEADER_BYTES])
    }

    /// Decodes and checks the header at the start of `bytes`.
    ///
    /// # Errors
    /// [`SegmentHeaderError`], the version only when the checksum holds.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(SegmentHeaderError::Corrupt(Corruption::Truncated {
                part: "segment header",
                needed: SEGMENT_HEADER_BYTES_U64,
                available,
            }));
        };
        let u32_at = |at: usize| {
            bytes
                .get(at..)
                .and_then(|b| b.first_chunk())
                .map_or(0, |b| u32::from_be_bytes(*b))
        };
        let magic = u32_at(0);
        if magic != SEGMENT_MAGIC {
            let reason = Corruption::Magic {
                found: magic,
                expected: SEGMENT_MAGIC,
            };
            return Err(SegmentHeaderError::Corrupt(reason));
        }
        let found = u32_at(CRC_AT);
        let computed = crc32(bytes.get(..CRC_AT).unwrap_or_default());
        if found != computed {
            let reason = Corruption::Checksum {
                part: "segment header",
                found,
                computed,
            };
            return Err(SegmentHeaderError::Corrupt(reason));
        }
        let [_, _, _, _, v1, v0, kind, reserved, ..] = *bytes;
        let version = u16::from_be_bytes([v1, v0]);
        if version != SEGMENT_VERSION {
            return Err(SegmentHeaderError::UnknownVersion(version));
        }
        if reserved != 0 || u32_at(12) != 0 {
            let reason = Corruption::Field {
                field: "reserved",
                value: u64::from(u32_at(12)),
            };
            return Err(SegmentHeaderError::Corrupt(reason));
        }
        let Some(kind) = LogKind::from_byte(kind) else {
            let reason = Corruption::WrongLog {
                found_partition: u32_at(8),
                found_kind: kind,
            };
            return Err(SegmentHeaderError::Corrupt(reason));
        };
        let base = bytes
            .get(16..)
            .and_then(|b| b.first_chunk())
            .map_or(0, |b| u64::from_be_bytes(*b));
        Ok(Self {
            log: LogId::new(PartitionNumber(u32_at(8)), kind),
            base_offset: Offset(base),
            prev_header_crc: u32_at(24),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        log: LogId::new(PartitionNumber(7), LogKind::DeadLetter),
        base_offset: Offset(0x0102_0304_0506_0708),
        prev_header_crc: 0xA1B2_C3D4,
    };

    #[test]
    fn golden_bytes() {
        let mut expected = b"RDSG\x00\x01\x02\x00\x00\x00\x00\x07\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\xA1\xB2\xC3\xD4".to_vec();
        expected.extend_from_slice(&crc32(&expected).to_be_bytes());
        assert_eq!(HEADER.encode().as_slice(), expected);
        assert_eq!(SegmentHeader::decode(&expected), Ok(HEADER));
    }

    #[test]
    fn truncated_at_every_byte_and_flipped_at_every_bit_is_an_error() {
        let bytes = HEADER.encode();
        for end in 0..bytes.len() {
            assert!(SegmentHeader::decode(&bytes[..end]).is_err(), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "{bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[5] = 2;
        let crc = crc32(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(
            SegmentHeader::decode(&bytes),
            Err(SegmentHeaderError::UnknownVersion(2))
        );
    }
}
