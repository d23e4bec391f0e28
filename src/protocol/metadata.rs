//! Metadata: what topics there are, and how far their partitions have got.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | topics | optional array of string | none: all that are not the broker's own |
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | topics | array of (name string, refusal or topic) | one for each name that was asked for, in that order |
//!
//! | topic | type | meaning |
//! |---|---|---|
//! | name | string | |
//! | durability | `u8` | see [`settings`](super::settings) |
//! | settings | settings | see [`settings`](super::settings) |
//! | partitions | array of partition | in the order of their index |
//!
//! | partition | type | meaning |
//! |---|---|---|
//! | index | `u32` | within the topic, from 0 |
//! | number | `u32` | within the broker, never used again; stands in batch headers and ids |
//! | log start, high watermark, log end | offset, offset, offset | first readable; end of the readable; next to assign |
//! | letters | `u64`, `u64`, `u64`, `u64` | live, republished, deleted, expired |

use std::ops::AddAssign;

use storage::offset::Offset;

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::error_code::Refusal;
use super::frame::Request;
use super::settings::{Durability, TopicSettings};

/// Asks for topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataRequest {
    /// Which ones; `None` for all.
    pub topics: Option<Vec<String>>,
}
wire_struct!(MetadataRequest { topics });

/// The topics that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataAnswer {
    /// Name, and the topic or why it is not shown.
    pub topics: Vec<(String, Result<TopicView, Refusal>)>,
}
wire_struct!(MetadataAnswer { topics });

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// Name.
    pub name: String,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// Settings.
    pub settings: TopicSettings,
    /// Partitions, in the order of their index.
    pub partitions: Vec<PartitionView>,
}
wire_struct!(TopicView {
    name,
    durability,
    settings,
    partitions
});

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionView {
    /// Index within the topic.
    pub index: u32,
    /// Number within the broker.
    pub number: u32,
    /// First offset that can be read.
    pub log_start_offset: Offset,
    /// End of what can be read (exclusive).
    pub high_watermark: Offset,
    /// Next offset to assign.
    pub log_end_offset: Offset,
    /// Dead letters.
    pub letters: LetterCounts,
}
wire_struct!(PartitionView {
    index,
    number,
    log_start_offset,
    high_watermark,
    log_end_offset,
    letters,
});

/// How many dead letters there are and were. Their sum is how many ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LetterCounts {
    /// Neither resolved nor expired.
    pub live: u64,
    /// Resolved by a republish.
    pub republished: u64,
    /// Resolved by a delete.
    pub deleted: u64,
    /// Gone with their segment before they were resolved.
    pub expired: u64,
}
impl AddAssign for LetterCounts {
    fn add_assign(&mut self, other: Self) {
        self.live = self.live.saturating_add(other.live);
        self.republished = self.republished.saturating_add(other.republished);
        self.deleted = self.deleted.saturating_add(other.deleted);
        self.expired = self.expired.saturating_add(other.expired);
    }
}
wire_struct!(LetterCounts {
    live,
    republished,
    deleted,
    expired
});

impl Request for MetadataRequest {
    const KEY: ApiKey = ApiKey::Metadata;
    type Answer = MetadataAnswer;
}
