//! Which letters of a dead-letter log are live: one bitmap of relative offsets for each segment.
//!
//! Invariant: letters ever = live + republished + deleted + expired. A letter is resolved once: the first resolution wins.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::marker::Resolution;
use crate::offset::Offset;

/// How many letters there ever were, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveCounts {
    /// Letters ever appended.
    pub letters: u64,
    /// Letters that were republished.
    pub republished: u64,
    /// Letters that an operator deleted.
    pub deleted: u64,
    /// Letters that were live when retention removed their segment.
    pub expired: u64,
}

/// The live letters of one log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveSet {
    segments: BTreeMap<Offset, RoaringBitmap>,
    counts: LiveCounts,
}

impl LiveSet {
    /// Notes that a segment with this base offset begins.
    pub fn begin_segment(&mut self, base: Offset) {
        self.segments.entry(base).or_default();
    }

    /// Adds a letter to the segment that holds `offset`. Returns whether it was added: `false` without such a segment, or
    /// when the offset is too far from its base.
    pub fn insert(&mut self, offset: Offset) -> bool {
        let is_new = self.place(offset).is_some_and(|(set, at)| set.insert(at));
        self.counts.letters += u64::from(is_new);
        is_new
    }

    /// Resolves a letter. Returns whether it was live, that is, whether this resolution wins.
    pub fn resolve(&mut self, letter: Offset, resolution: Resolution) -> bool {
        let was_live = self.place(letter).is_some_and(|(set, at)| set.remove(at));
        match resolution {
            Resolution::Republished { .. } => self.counts.republished += u64::from(was_live),
            Resolution::Deleted => self.counts.deleted += u64::from(was_live),
        }
        was_live
    }

    /// Drops the segments below the new log start, which is the base offset of a segment.
    pub fn expire_below(&mut self, log_start: Offset) {
        let kept = self.segments.split_off(&log_start);
        let expired = std::mem::replace(&mut self.segments, kept);
        self.counts.expired += expired.values().map(RoaringBitmap::len).sum::<u64>();
    }

    /// Returns whether the letter is live.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        let found = self.segments.range(..=offset).next_back();
        found.is_some_and(|(base, set)| relative(offset, *base).is_some_and(|at| set.contains(at)))
    }

    /// Returns the live letters of the segment with this base offset.
    #[must_use]
    pub fn segment(&self, base: Offset) -> Option<&RoaringBitmap> {
        self.segments.get(&base)
    }

    /// Returns the live letters from `from` up to `to` (exclusive), in rising order.
    #[must_use]
    pub fn offsets(&self, from: Offset, to: Offset) -> Vec<Offset> {
        let all = self.segments.iter().flat_map(|(base, set)| {
            set.iter()
                .map(|at| Offset(base.0.saturating_add(u64::from(at))))
        });
        all.filter(|offset| from <= *offset && *offset < to)
            .collect()
    }

    /// Returns how many letters are live.
    #[must_use]
    pub fn live_count(&self) -> u64 {
        self.segments.values().map(RoaringBitmap::len).sum()
    }

    /// Returns what became of all letters.
    #[must_use]
    pub fn counts(&self) -> LiveCounts {
        self.counts
    }

    fn place(&mut self, offset: Offset) -> Option<(&mut RoaringBitmap, u32)> {
        let (base, set) = self.segments.range_mut(..=offset).next_back()?;
        Some((set, relative(offset, *base)?))
    }
}

fn relative(offset: Offset, base: Offset) -> Option<u32> {
    u32::try_from(offset.since(base)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_conserved_and_resolved_once() {
        let mut live = LiveSet::default();
        assert!(!live.insert(Offset(0)), "no segment yet");
        live.begin_segment(Offset(0));
        live.begin_segment(Offset(10));
        for offset in [0, 3, 9, 10, 12] {
            assert!(live.insert(Offset(offset)));
        }
        assert!(live.resolve(Offset(3), Resolution::Deleted));
        assert!(!live.resolve(Offset(3), Resolution::Deleted));
        assert!(live.contains(Offset(9)) && !live.contains(Offset(3)));
        live.expire_below(Offset(10));
        let counts = live.counts();
        assert_eq!((counts.letters, counts.deleted, counts.expired), (5, 1, 2));
        assert_eq!(live.live_count(), 2);
        assert!(!live.contains(Offset(9)));
    }
}
