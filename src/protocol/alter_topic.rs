//! `AlterTopic`: changes settings and adds partitions. Partitions are never removed.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | name | string | |
//! | partition count | optional `u32` | how many there shall be, not fewer than there are; none: as many as there are |
//! | change | change of settings | see [`settings`](super::settings) |
//!
//! The answer is the topic, as in [`metadata`](super::metadata). It comes when the change is synced.

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::frame::Request;
use super::metadata::TopicView;
use super::settings::SettingsChange;

/// Changes a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterTopicRequest {
    /// Name.
    pub name: String,
    /// How many partitions there shall be.
    pub partition_count: Option<u32>,
    /// What changes of its settings.
    pub change: SettingsChange,
}
wire_struct!(AlterTopicRequest {
    name,
    partition_count,
    change
});

impl Request for AlterTopicRequest {
    const KEY: ApiKey = ApiKey::AlterTopic;
    type Answer = TopicView;
}
