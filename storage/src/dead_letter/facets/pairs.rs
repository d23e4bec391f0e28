//! The pairs of one field with many values, in memory: most of them sorted in one piece, as a file has them, and the last ones
//! in a tree, so that a pair takes little more than its bytes.
//!
//! Invariant: letters rise, so that among pairs of one hash those in the tree stand behind the sorted ones.

use std::collections::BTreeSet;

use super::{Pair, pair, split_pair};

/// The tree holds at most one pair for so many sorted ones: a pair is then moved about as often,
/// each time with all others, which are some megabytes at most.
const SORTED_PER_RECENT: usize = 32;
/// Pairs that the tree may hold however few are sorted.
const RECENT_MIN: usize = 256;

/// Pairs of a hash and a letter.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs {
    sorted: Vec<Pair>,
    recent: BTreeSet<Pair>,
}

impl Pairs {
    /// Adds a pair. Its letter is not below any that was added before.
    pub(super) fn insert(&mut self, hash: u64, relative: u32) {
        self.recent.insert(pair(hash, relative));
        if self.recent.len() > RECENT_MIN.max(self.sorted.len() / SORTED_PER_RECENT) {
            let mut sorted =
                Vec::with_capacity(self.sorted.len().saturating_add(self.recent.len()));
            sorted.extend(self.iter());
            self.sorted = sorted;
            self.recent.clear();
        }
    }

    /// Returns the letters with a hash, rising.
    pub(super) fn find(&self, hash: u64) -> impl Iterator<Item = u32> {
        let (first, last) = (pair(hash, 0), pair(hash, u32::MAX));
        let from = self.sorted.partition_point(|found| *found < first);
        let sorted = self.sorted.iter().skip(from);
        let sorted = sorted.take_while(move |found| **found <= last);
        let recent = self.recent.range(first..=last);
        sorted.chain(recent).map(|found| split_pair(*found).1)
    }

    /// Returns all pairs, rising, each once.
    pub(super) fn iter(&self) -> impl Iterator<Item = Pair> {
        let mut sorted = self.sorted.iter().copied().peekable();
        let mut recent = self.recent.iter().copied().peekable();
        std::iter::from_fn(move || match (sorted.peek(), recent.peek()) {
            (Some(one), Some(other)) if one == other => {
                recent.next();
                sorted.next()
            }
            (Some(one), Some(other)) if one < other => sorted.next(),
            (_, Some(_)) => recent.next(),
            (_, None) => sorted.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_and_come_sorted_whether_they_were_moved_or_not() {
        let mut pairs = Pairs::default();
        let mut expected = BTreeSet::new();
        for relative in 0..20_000_u32 {
            // Two of most letters, of which some have the same hash, and some pairs come twice.
            let hash = u64::from(relative.wrapping_mul(2_654_435_761) % 700);
            for hash in [hash, hash / 2, hash] {
                pairs.insert(hash, relative);
                expected.insert((hash, relative));
            }
            if relative % 997 == 0 || relative == 19_999 {
                let all: Vec<_> = pairs.iter().map(split_pair).collect();
                assert_eq!(all, expected.iter().copied().collect::<Vec<_>>());
                for hash in [0, 1, 349, 699, 700] {
                    let mut found: Vec<_> = pairs.find(hash).collect();
                    found.dedup();
                    let of_hash = expected.range((hash, 0)..=(hash, u32::MAX));
                    let of_hash: Vec<_> = of_hash.map(|(_, relative)| *relative).collect();
                    assert_eq!(found, of_hash, "{hash} after {relative}");
                }
            }
        }
        assert!(pairs.recent.len() < pairs.sorted.len());
    }
}
