//! Which letters of a dead-letter log are live: one bitmap of relative offsets for each segment.
//!
//! Invariant: letters ever = live + republished + deleted + expired. A letter is resolved once: the first resolution wins.
//!
//! As bytes, for the hint in a checkpoint:
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | magic | 4 | u32 | [`LIVE_SET_MAGIC`], "RDLV" |
//! | 4 | version | 1 | u8 | [`LIVE_SET_VERSION`] |
//! | 5 | counts | 32 | 4 x u64 | letters, republished, deleted, expired |
//! | 37 | segments | | | by rising base offset, to the checksum: base offset u64, roaring bitmap (block) |
//! | end - 4 | checksum | 4 | u32 | CRC-32 of everything before it |
//!
//! A bitmap has the portable layout of roaring, which is little-endian.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::limits::LIVE_SET_BYTES_MAX;
use super::marker::Resolution;
use super::sealed::{bitmap, open, put_bitmap, seal};
use crate::error::Corruption;
use crate::fields::{Reader, length_u64, put_block, wrong};
use crate::offset::Offset;

/// Opens the bytes of a live set: "RDLV".
pub const LIVE_SET_MAGIC: u32 = 0x5244_4c56;
/// The version of this layout.
pub const LIVE_SET_VERSION: u8 = 1;

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
        add(&mut self.counts.letters, u64::from(is_new));
        is_new
    }

    /// Resolves a letter. Returns whether it was live, that is, whether this resolution wins.
    pub fn resolve(&mut self, letter: Offset, resolution: Resolution) -> bool {
        let was_live = self.place(letter).is_some_and(|(set, at)| set.remove(at));
        match resolution {
            Resolution::Republished { .. } => {
                add(&mut self.counts.republished, u64::from(was_live));
            }
            Resolution::Deleted => add(&mut self.counts.deleted, u64::from(was_live)),
        }
        was_live
    }

    /// Drops the segments below the new log start, which is the base offset of a segment.
    pub fn expire_below(&mut self, log_start: Offset) {
        let kept = self.segments.split_off(&log_start);
        let expired = std::mem::replace(&mut self.segments, kept);
        let letters = expired.values().map(RoaringBitmap::len).sum();
        add(&mut self.counts.expired, letters);
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

    /// Returns the base offsets of the segments that hold letters, in rising order.
    pub fn bases(&self) -> impl DoubleEndedIterator<Item = Offset> + '_ {
        self.segments.keys().copied()
    }

    /// Returns the base offsets of the segments that may hold letters from `from` up to `to` (exclusive), in rising order.
    pub fn bases_within(
        &self,
        (from, to): (Offset, Offset),
    ) -> impl DoubleEndedIterator<Item = Offset> + '_ {
        let holding = self.segments.range(..=from).next_back();
        let first = holding.map_or(from, |(base, _)| *base);
        let within = self.segments.range(first..to.max(first));
        within.map(|(base, _)| *base)
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

    /// Returns whether the other set holds the same letters in the segments whose base offset is `start` or above.
    pub(crate) fn is_same_from(&self, other: &Self, start: Offset) -> bool {
        let filled = |set: &Self| -> Vec<_> {
            let segments = set
                .segments
                .range(start..)
                .filter(|(_, set)| !set.is_empty());
            segments.map(|(base, set)| (*base, set.clone())).collect()
        };
        filled(self) == filled(other)
    }

    /// Returns the bytes for a checkpoint. Where they are longer than [`LiveSet::decode`] takes, the set is folded from
    /// the log again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = LIVE_SET_MAGIC.to_be_bytes().to_vec();
        out.push(LIVE_SET_VERSION);
        let counts = &self.counts;
        for count in [
            counts.letters,
            counts.republished,
            counts.deleted,
            counts.expired,
        ] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        let mut block = Vec::new();
        for (base, set) in &self.segments {
            block.clear();
            put_bitmap(&mut block, set);
            out.extend_from_slice(&base.0.to_be_bytes());
            put_block(&mut out, &block);
        }
        seal(&mut out);
        out
    }

    /// Decodes a live set, and checks that its counts add up.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        if bytes.len() > LIVE_SET_BYTES_MAX {
            return Err(wrong("live set bytes", length_u64(bytes)));
        }
        let mut reader = Reader::new("live set", open("live set", LIVE_SET_MAGIC, bytes)?);
        let version = reader.u8()?;
        if version != LIVE_SET_VERSION {
            return Err(wrong("live set version", u64::from(version)));
        }
        let counts = LiveCounts {
            letters: reader.u64()?,
            republished: reader.u64()?,
            deleted: reader.u64()?,
            expired: reader.u64()?,
        };
        let mut segments = BTreeMap::<Offset, RoaringBitmap>::new();
        while !reader.is_empty() {
            let base = Offset(reader.u64()?);
            if segments
                .last_key_value()
                .is_some_and(|(last, _)| *last >= base)
            {
                return Err(wrong("base offset", base.0));
            }
            segments.insert(base, bitmap("live letters", reader.block()?)?);
        }
        let live = Self { segments, counts };
        match live.accounted() {
            Some(letters) if letters == counts.letters => Ok(live),
            _ => Err(wrong("letters", counts.letters)),
        }
    }

    /// Returns the sum that the invariant equates with the letters ever; `None` on overflow.
    fn accounted(&self) -> Option<u64> {
        let counts = &self.counts;
        self.live_count()
            .checked_add(counts.republished)?
            .checked_add(counts.deleted)?
            .checked_add(counts.expired)
    }

    fn place(&mut self, offset: Offset) -> Option<(&mut RoaringBitmap, u32)> {
        let (base, set) = self.segments.range_mut(..=offset).next_back()?;
        Some((set, relative(offset, *base)?))
    }
}

fn relative(offset: Offset, base: Offset) -> Option<u32> {
    u32::try_from(offset.since(base)?).ok()
}

/// Counts on. A hint with a right checksum can still claim counts that nothing reached, and must not end the broker.
fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_within_a_range_that_begins_inside_of_it() {
        let mut live = LiveSet::default();
        for base in [100, 200, 300] {
            live.begin_segment(Offset(base));
        }
        for (range, expected) in [
            ((0, 100), &[][..]),
            ((0, 101), &[100]),
            ((150, 250), &[100, 200]),
            ((200, 300), &[200]),
            ((350, 900), &[300]),
        ] {
            let within = live.bases_within((Offset(range.0), Offset(range.1)));
            let within: Vec<_> = within.map(|base| base.0).collect();
            assert_eq!(within, expected, "{range:?}");
        }
    }

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

    fn filled() -> LiveSet {
        let mut live = LiveSet::default();
        for base in [0, 200, 1 << 40] {
            live.begin_segment(Offset(base));
        }
        for offset in (0..150).chain([200, 203, 900, (1 << 40) + 70_000]) {
            live.insert(Offset(offset));
        }
        live.resolve(Offset(3), Resolution::Deleted);
        live
    }

    #[test]
    fn bytes_round_trip_with_empty_segments_and_counts() {
        let mut live = filled();
        live.begin_segment(Offset(1 << 41));
        live.expire_below(Offset(200));
        for set in [LiveSet::default(), filled(), live] {
            assert_eq!(LiveSet::decode(&set.encode()), Ok(set));
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let bytes = filled().encode();
        for end in 0..bytes.len() {
            assert!(LiveSet::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(LiveSet::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn damage_under_a_right_checksum_never_panics_and_counts_must_add_up() {
        let bytes = filled().encode();
        let body = &bytes[..bytes.len() - 4];
        for at in 4..body.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut hostile = body.to_vec();
                hostile[at] = value;
                seal(&mut hostile);
                if let Ok(live) = LiveSet::decode(&hostile) {
                    assert_eq!(live.accounted(), Some(live.counts().letters), "at {at}");
                }
            }
        }
        let mut most = LiveSet::default();
        most.begin_segment(Offset(0));
        most.counts.letters = u64::MAX;
        most.counts.expired = u64::MAX;
        let mut most = LiveSet::decode(&most.encode()).unwrap();
        assert!(most.insert(Offset(0)));
        most.expire_below(Offset(1));
        let mut short = filled();
        short.counts.letters += 1;
        assert!(LiveSet::decode(&short.encode()).is_err());
    }
}
