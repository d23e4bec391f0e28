//! The value of the reserved record header `redrive.lineage`, by which a republished record remembers where it came from.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | version | 1 | u8 | [`LINEAGE_VERSION`] |
//! | republished | 4 | u32 | how often |
//! | first message id | rest | UTF-8 | empty when it is not known |

use super::letter::Lineage;
use crate::error::Corruption;

/// The version of this layout.
pub(super) const LINEAGE_VERSION: u8 = 1;

impl Lineage {
    /// Encodes the lineage.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let id = self.first_message_id.as_deref().unwrap_or_default();
        let count = self.republished.to_be_bytes();
        [&[LINEAGE_VERSION], count.as_slice(), id.as_bytes()].concat()
    }

    /// Decodes a lineage.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let truncated = |needed| Corruption::Truncated {
            part: "lineage",
            needed,
            available: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        };
        let (version, rest) = bytes.split_first().ok_or(truncated(5))?;
        if *version != LINEAGE_VERSION {
            return Err(Corruption::Field {
                field: "lineage version",
                value: u64::from(*version),
            });
        }
        let (republished, id) = rest.split_first_chunk::<4>().ok_or(truncated(5))?;
        let id = std::str::from_utf8(id).map_err(|error| Corruption::Field {
            field: "first message id",
            value: u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX),
        })?;
        Ok(Self {
            first_message_id: (!id.is_empty()).then(|| id.to_owned()),
            republished: u32::from_be_bytes(*republished),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_and_a_truncated_one_is_an_error() {
        for first_message_id in [None, Some("7nAbc".to_owned())] {
            let lineage = Lineage {
                first_message_id,
                republished: 9,
            };
            let bytes = lineage.encode();
            assert_eq!(Lineage::decode(&bytes), Ok(lineage));
            for end in 0..5 {
                assert!(Lineage::decode(&bytes[..end]).is_err(), "{end}");
            }
        }
    }
}
