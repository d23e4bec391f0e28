//! What the letters of one segment have in common, so that a selection reads few of them: a file beside each sealed segment
//! ([`Facets`]), and the same in memory for the active one ([`FacetsBuilder`]).
//!
//! Facets are a hint: checked whole when they are opened, and rebuilt from the segment when they do not verify. They know
//! every letter of the segment, live or not, and the letters that its markers resolve, which may stand in segments before.
//! All offsets in them are relative to the segment's base offset, except a marker's letter.
//!
//! Invariant: the candidates of a filter are at least the letters that it matches; exactly those where they say so.
//!
//! # The file
//! All numbers are big-endian, except those inside a bitmap, which has the portable little-endian layout of roaring.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | magic | 4 | u32 | [`FACETS_MAGIC`], "RDFC" |
//! | 4 | format version | 2 | u16 | [`FACETS_VERSION`] |
//! | 6 | reserved | 2 | u16 | 0 |
//! | 8 | base offset | 8 | u64 | of the segment |
//! | 16 | end | 4 | u32 | relative offset behind the last letter or marker (exclusive end) |
//! | 20 | section bytes | 144 | 18 x u64 | length of each section below |
//! | 164 | sections | | | one after the other |
//! | end - 4 | checksum | 4 | u32 | CRC-32 of everything before it |
//!
//! | section | content |
//! |---|---|
//! | 0 | bitmap: which relative offsets are letters |
//! | 1 to 4 | dictionaries: group; disposition (u8); fingerprint (9 bytes); status of the last attempt (u16) |
//! | 5 to 8 | dictionaries: URL group; endpoint; queue; schedule |
//! | 9 to 14 | pairs of (hash u64, letter u32), sorted: URL, message id, label, caller, source key, flow-control key |
//! | 15 | deaths: (letter u32, ms i64), by letter |
//! | 16 | death blocks: (earliest i64, latest i64) of each [`DEATH_BLOCK_LETTERS`](super::limits::DEATH_BLOCK_LETTERS) deaths |
//! | 17 | markers: (offset of the letter u64, first marker that resolves it u32), sorted |
//!
//! | part of a dictionary | bytes | type | meaning |
//! |---|---|---|---|
//! | value count | 4 | u32 | |
//! | values | 12 each | 3 x u32 | start of the value, start of its bitmap, letters in it; by rising value; starts count from the data |
//! | data | | | of each value: its bytes, then its bitmap, up to the next value |
//!
//! A dictionary is for what somebody has set up, of which there are few. Everybody who publishes makes up flow-control keys:
//! each may stand in one letter only, where a bitmap would take more than a pair.
//!
//! The hash of a text is the first 64 bits of SHA-256 over its length (u64) and its bytes; a source key is one already.

mod dictionary;
mod pairs;
mod builder;
mod file;
mod counts;
mod view;

pub use builder::FacetsBuilder;
pub use counts::{AgeCounts, FacetCounts, TopCounts};
pub use file::Facets;
pub use view::Candidates;

use roaring::RoaringBitmap;

use super::select::LetterFilter;
use crate::offset::{Offset, TimestampMs};
use view::View;

#[cfg(test)]
mod tests;

/// Opens every facet file: `RDFC`.
pub const FACETS_MAGIC: u32 = 0x5244_4643;
/// The version of the facet file. A file of another one is built again, as one that does not verify.
pub const FACETS_VERSION: u16 = 2;

/// A field with few values, each of which has a bitmap. The number is its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DictionaryField {
    Group = 1,
    Disposition = 2,
    Fingerprint = 3,
    Status = 4,
    UrlGroup = 5,
    Endpoint = 6,
    Queue = 7,
    Schedule = 8,
}

/// A field with many values, of which hashes are kept. The number is its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HashedField {
    Url = 9,
    MessageId = 10,
    Label = 11,
    Caller = 12,
    SourceKey = 13,
    FlowControlKey = 14,
}

const DICTIONARY_FIELDS: [DictionaryField; 8] = [
    DictionaryField::Group,
    DictionaryField::Disposition,
    DictionaryField::Fingerprint,
    DictionaryField::Status,
    DictionaryField::UrlGroup,
    DictionaryField::Endpoint,
    DictionaryField::Queue,
    DictionaryField::Schedule,
];
const HASHED_FIELDS: [HashedField; 6] = [
    HashedField::Url,
    HashedField::MessageId,
    HashedField::Label,
    HashedField::Caller,
    HashedField::SourceKey,
    HashedField::FlowControlKey,
];
const LETTERS_SECTION: usize = 0;
const DEATHS_SECTION: usize = 15;
const DEATH_BLOCKS_SECTION: usize = 16;
const MARKERS_SECTION: usize = 17;
const SECTION_COUNT: usize = 18;

/// A pair, or a marker: a u64, then a u32. Their bytes sort as their numbers do.
type Pair = [u8; 12];
/// A death: a u32, then an i64.
type Death = [u8; 12];
/// The earliest and the latest of some deaths: two i64.
type DeathBlock = [u8; 16];

fn pair(key: u64, relative: u32) -> Pair {
    let [_, _, _, _, bytes @ ..] = ((u128::from(key) << 32) | u128::from(relative)).to_be_bytes();
    bytes
}

fn split_pair(pair: Pair) -> (u64, u32) {
    let [k0, k1, k2, k3, k4, k5, k6, k7, relative @ ..] = pair;
    let key = u64::from_be_bytes([k0, k1, k2, k3, k4, k5, k6, k7]);
    (key, u32::from_be_bytes(relative))
}

fn death(relative: u32, died_at: TimestampMs) -> Death {
    let [r0, r1, r2, r3] = relative.to_be_bytes();
    let [t0, t1, t2, t3, t4, t5, t6, t7] = died_at.0.to_be_bytes();
    [r0, r1, r2, r3, t0, t1, t2, t3, t4, t5, t6, t7]
}

fn split_death(death: Death) -> (u32, TimestampMs) {
    let [r0, r1, r2, r3, time @ ..] = death;
    let relative = u32::from_be_bytes([r0, r1, r2, r3]);
    (relative, TimestampMs(i64::from_be_bytes(time)))
}

fn death_block(earliest: TimestampMs, latest: TimestampMs) -> DeathBlock {
    let high = u128::from(earliest.0.cast_unsigned()) << 64;
    (high | u128::from(latest.0.cast_unsigned())).to_be_bytes()
}

fn split_death_block(block: DeathBlock) -> (TimestampMs, TimestampMs) {
    let [e0, e1, e2, e3, e4, e5, e6, e7, latest @ ..] = block;
    let earliest = i64::from_be_bytes([e0, e1, e2, e3, e4, e5, e6, e7]);
    (
        TimestampMs(earliest),
        TimestampMs(i64::from_be_bytes(latest)),
    )
}

/// The facets of one segment, whichever it is.
#[derive(Debug, Clone)]
pub enum SegmentFacets {
    /// Of the active segment.
    Building(FacetsBuilder),
    /// Of a sealed one.
    Sealed(Facets),
}

impl SegmentFacets {
    fn view(&self) -> View<'_> {
        match self {
            Self::Building(builder) => View::Building(builder),
            Self::Sealed(facets) => View::Sealed(facets),
        }
    }

    /// Returns which relative offsets are letters.
    #[must_use]
    pub fn letters(&self) -> &RoaringBitmap {
        self.view().letters()
    }

    /// Returns the letters that a filter may match.
    #[must_use]
    pub fn candidates(&self, filter: &LetterFilter) -> Candidates {
        self.view().candidates(filter)
    }

    /// Returns the relative offset of the first marker in this segment that resolves a letter of the log.
    #[must_use]
    pub fn marker_of(&self, letter: Offset) -> Option<u32> {
        self.view().marker_of(letter)
    }

    /// Returns the letters with this source key, and by chance some of another.
    pub fn by_source(&self, key: u64) -> impl Iterator<Item = u32> + use<> {
        self.view().hashed(HashedField::SourceKey, key).into_iter()
    }

    /// Counts the live letters.
    #[must_use]
    pub fn counts(&self, live: &RoaringBitmap, now: TimestampMs) -> FacetCounts {
        self.view().counts(live, now)
    }
}
