//! What was done about a letter: one marker resolves one letter. The first marker of a letter wins.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | kind | 1 | u8 | [`MARKER_KIND`] |
//! | version | 1 | u8 | [`MARKER_VERSION`] |
//! | letter | 8 | u64 | offset of the letter in the log that the marker stands in |
//! | time | 8 | i64 | ms, when it was resolved |
//! | resolution | 1 | u8 | 1 republished, 2 deleted |
//! | target | 12 or 0 | u32, u64 | republished: partition number and offset of the fresh record |
//! | request id | | option | as the caller named the request |
//! | who | | block | who asked for it |

use super::limits::WHO_BYTES_MAX;
use crate::error::Corruption;
use crate::fields::{Reader, put_block, put_option, text, wrong};
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// Opens every marker.
pub const MARKER_KIND: u8 = 2;
/// The version of this layout.
pub const MARKER_VERSION: u8 = 1;

/// What was done about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// A fresh record stands in a main log.
    Republished {
        /// Partition of the fresh record.
        partition: PartitionNumber,
        /// Offset of the fresh record.
        offset: Offset,
    },
    /// It was given up.
    Deleted,
}

/// The resolution of one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Offset of the letter, in the log that the marker stands in.
    pub letter: Offset,
    /// What was done.
    pub resolution: Resolution,
    /// The caller's name of the request.
    pub request_id: Option<String>,
    /// When it was done.
    pub time: TimestampMs,
    /// Who asked for it.
    pub who: String,
}

impl Marker {
    /// Appends the marker's bytes to `out`. Longer names than the limits allow are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[MARKER_KIND, MARKER_VERSION]);
        out.extend_from_slice(&self.letter.0.to_be_bytes());
        out.extend_from_slice(&self.time.0.to_be_bytes());
        match self.resolution {
            Resolution::Republished { partition, offset } => {
                out.push(1);
                out.extend_from_slice(&partition.0.to_be_bytes());
                out.extend_from_slice(&offset.0.to_be_bytes());
            }
            Resolution::Deleted => out.push(2),
        }
        put_option(out, self.request_id.as_deref().map(capped));
        put_block(out, capped(&self.who));
    }

    /// Decodes a marker.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("marker", bytes);
        let kind = reader.u8()?;
        if kind != MARKER_KIND {
            return Err(wrong("marker kind", u64::from(kind)));
        }
        let version = reader.u8()?;
        if version != MARKER_VERSION {
            return Err(wrong("marker version", u64::from(version)));
        }
        let letter = Offset(reader.u64()?);
        let time = TimestampMs(reader.i64()?);
        let resolution = match reader.u8()? {
            1 => Resolution::Republished {
                partition: PartitionNumber(reader.u32()?),
                offset: Offset(reader.u64()?),
            },
            2 => Resolution::Deleted,
            other => return Err(wrong("resolution", u64::from(other))),
        };
        let request_id = reader.option()?;
        let request_id = request_id.map(|id| text("request id", id)).transpose()?;
        let who = reader.text("who")?;
        reader.finish()?;
        Ok(Self {
            letter,
            resolution,
            request_id,
            time,
            who,
        })
    }
}

fn capped(text: &str) -> &[u8] {
    let end = text.floor_char_boundary(WHO_BYTES_MAX);
    text.as_bytes().get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            letter: Offset(7),
            resolution: Resolution::Republished {
                partition: PartitionNumber(3),
                offset: Offset(99),
            },
            request_id: Some("req-1".to_owned()),
            time: TimestampMs(1_700_000_000_000),
            who: "ada".to_owned(),
        }
    }

    fn encoded(marker: &Marker) -> Vec<u8> {
        let mut out = Vec::new();
        marker.encode(&mut out);
        out
    }

    #[test]
    fn round_trips() {
        let deleted = Marker {
            resolution: Resolution::Deleted,
            request_id: None,
            ..marker()
        };
        for marker in [marker(), deleted] {
            assert_eq!(Marker::decode(&encoded(&marker)), Ok(marker));
        }
    }

    #[test]
    fn truncated_at_every_byte_is_an_error() {
        let bytes = encoded(&marker());
        for end in 0..bytes.len() {
            assert!(Marker::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(Marker::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_another_marker() {
        let bytes = encoded(&marker());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Marker::decode(&flipped) {
                assert_eq!(encoded(&other), flipped, "bit {bit}");
            }
        }
    }
}
