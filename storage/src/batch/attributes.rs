//! The attribute bits of a batch: how its records are compressed, and what the broker says of them.

use crate::error::Corruption;

/// How the records section is compressed. The number is its value in the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// The attribute bits of a batch.
///
/// | bits | meaning | who sets it |
/// |---|---|---|
/// | 0 to 2 | codec: 0 none, 1 lz4, 2 zstd | builder |
/// | 8 | the broker built this batch: reserved record headers (`redrive.*`) mean something | broker |
/// | 9 | the batch holds records with causes | broker |
/// | others | 0 | |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// How the records section is compressed.
    pub codec: Codec,
    /// Whether the broker built the batch.
    pub is_broker_built: bool,
    /// Whether records of the batch carry causes. Only in a batch that the broker built.
    pub holds_causes: bool,
}

impl Attributes {
    const BROKER_BUILT: u16 = 1 << 8;
    const HOLDS_CAUSES: u16 = 1 << 9;

    /// Returns the bits as they stand in a header.
    pub(super) fn bits(self) -> u16 {
        let codec = match self.codec {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        };
        codec
            | if self.is_broker_built {
                Self::BROKER_BUILT
            } else {
                0
            }
            | if self.holds_causes {
                Self::HOLDS_CAUSES
            } else {
                0
            }
    }

    /// Reads the bits; one that nothing sets is an error.
    pub(super) fn from_bits(bits: u16) -> Result<Self, Corruption> {
        let wrong = || Corruption::Field {
            field: "attributes",
            value: u64::from(bits),
        };
        let codec = match bits & 0b111 {
            0 => Codec::None,
            1 => Codec::Lz4,
            2 => Codec::Zstd,
            _ => return Err(wrong()),
        };
        let attributes = Self {
            codec,
            is_broker_built: bits & Self::BROKER_BUILT != 0,
            holds_causes: bits & Self::HOLDS_CAUSES != 0,
        };
        if attributes.bits() != bits || (attributes.holds_causes && !attributes.is_broker_built) {
            return Err(wrong());
        }
        Ok(attributes)
    }
}
