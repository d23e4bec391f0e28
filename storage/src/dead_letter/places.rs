//! Where letters and markers stand: the facets of every segment of one dead-letter log.
//!
//! The active segment's facets grow in memory; those of a sealed one are written beside it, mapped, and dropped from memory.
//! A facet file is a hint: without it the segment is scanned when the log is opened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use roaring::RoaringBitmap;

use super::facets::{Facets, FacetsBuilder, SegmentFacets};
use super::letter::DeadLetter;
use super::select::LetterFilter;
use crate::disk::{Disk, OpenMode};
use crate::log::LogPlace;
use crate::offset::Offset;
use crate::segment::file_name::{self, FileKind};

/// The facets of all segments, by base offset.
#[derive(Debug, Default)]
pub(super) struct Places {
    segments: BTreeMap<Offset, SegmentFacets>,
}

impl Places {
    /// Takes over the facet file of a sealed segment that ends at `end`, if it verifies. Returns whether it did.
    pub(super) fn open_sealed(&mut self, place: &LogPlace, base: Offset, end: Offset) -> bool {
        let path = file_name::path(&place.dir, base, FileKind::Facets);
        let Ok(map) = place
            .disk
            .open(&path, OpenMode::Read)
            .and_then(|file| file.map())
        else {
            return false;
        };
        let opened = Facets::open(map).ok();
        let fits = |facets: &Facets| {
            facets.base() == base && end.since(base) == Some(u64::from(facets.end()))
        };
        if let Some(facets) = opened.filter(fits) {
            self.segments.insert(base, SegmentFacets::Sealed(facets));
            return true;
        }
        // Whatever stands there is of no use, and stands in the way of what will be written.
        place.disk.remove(&path).ok();
        false
    }

    pub(super) fn add_letter(&mut self, base: Offset, offset: Offset, letter: &DeadLetter) {
        if let (Some(builder), Some(at)) = (self.builder(base), relative(offset, base)) {
            builder.add_letter(at, letter);
        }
    }

    pub(super) fn add_marker(&mut self, base: Offset, offset: Offset, letter: Offset) {
        if let (Some(builder), Some(at)) = (self.builder(base), relative(offset, base)) {
            builder.add_marker(at, letter);
        }
    }

    /// Returns the letters with this source key, and by chance some of another, oldest first.
    pub(super) fn by_source(&self, key: u64) -> Vec<Offset> {
        let of = |(base, facets): (&Offset, &SegmentFacets)| {
            let base = *base;
            facets
                .by_source(key)
                .map(move |at| absolute(base, at))
                .collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(of).collect()
    }

    /// Returns where the first marker of a letter stands.
    pub(super) fn marker_of(&self, letter: Offset) -> Option<Offset> {
        let first = self
            .segments
            .range(..=letter)
            .next_back()
            .map_or(letter, |(base, _)| *base);
        self.segments
            .range(first..)
            .find_map(|(base, facets)| facets.marker_of(letter).map(|at| absolute(*base, at)))
    }

    /// Returns which of the live letters of a segment a filter may match, and whether it surely matches each of them.
    pub(super) fn candidates(
        &self,
        base: Offset,
        filter: &LetterFilter,
        live: &RoaringBitmap,
    ) -> (RoaringBitmap, bool) {
        match self.segments.get(&base) {
            _ if filter.is_empty() => (live.clone(), true),
            None => (live.clone(), false),
            Some(facets) => {
                let found = facets.candidates(filter);
                (found.bitmap & live, found.is_exact)
            }
        }
    }

    pub(super) fn segment(&self, base: Offset) -> Option<&SegmentFacets> {
        self.segments.get(&base)
    }

    pub(super) fn drop_below(&mut self, start: Offset) {
        self.segments = self.segments.split_off(&start);
    }

    /// Returns the facets that a segment's entries are added to; `None` for a sealed one, which takes none.
    fn builder(&mut self, base: Offset) -> Option<&mut FacetsBuilder> {
        let facets = self
            .segments
            .entry(base)
            .or_insert_with(|| SegmentFacets::Building(FacetsBuilder::new(base)));
        match facets {
            SegmentFacets::Building(builder) => Some(builder),
            SegmentFacets::Sealed(_) => None,
        }
    }
}

/// Returns an offset as its distance from the base of its segment; `None` where facets cannot express it, which no segment
/// reaches and a hostile header can claim.
pub(super) fn relative(offset: Offset, base: Offset) -> Option<u32> {
    let distance = u32::try_from(offset.since(base)?).ok()?;
    (distance < u32::MAX).then_some(distance)
}

/// Returns the offset at a distance from the base of its segment.
pub(super) fn absolute(base: Offset, relative: u32) -> Offset {
    Offset(base.0.saturating_add(u64::from(relative)))
}

/// The facets of a segment that has just been sealed. They are written when the task is run, on any thread.
#[derive(Debug)]
#[must_use = "the facets stay in memory unless the task is run"]
pub struct FacetsTask {
    pub(super) places: Arc<RwLock<Places>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) base: Offset,
}

impl FacetsTask {
    /// Writes the facet file and lets it take the place of what is in memory. It is a hint: without it, for whatever reason,
    /// the facets stay in memory, and the segment is scanned when the log is opened next.
    pub fn run(self) {
        let bytes = match self.places.read().segment(self.base) {
            Some(SegmentFacets::Building(builder)) => builder.finish(),
            Some(SegmentFacets::Sealed(_)) | None => return,
        };
        let written = self
            .disk
            .open(&self.path, OpenMode::CreateNew)
            .and_then(|file| file.write_all_at(&bytes, 0).and_then(|()| file.map()));
        // The file takes over only when it reads back as what was meant.
        match written.ok().and_then(|map| Facets::open(map).ok()) {
            Some(facets) => {
                let mut places = self.places.write();
                if let Some(place) = places.segments.get_mut(&self.base) {
                    *place = SegmentFacets::Sealed(facets);
                } else {
                    // Retention has taken the segment meanwhile, and nobody would ever remove a file without one.
                    drop(places);
                    self.disk.remove(&self.path).ok();
                }
            }
            None => {
                self.disk.remove(&self.path).ok();
            }
        }
    }
}
