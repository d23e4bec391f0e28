//! Tests of selections of dead letters: filters, cursors, and pages over partitions.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod cursor;
mod filter;
mod model;
mod pages;

use proptest::collection::vec;

use super::*;
use crate::dead_letter::samples::{filters, letter, seeds};
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

fn range(partition: u32, from: u64, to: u64) -> PartitionRange {
    PartitionRange {
        partition: PartitionNumber(partition),
        from: Offset(from),
        to: Offset(to),
    }
}

type Letters = Vec<(Offset, TimestampMs)>;

/// Lists a page of at most `size` letters, looking at `seen` letters of each partition at most.
fn page(
    order: Order,
    logs: &[Letters],
    left: &[PartitionRange],
    size: usize,
    seen: usize,
) -> (Vec<(PartitionNumber, Offset)>, Vec<PartitionRange>) {
    let pages: Vec<_> = left
        .iter()
        .map(|asked| partition_page(order, logs, *asked, seen))
        .collect();
    let merged = merge(order, &pages, size);
    let picks = merged
        .picks
        .iter()
        .map(|pick| (pages[pick.page].asked.partition, pick.offset));
    (picks.collect(), merged.remaining)
}

fn partition_page(
    order: Order,
    logs: &[Letters],
    asked: PartitionRange,
    seen: usize,
) -> PartitionPage {
    let log = &logs[asked.partition.0 as usize - 1];
    let inside = |(offset, _): &&(Offset, TimestampMs)| asked.from <= *offset && *offset < asked.to;
    let mut letters: Letters = log.iter().filter(inside).copied().collect();
    if order == Order::NewestFirst {
        letters.reverse();
    }
    let mut unseen = range(asked.partition.0, 0, 0);
    if letters.len() > seen {
        let (next, _) = letters[seen];
        unseen = match order {
            Order::OldestFirst => PartitionRange {
                from: next,
                ..asked
            },
            Order::NewestFirst => PartitionRange {
                to: next.next(),
                ..asked
            },
        };
        letters.truncate(seen);
    }
    PartitionPage {
        asked,
        unseen,
        letters,
    }
}
