//! One page out of the pages of several partitions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::filter::Order;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// Offsets of one partition's dead-letter log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: PartitionNumber,
    /// First offset (inclusive).
    pub from: Offset,
    /// End of the offsets (exclusive).
    pub to: Offset,
}

impl PartitionRange {
    /// Returns whether there are no offsets in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// What was found in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPage {
    /// The offsets that were asked for.
    pub asked: PartitionRange,
    /// Those of them that were not looked at: empty when everything was. The upper end for the oldest first, the lower end
    /// for the newest first.
    pub unseen: PartitionRange,
    /// The letters found, in the order asked for, with their times of death.
    pub letters: Vec<(Offset, TimestampMs)>,
}

/// One letter of a merged page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Which of the partition pages it comes from.
    pub page: usize,
    /// Which of that page's letters it is. They are picked from the first on, without a gap.
    pub at: usize,
    /// The letter's offset.
    pub offset: Offset,
}

/// The next letters over all partitions, and what is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedPage {
    /// The letters, in order.
    pub picks: Vec<Pick>,
    /// What is left of each partition that has something left. Empty when the selection is at its end.
    pub remaining: Vec<PartitionRange>,
}

/// Merges the pages of partitions into one of at most `letter_count_max` letters.
///
/// It ends early where a partition's next letter is not known because its page stopped before the end of its offsets. Then
/// there may be no letter in it, but what is left is less than before. Pages that follow one another by `remaining` give the
/// same letters in the same order as one page of any size.
#[must_use]
pub fn merge(order: Order, pages: &[PartitionPage], letter_count_max: usize) -> MergedPage {
    let mut merge = Merge::new(order, pages.len());
    merge.go_on(pages, letter_count_max);
    merge.finish(pages)
}

/// A merge that goes on when partitions have found more.
#[derive(Debug)]
pub struct Merge {
    order: Order,
    picks: Vec<Pick>,
    /// Letters picked of each page.
    taken: Vec<usize>,
    heads: BinaryHeap<Head>,
    /// Pages whose next letter was not known when it was looked for.
    unknown: Vec<usize>,
}

impl Merge {
    /// Begins a merge of so many pages.
    #[must_use]
    pub fn new(order: Order, page_count: usize) -> Self {
        Self {
            order,
            picks: Vec::new(),
            taken: vec![0; page_count],
            heads: BinaryHeap::with_capacity(page_count),
            unknown: (0..page_count).collect(),
        }
    }

    /// Picks until there are `letter_count_max` letters, or until the next letter of a page is not known.
    ///
    /// Returns the pages that have to be looked further for the next pick; none when there are enough, or no more. In between, pages
    /// may grow at their ends.
    pub fn go_on(&mut self, pages: &[PartitionPage], letter_count_max: usize) -> &[usize] {
        for page in std::mem::take(&mut self.unknown) {
            self.look_at(page, pages);
        }
        while self.unknown.is_empty() && self.picks.len() < letter_count_max {
            let Some(head) = self.heads.pop() else {
                break;
            };
            let Some(taken) = self.taken.get_mut(head.page) else {
                break;
            };
            self.picks.push(Pick {
                page: head.page,
                at: *taken,
                offset: head.offset,
            });
            *taken += 1;
            self.look_at(head.page, pages);
        }
        if self.picks.len() < letter_count_max {
            &self.unknown
        } else {
            &[]
        }
    }

    /// Returns what was picked.
    #[must_use]
    pub fn picks(&self) -> &[Pick] {
        &self.picks
    }

    /// Ends the merge, of the pages as they are now.
    #[must_use]
    pub fn finish(self, pages: &[PartitionPage]) -> MergedPage {
        let taken = pages.iter().zip(self.taken);
        let left = taken.map(|(found, count)| left_of(self.order, found, count));
        MergedPage {
            picks: self.picks,
            remaining: left.filter(|range| !range.is_empty()).collect(),
        }
    }

    fn look_at(&mut self, page: usize, pages: &[PartitionPage]) {
        let (Some(found), Some(taken)) = (pages.get(page), self.taken.get(page)) else {
            return;
        };
        match found.letters.get(*taken) {
            Some(letter) => self.heads.push(Head::new(self.order, page, found, *letter)),
            None if found.unseen.is_empty() => {}
            None => self.unknown.push(page),
        }
    }
}

/// The next letter of a partition; the greatest is picked first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    rank: Rank,
    page: usize,
    offset: Offset,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Oldest(Reverse<(TimestampMs, PartitionNumber)>),
    Newest((TimestampMs, PartitionNumber)),
}

impl Head {
    fn new(
        order: Order,
        page: usize,
        found: &PartitionPage,
        (offset, died_at): (Offset, TimestampMs),
    ) -> Self {
        let key = (died_at, found.asked.partition);
        let rank = match order {
            Order::OldestFirst => Rank::Oldest(Reverse(key)),
            Order::NewestFirst => Rank::Newest(key),
        };
        Self { rank, page, offset }
    }
}

/// Returns what is left of a partition whose first `count` letters were picked.
fn left_of(order: Order, found: &PartitionPage, count: usize) -> PartitionRange {
    let Some((next, _)) = found.letters.get(count) else {
        return found.unseen;
    };
    match order {
        Order::OldestFirst => PartitionRange {
            from: *next,
            ..found.asked
        },
        Order::NewestFirst => PartitionRange {
            to: next.next(),
            ..found.asked
        },
    }
}
