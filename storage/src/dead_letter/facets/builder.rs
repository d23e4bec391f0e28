//! The facets of the active segment, in memory, and the file made of them when it is sealed.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::pairs::Pairs;
use super::view::{Candidates, View};
use super::{
    DICTIONARY_FIELDS, Death, DeathBlock, DictionaryField, FACETS_MAGIC, FACETS_VERSION,
    FacetCounts, HASHED_FIELDS, HashedField, SECTION_COUNT, death, death_block, dictionary, pair,
    split_death_block,
};
use crate::dead_letter::hash::hash64;
use crate::dead_letter::letter::{DeadLetter, Destination, Receiver};
use crate::dead_letter::limits::DEATH_BLOCK_LETTERS;
use crate::dead_letter::sealed::{put_bitmap, seal};
use crate::dead_letter::select::LetterFilter;
use crate::fields::length_u64;
use crate::offset::{Offset, TimestampMs};

/// The facets of a segment that grows.
#[derive(Debug, Clone)]
pub struct FacetsBuilder {
    base: Offset,
    end: u32,
    letters: RoaringBitmap,
    dictionary: BTreeMap<(DictionaryField, Vec<u8>), RoaringBitmap>,
    hashed: BTreeMap<HashedField, Pairs>,
    deaths: Vec<Death>,
    death_blocks: Vec<DeathBlock>,
    markers: BTreeMap<u64, u32>,
}

impl FacetsBuilder {
    /// Begins with an empty segment.
    #[must_use]
    pub fn new(base: Offset) -> Self {
        Self {
            base,
            end: 0,
            letters: RoaringBitmap::new(),
            dictionary: BTreeMap::new(),
            hashed: BTreeMap::new(),
            deaths: Vec::new(),
            death_blocks: Vec::new(),
            markers: BTreeMap::new(),
        }
    }

    /// Adds the letter at this offset, relative to the base offset of the segment.
    ///
    /// # Panics
    /// When a letter or marker was added before that does not stand before this one.
    pub fn add_letter(&mut self, relative: u32, letter: &DeadLetter) {
        self.extend_to(relative);
        self.letters.insert(relative);
        match &letter.receiver {
            Receiver::Group(group) => {
                self.add_value(DictionaryField::Group, group.as_bytes(), relative);
            }
            Receiver::Destination(destination) => self.add_destination(destination, relative),
        }
        self.add_value(
            DictionaryField::Disposition,
            &[letter.disposition.0],
            relative,
        );
        self.add_value(
            DictionaryField::Fingerprint,
            &letter.fingerprint.bytes(),
            relative,
        );
        if let Some(status) = letter.history.filed_status() {
            self.add_value(DictionaryField::Status, &status.to_be_bytes(), relative);
        }
        for label in &letter.labels {
            self.add_text(HashedField::Label, label, relative);
        }
        if let Some(id) = &letter.message_id {
            self.add_text(HashedField::MessageId, id, relative);
        }
        if let Some(caller) = &letter.caller {
            self.add_text(HashedField::Caller, caller, relative);
        }
        self.add_hash(HashedField::SourceKey, letter.source_key(), relative);
        self.add_death(relative, letter.died_at);
    }

    fn add_destination(&mut self, destination: &Destination, relative: u32) {
        self.add_text(HashedField::Url, &destination.url, relative);
        if let Some(key) = &destination.flow_control_key {
            self.add_text(HashedField::FlowControlKey, key, relative);
        }
        for (field, name) in [
            (DictionaryField::UrlGroup, &destination.url_group),
            (DictionaryField::Endpoint, &destination.endpoint),
            (DictionaryField::Queue, &destination.queue),
            (DictionaryField::Schedule, &destination.schedule),
        ] {
            if let Some(name) = name {
                self.add_value(field, name.as_bytes(), relative);
            }
        }
    }

    /// Adds the marker at this relative offset, which resolves `letter`. The first marker of a letter wins.
    ///
    /// # Panics
    /// When a letter or marker was added before that does not stand before this one.
    pub fn add_marker(&mut self, relative: u32, letter: Offset) {
        self.extend_to(relative);
        self.markers.entry(letter.0).or_insert(relative);
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

    /// Returns the bytes of the facet file.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let mut lengths: Vec<u64> = Vec::with_capacity(SECTION_COUNT);
        let mut sections = Vec::new();
        let mut done = 0;
        let mut end_section = |sections: &Vec<u8>| {
            lengths.push(length_u64(sections) - done);
            done = length_u64(sections);
        };
        put_bitmap(&mut sections, &self.letters);
        end_section(&sections);
        for field in DICTIONARY_FIELDS {
            let values = self.values(field);
            dictionary::encode(
                &mut sections,
                values.map(|(value, set)| (value.as_slice(), set)),
            );
            end_section(&sections);
        }
        for field in HASHED_FIELDS {
            let pairs = self.hashed.get(&field).into_iter();
            sections.extend(pairs.flat_map(Pairs::iter).flatten());
            end_section(&sections);
        }
        sections.extend_from_slice(self.deaths.as_flattened());
        end_section(&sections);
        sections.extend_from_slice(self.death_blocks.as_flattened());
        end_section(&sections);
        sections.extend(
            self.markers
                .iter()
                .flat_map(|(letter, marker)| pair(*letter, *marker)),
        );
        end_section(&sections);
        self.with_header(&lengths, &sections)
    }

    fn with_header(&self, lengths: &[u64], sections: &[u8]) -> Vec<u8> {
        let mut out = FACETS_MAGIC.to_be_bytes().to_vec();
        out.extend_from_slice(&FACETS_VERSION.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.base.0.to_be_bytes());
        out.extend_from_slice(&self.end.to_be_bytes());
        for length in lengths {
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(sections);
        seal(&mut out);
        out
    }

    /// Returns which relative offsets are letters.
    #[must_use]
    pub fn letters(&self) -> &RoaringBitmap {
        &self.letters
    }

    /// Returns the letters that a filter may match.
    #[must_use]
    pub fn candidates(&self, filter: &LetterFilter) -> Candidates {
        View::Building(self).candidates(filter)
    }

    /// Returns the relative offset of the first marker in this segment that resolves a letter of the log.
    #[must_use]
    pub fn marker_of(&self, letter: Offset) -> Option<u32> {
        self.markers.get(&letter.0).copied()
    }

    /// Returns the letters with this source key, and by chance some of another.
    pub fn by_source(&self, key: u64) -> impl Iterator<Item = u32> {
        self.hashed(HashedField::SourceKey, key)
    }

    /// Counts the live letters.
    #[must_use]
    pub fn counts(&self, live: &RoaringBitmap, now: TimestampMs) -> FacetCounts {
        View::Building(self).counts(live, now)
    }

    pub(super) fn value(&self, field: DictionaryField, value: &[u8]) -> Option<&RoaringBitmap> {
        self.dictionary.get(&(field, value.to_vec()))
    }

    pub(super) fn values(
        &self,
        field: DictionaryField,
    ) -> impl Iterator<Item = (&Vec<u8>, &RoaringBitmap)> {
        self.dictionary
            .range((field, Vec::new())..)
            .take_while(move |((found, _), _)| *found == field)
            .map(|((_, value), set)| (value, set))
    }

    pub(super) fn hashed(&self, field: HashedField, hash: u64) -> impl Iterator<Item = u32> {
        let pairs = self.hashed.get(&field).into_iter();
        pairs.flat_map(move |pairs| pairs.find(hash))
    }

    pub(super) fn deaths(&self) -> &[Death] {
        &self.deaths
    }

    pub(super) fn death_blocks(&self) -> &[DeathBlock] {
        &self.death_blocks
    }

    fn extend_to(&mut self, relative: u32) {
        assert!(
            relative >= self.end && relative < u32::MAX,
            "offset {relative} was added when {} was the next",
            self.end
        );
        self.end = relative.saturating_add(1);
    }

    fn add_value(&mut self, field: DictionaryField, value: &[u8], relative: u32) {
        self.dictionary
            .entry((field, value.to_vec()))
            .or_default()
            .insert(relative);
    }

    fn add_text(&mut self, field: HashedField, text: &str, relative: u32) {
        self.add_hash(field, hash64(&[text.as_bytes()]), relative);
    }

    fn add_hash(&mut self, field: HashedField, hash: u64, relative: u32) {
        self.hashed.entry(field).or_default().insert(hash, relative);
    }

    fn add_death(&mut self, relative: u32, died_at: TimestampMs) {
        let is_new_block = self.deaths.len().is_multiple_of(DEATH_BLOCK_LETTERS);
        if self.deaths.len() == self.deaths.capacity() {
            // Grown by an eighth, not by as much again.
            let more = (self.deaths.len() / 8).max(DEATH_BLOCK_LETTERS);
            self.deaths.reserve_exact(more);
        }
        self.deaths.push(death(relative, died_at));
        match self.death_blocks.last_mut() {
            Some(block) if !is_new_block => {
                let (earliest, latest) = split_death_block(*block);
                *block = death_block(earliest.min(died_at), latest.max(died_at));
            }
            _ => self.death_blocks.push(death_block(died_at, died_at)),
        }
    }
}
