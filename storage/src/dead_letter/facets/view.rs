//! What both kinds of facets answer: written once, over either.

use roaring::RoaringBitmap;

use super::builder::FacetsBuilder;
use super::file::Facets;
use super::{Death, DeathBlock, DictionaryField, HashedField, split_death, split_death_block};
use crate::dead_letter::hash::hash64;
use crate::dead_letter::limits::DEATH_BLOCK_LETTERS;
use crate::dead_letter::select::LetterFilter;
use crate::error::Corruption;
use crate::offset::{Offset, TimestampMs};

/// The letters of one segment that a filter may match, live or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// Their relative offsets.
    pub bitmap: RoaringBitmap,
    /// Whether the filter matches every one of them. Where not, each letter must be read and asked.
    pub is_exact: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    Building(&'a FacetsBuilder),
    Sealed(&'a Facets),
}

impl<'a> View<'a> {
    pub(super) fn letters(self) -> &'a RoaringBitmap {
        match self {
            Self::Building(builder) => builder.letters(),
            Self::Sealed(facets) => facets.letters(),
        }
    }

    pub(super) fn marker_of(self, letter: Offset) -> Option<u32> {
        match self {
            Self::Building(builder) => builder.marker_of(letter),
            Self::Sealed(facets) => facets.marker_of(letter),
        }
    }

    pub(super) fn hashed(self, field: HashedField, hash: u64) -> Vec<u32> {
        match self {
            Self::Building(builder) => builder.hashed(field, hash).collect(),
            Self::Sealed(facets) => facets.hashed(field, hash).collect(),
        }
    }

    pub(super) fn deaths(self) -> &'a [Death] {
        match self {
            Self::Building(builder) => builder.deaths(),
            Self::Sealed(facets) => facets.deaths(),
        }
    }

    pub(super) fn death_blocks(self) -> &'a [DeathBlock] {
        match self {
            Self::Building(builder) => builder.death_blocks(),
            Self::Sealed(facets) => facets.death_blocks(),
        }
    }

    fn value(self, field: DictionaryField, value: &[u8]) -> Result<RoaringBitmap, Corruption> {
        match self {
            Self::Building(builder) => Ok(builder.value(field, value).cloned().unwrap_or_default()),
            Self::Sealed(facets) => facets.dictionary(field)?.find(value),
        }
    }

    pub(super) fn candidates(self, filter: &LetterFilter) -> Candidates {
        let mut search = Search {
            view: self,
            found: None,
            is_exact: true,
        };
        // What few letters have comes first: in most segments nothing is left to look for.
        search.one_text_of(HashedField::MessageId, &filter.message_ids);
        search.one_text_of(HashedField::Url, &filter.urls);
        for (field, names) in [
            (DictionaryField::Group, &filter.groups),
            (DictionaryField::UrlGroup, &filter.url_groups),
            (DictionaryField::Endpoint, &filter.endpoints),
            (DictionaryField::Queue, &filter.queues),
            (DictionaryField::Schedule, &filter.schedules),
        ] {
            search.one_of(field, names, |name| name.as_bytes().to_vec());
        }
        search.one_of(DictionaryField::Disposition, &filter.dispositions, |d| {
            vec![d.0]
        });
        search.one_of(DictionaryField::Fingerprint, &filter.fingerprints, |f| {
            f.bytes().to_vec()
        });
        search.one_of(DictionaryField::Status, &filter.statuses, |s| {
            s.to_be_bytes().to_vec()
        });
        search.one_text_of(HashedField::Label, &filter.labels);
        search.one_text_of(HashedField::Caller, &filter.callers);
        search.one_text_of(HashedField::FlowControlKey, &filter.flow_control_keys);
        search.deaths(filter);
        Candidates {
            // A file with a right checksum can still hold anything: what is no letter is none.
            bitmap: search
                .found
                .map_or_else(|| self.letters().clone(), |found| found & self.letters()),
            is_exact: search.is_exact,
        }
    }

    /// Returns the deaths of each block: earliest and latest, and all of them.
    pub(super) fn blocks(self) -> impl Iterator<Item = ((TimestampMs, TimestampMs), &'a [Death])> {
        let blocks = self
            .death_blocks()
            .iter()
            .map(|block| split_death_block(*block));
        blocks.zip(self.deaths().chunks(DEATH_BLOCK_LETTERS))
    }
}

/// The letters that fit all fields up to now; all letters before the first field.
struct Search<'a> {
    view: View<'a>,
    found: Option<RoaringBitmap>,
    is_exact: bool,
}

impl Search<'_> {
    fn one_of<T>(&mut self, field: DictionaryField, asked: &[T], bytes: fn(&T) -> Vec<u8>) {
        if asked.is_empty() || self.is_over() {
            return;
        }
        let mut fitting = RoaringBitmap::new();
        for value in asked {
            match self.view.value(field, &bytes(value)) {
                Ok(letters) => fitting |= letters,
                // Then this field is not known, and each letter has to be asked.
                Err(_) => return self.is_exact = false,
            }
        }
        self.keep(fitting);
    }

    fn one_text_of(&mut self, field: HashedField, asked: &[String]) {
        if asked.is_empty() || self.is_over() {
            return;
        }
        let mut fitting = RoaringBitmap::new();
        for text in asked {
            fitting |= bitmap_of(&self.view.hashed(field, hash64(&[text.as_bytes()])));
        }
        // Another text can have the same hash.
        self.is_exact = false;
        self.keep(fitting);
    }

    fn deaths(&mut self, filter: &LetterFilter) {
        if filter.died_from.is_none() && filter.died_to.is_none() || self.is_over() {
            return;
        }
        let mut fitting = RoaringBitmap::new();
        for ((earliest, latest), deaths) in self.view.blocks() {
            let is_before = filter.died_from.is_some_and(|from| latest < from);
            let is_behind = filter.died_to.is_some_and(|to| to <= earliest);
            if is_before || is_behind {
                continue;
            }
            if filter.takes_death(earliest) && filter.takes_death(latest) {
                fitting.insert_range(letter_range(deaths));
                continue;
            }
            let deaths = deaths.iter().map(|death| split_death(*death));
            fitting.extend(
                deaths
                    .filter(|(_, at)| filter.takes_death(*at))
                    .map(|(letter, _)| letter),
            );
        }
        // A whole block was taken with the markers between its letters.
        fitting &= self.view.letters();
        self.keep(fitting);
    }

    fn keep(&mut self, fitting: RoaringBitmap) {
        match &mut self.found {
            Some(found) => *found &= fitting,
            None => self.found = Some(fitting),
        }
    }

    fn is_over(&self) -> bool {
        self.found.as_ref().is_some_and(RoaringBitmap::is_empty)
    }
}

/// Returns the bitmap of some offsets: fast where many follow one another, as those of a value that most letters have.
fn bitmap_of(offsets: &[u32]) -> RoaringBitmap {
    let mut bitmap = RoaringBitmap::new();
    for run in offsets.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        match run {
            [one] => {
                bitmap.insert(*one);
            }
            [first, .., last] => {
                bitmap.insert_range(*first..=*last);
            }
            [] => {}
        }
    }
    bitmap
}

/// Returns the relative offsets from the first to the last letter of a block.
pub(super) fn letter_range(deaths: &[Death]) -> std::ops::Range<u32> {
    match (deaths.first(), deaths.last()) {
        (Some(first), Some(last)) => split_death(*first).0..split_death(*last).0.saturating_add(1),
        _ => 0..0,
    }
}
