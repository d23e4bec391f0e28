//! `CreateTopic`.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | name | string | |
//! | partition count | `u32` | at least 1 |
//! | durability | `u8` | see [`settings`](super::settings); stays for the life of the topic |
//! | change | change of settings | what departs from the broker's defaults |
//!
//! The answer is the topic, as in [`metadata`](super::metadata). It comes when the creation is synced.

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::frame::Request;
use super::metadata::TopicView;
use super::settings::{Durability, SettingsChange};

/// Creates a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopicRequest {
    /// Name.
    pub name: String,
    /// How many partitions it gets.
    pub partition_count: u32,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// What departs from the broker's defaults.
    pub change: SettingsChange,
}
wire_struct!(CreateTopicRequest {
    name,
    partition_count,
    durability,
    change
});

impl Request for CreateTopicRequest {
    const KEY: ApiKey = ApiKey::CreateTopic;
    type Answer = TopicView;
}
