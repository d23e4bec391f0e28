//! `RetryLetters` and `DeleteLetters`: resolving dead letters. A letter is resolved once, ever, whoever asks how often.
//!
//! | request of both | type | meaning |
//! |---|---|---|
//! | topic | string | |
//! | selection, page | see [`selection`](super::selection) | at most a page is resolved by one request |
//! | request id | optional string | stands in the log with the resolution, names this request for people |
//!
//! | answer of `RetryLetters` | type | meaning |
//! |---|---|---|
//! | letters | array of (id string, refusal or republished) | in the order of the page |
//! | cursor | optional string | for the next page; none: this was the last |
//!
//! | republished | type | meaning |
//! |---|---|---|
//! | message id | string | of the fresh record |
//! | partition index, offset | `u32`, offset | where it stands in the main log of the topic |
//! | is new | bool | whether this request republished it, and not an earlier or a concurrent one |
//!
//! | answer of `DeleteLetters` | type | meaning |
//! |---|---|---|
//! | letters | array of (id string, refusal or is new bool) | in the order of the page |
//! | cursor | optional string | for the next page; none: this was the last |
//!
//! The answer comes when the republished records are synced.

use storage::offset::Offset;

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::error_code::Refusal;
use super::frame::Request;
use super::selection::{Page, Selection};

/// Republishes letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryLettersRequest {
    /// Topic.
    pub topic: String,
    /// Which letters.
    pub selection: Selection,
    /// Which part of them.
    pub page: Page,
    /// Name of this request.
    pub request_id: Option<String>,
}
wire_struct!(RetryLettersRequest {
    topic,
    selection,
    page,
    request_id
});

/// What became of the letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryLettersAnswer {
    /// Id of each letter, and what became of it.
    pub letters: Vec<(String, Result<Republished, Refusal>)>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}
wire_struct!(RetryLettersAnswer { letters, cursor });

/// A letter that was republished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republished {
    /// Message id of the fresh record.
    pub message_id: String,
    /// Index of the partition within the topic.
    pub partition: u32,
    /// Offset of the fresh record.
    pub offset: Offset,
    /// Whether this request republished it.
    pub is_new: bool,
}
wire_struct!(Republished {
    message_id,
    partition,
    offset,
    is_new
});

impl Request for RetryLettersRequest {
    const KEY: ApiKey = ApiKey::RetryLetters;
    type Answer = RetryLettersAnswer;
}

/// Resolves letters by deleting them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteLettersRequest {
    /// Topic.
    pub topic: String,
    /// Which letters.
    pub selection: Selection,
    /// Which part of them.
    pub page: Page,
    /// Name of this request.
    pub request_id: Option<String>,
}
wire_struct!(DeleteLettersRequest {
    topic,
    selection,
    page,
    request_id
});

/// What became of the letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteLettersAnswer {
    /// Id of each letter, and whether this request deleted it and not an earlier one.
    pub letters: Vec<(String, Result<bool, Refusal>)>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}
wire_struct!(DeleteLettersAnswer { letters, cursor });

impl Request for DeleteLettersRequest {
    const KEY: ApiKey = ApiKey::DeleteLetters;
    type Answer = DeleteLettersAnswer;
}
