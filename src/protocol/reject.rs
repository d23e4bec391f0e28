//! Reject: dead-letters a record on behalf of a group. It commits no offset.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | group | string | |
//! | topic, partition index, offset | string, `u32`, offset | the record |
//! | reason | text | for people, and for the fingerprint |
//! | details | optional text | for people; a letter keeps the first 16 KiB |
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | letter id | string | of the letter; of the one that is live already when the record was rejected before |
//! | is new | bool | whether this request made it |

use storage::offset::Offset;

use super::api_key::ApiKey;
use super::cursor::{Text, wire_struct};
use super::frame::Request;

/// Dead-letters a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectRequest {
    /// Group that rejects it.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// Offset of the record.
    pub offset: Offset,
    /// Why, in short.
    pub reason: Text,
    /// Why, at length.
    pub details: Option<Text>,
}
wire_struct!(RejectRequest {
    group,
    topic,
    partition,
    offset,
    reason,
    details,
});

/// The record's letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectAnswer {
    /// Id of the letter.
    pub letter_id: String,
    /// Whether this request made it.
    pub is_new: bool,
}
wire_struct!(RejectAnswer { letter_id, is_new });

impl Request for RejectRequest {
    const KEY: ApiKey = ApiKey::Reject;
    type Answer = RejectAnswer;
}
