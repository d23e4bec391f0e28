//! Which letters are asked for, in which order, and where a later page goes on. Decides only: reads no log.
//!
//! Order: within a partition by dead-letter offset; over partitions by time of death, then partition. Newest first is the
//! reverse. The first page of a selection fixes its end: a [`Cursor`] carries, for each partition, the offsets that are left
//! of those that stood there then, so that letters that come later are never part of it.

mod filter;
mod merge;
mod cursor;

pub use cursor::{CURSOR_VERSION, Cursor, CursorError};
pub use filter::{LetterFilter, Order};
pub use merge::{Merge, MergedPage, PartitionPage, PartitionRange, Pick, merge};

#[cfg(test)]
mod tests;
