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
    /// Which of the partition pages it comes from. The letters of one partition page are picked from its first on, without
    /// a gap.
    pub page: usize,
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
    let mut picks = Vec::new();
    let mut taken = vec![0_usize; pages.len()];
    let mut heads: BinaryHeap<Head> = BinaryHeap::with_capacity(pages.len());
    let mut is_next_known = true;
    for (page, found) in pages.iter().enumerate() {
        match found.letters.first() {
            Some(letter) => heads.push(Head::new(order, page, found, *letter)),
            None => is_next_known &= found.unseen.is_empty(),
        }
    }
    while is_next_known && picks.len() < letter_count_max {
        let Some(head) = heads.pop() else {
            break;
        };
        picks.push(Pick {
            page: head.page,
            offset: head.offset,
        });
        let (Some(found), Some(count)) = (pages.get(head.page), taken.get_mut(head.page)) else {
            break;
        };
        *count += 1;
        match found.letters.get(*count) {
            Some(letter) => heads.push(Head::new(order, head.page, found, *letter)),
            None => is_next_known = found.unseen.is_empty(),
        }
    }
    let left = pages
        .iter()
        .zip(taken)
        .map(|(found, count)| left_of(order, found, count));
    MergedPage {
        picks,
        remaining: left.filter(|range| !range.is_empty()).collect(),
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
