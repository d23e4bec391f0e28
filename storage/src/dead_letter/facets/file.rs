//! The facet file of a sealed segment, mapped: only the bitmap of its letters is held in memory.

use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::dictionary::Dictionary;
use super::view::{Candidates, View};
use super::{
    DEATH_BLOCKS_SECTION, DEATHS_SECTION, DICTIONARY_FIELDS, Death, DeathBlock, DictionaryField,
    FACETS_MAGIC, FACETS_VERSION, FacetCounts, HASHED_FIELDS, HashedField, LETTERS_SECTION,
    MARKERS_SECTION, Pair, SECTION_COUNT, pair, split_pair,
};
use crate::dead_letter::limits::DEATH_BLOCK_LETTERS;
use crate::dead_letter::sealed::{bitmap, open};
use crate::dead_letter::select::LetterFilter;
use crate::disk::MappedBytes;
use crate::error::Corruption;
use crate::fields::{Reader, length_u64, wrong};
use crate::offset::{Offset, TimestampMs};

const MAGIC_BYTES: usize = 4;
const HEADER_BYTES: usize = MAGIC_BYTES + 2 + 2 + 8 + 4 + SECTION_COUNT * 8;
const _: () = assert!(HEADER_BYTES == 164);

/// The facets of a sealed segment. Clones share the file.
#[derive(Debug, Clone)]
pub struct Facets {
    bytes: Arc<MappedBytes>,
    base: Offset,
    end: u32,
    letters: Arc<RoaringBitmap>,
    sections: [Range<usize>; SECTION_COUNT],
}

impl Facets {
    /// Opens the facets of a segment, and reads them whole for that.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first. The caller builds them again from the segment.
    pub fn open(bytes: MappedBytes) -> Result<Self, Corruption> {
        let body = open("facets", FACETS_MAGIC, bytes.as_ref())?;
        let mut reader = Reader::new("facets", body);
        let version = reader.u16()?;
        if version != FACETS_VERSION {
            return Err(wrong("facets version", u64::from(version)));
        }
        let reserved = reader.u16()?;
        if reserved != 0 {
            return Err(wrong("facets reserved", u64::from(reserved)));
        }
        let base = Offset(reader.u64()?);
        let end = reader.u32()?;
        let sections = read_sections(&mut reader)?;
        let mut facets = Self {
            bytes: Arc::new(bytes),
            base,
            end,
            letters: Arc::default(),
            sections,
        };
        facets.letters = Arc::new(bitmap("letters", facets.section(LETTERS_SECTION))?);
        facets.check_sections()?;
        Ok(facets)
    }

    /// Returns the base offset of the segment.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Returns the relative offset behind the last letter or marker (exclusive end).
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Returns which relative offsets are letters.
    #[must_use]
    pub fn letters(&self) -> &RoaringBitmap {
        &self.letters
    }

    /// Returns the letters that a filter may match.
    #[must_use]
    pub fn candidates(&self, filter: &LetterFilter) -> Candidates {
        View::Sealed(self).candidates(filter)
    }

    /// Returns the relative offset of the first marker in this segment that resolves a letter of the log.
    #[must_use]
    pub fn marker_of(&self, letter: Offset) -> Option<u32> {
        self.pairs_of(MARKERS_SECTION, letter.0).next()
    }

    /// Returns the letters with this source key, and by chance some of another.
    pub fn by_source(&self, key: u64) -> impl Iterator<Item = u32> {
        self.hashed(HashedField::SourceKey, key)
    }

    /// Counts the live letters.
    #[must_use]
    pub fn counts(&self, live: &RoaringBitmap, now: TimestampMs) -> FacetCounts {
        View::Sealed(self).counts(live, now)
    }

    pub(super) fn dictionary(&self, field: DictionaryField) -> Result<Dictionary<'_>, Corruption> {
        Dictionary::read(self.section(field as usize))
    }

    pub(super) fn hashed(&self, field: HashedField, hash: u64) -> impl Iterator<Item = u32> {
        self.pairs_of(field as usize, hash)
    }

    pub(super) fn deaths(&self) -> &[Death] {
        self.section(DEATHS_SECTION).as_chunks().0
    }

    pub(super) fn death_blocks(&self) -> &[DeathBlock] {
        self.section(DEATH_BLOCKS_SECTION).as_chunks().0
    }

    fn pairs_of(&self, section: usize, key: u64) -> impl Iterator<Item = u32> {
        let pairs: &[Pair] = self.section(section).as_chunks().0;
        let first = pair(key, 0);
        let from = pairs.partition_point(|found| *found < first);
        let found = pairs.iter().skip(from).map(|found| split_pair(*found));
        found
            .take_while(move |(found, _)| *found == key)
            .map(|(_, relative)| relative)
    }

    fn section(&self, section: usize) -> &[u8] {
        let range = self.sections.get(section).cloned().unwrap_or_default();
        (*self.bytes).as_ref().get(range).unwrap_or_default()
    }

    fn check_sections(&self) -> Result<(), Corruption> {
        let hashed = HASHED_FIELDS.map(|field| field as usize);
        for section in hashed.into_iter().chain([DEATHS_SECTION, MARKERS_SECTION]) {
            let bytes = self.section(section);
            if !bytes.as_chunks::<12>().1.is_empty() {
                return Err(wrong("section bytes", length_u64(bytes)));
            }
        }
        for field in DICTIONARY_FIELDS {
            self.dictionary(field)?;
        }
        let deaths = length_u64(self.deaths());
        let blocks = self.section(DEATH_BLOCKS_SECTION);
        let block_count = self.deaths().len().div_ceil(DEATH_BLOCK_LETTERS);
        if deaths != self.letters.len() || self.letters.max() >= Some(self.end) && deaths > 0 {
            return Err(wrong("deaths", deaths));
        }
        if blocks.len() != block_count.saturating_mul(size_of::<DeathBlock>()) {
            return Err(wrong("death block bytes", length_u64(blocks)));
        }
        Ok(())
    }
}

/// Reads the lengths of the sections, which fill what is left.
fn read_sections(reader: &mut Reader<'_>) -> Result<[Range<usize>; SECTION_COUNT], Corruption> {
    let mut sections = [const { 0..0 }; SECTION_COUNT];
    let mut end = HEADER_BYTES;
    for section in &mut sections {
        let length = reader.u64()?;
        let start = end;
        end = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length))
            .ok_or_else(|| wrong("section bytes", length))?;
        *section = start..end;
    }
    let available = length_u64(reader.clone().rest());
    let needed = u64::try_from(end - HEADER_BYTES).unwrap_or(u64::MAX);
    if needed == available {
        Ok(sections)
    } else {
        Err(Corruption::Truncated {
            part: "facet sections",
            needed,
            available,
        })
    }
}
