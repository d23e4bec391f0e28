//! `DeleteTopic`.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | name | string | |
//! | force | bool | also with live letters, pending messages or committed offsets |
//!
//! The answer is empty. It comes when the deletion is synced.

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::frame::Request;

/// Deletes a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTopicRequest {
    /// Name.
    pub name: String,
    /// Whether to delete what is still in use.
    pub force: bool,
}
wire_struct!(DeleteTopicRequest { name, force });

/// The topic is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteTopicAnswer {}
wire_struct!(DeleteTopicAnswer {});

impl Request for DeleteTopicRequest {
    const KEY: ApiKey = ApiKey::DeleteTopic;
    type Answer = DeleteTopicAnswer;
}
