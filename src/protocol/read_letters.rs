//! `ListLetters`, `GetLetter`, `LetterStats`: looking at dead letters.
//!
//! | `ListLetters` | type | meaning |
//! |---|---|---|
//! | topic | string | |
//! | selection, page | see [`selection`](super::selection) | |
//! | bytes max | `u32` | the page ends before its letters take more, but not before its first; 0: the connection's frame |
//! | answer: letters | array of letter | see [`letter`](super::letter) |
//! | answer: cursor | optional string | for the next page; none: this was the last |
//!
//! | `GetLetter` | type | meaning |
//! |---|---|---|
//! | id | string | |
//! | answer | letter | |
//!
//! | `LetterStats` | type | meaning |
//! |---|---|---|
//! | topic | string | |
//! | selection | selection | of the live letters that are counted |
//! | answer: counts | four `u64` | of the whole topic, as in [`metadata`](super::metadata) |
//! | answer: selected | `u64` | live letters in the selection |
//! | answer: by disposition | array of (`u8`, `u64`) | of the selected, by number |
//! | answer: by group | array of (string, `u64`) | of the selected, most first |
//! | answer: by fingerprint | array of (fingerprint string, reason text, `u64`) | of the selected, most first, at most 100 |
//! | answer: by age | array of (ms `u64`, `u64`) | of the selected, those that died less than so long ago and longer than the entry before says |
//! | answer: oldest, newest | optional time, optional time | time of death, of the selected |

use storage::offset::TimestampMs;

use super::api_key::ApiKey;
use super::cursor::{Text, wire_struct};
use super::frame::Request;
use super::letter::LetterView;
use super::metadata::LetterCounts;
use super::selection::{Page, Selection};

/// Asks for a page of letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListLettersRequest {
    /// Topic.
    pub topic: String,
    /// Which letters.
    pub selection: Selection,
    /// Which part of them.
    pub page: Page,
    /// How many bytes of letters the answer may have; 0 for as many as fit.
    pub bytes_max: u32,
}
wire_struct!(ListLettersRequest {
    topic,
    selection,
    page,
    bytes_max
});

/// A page of letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListLettersAnswer {
    /// The letters.
    pub letters: Vec<LetterView>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}
wire_struct!(ListLettersAnswer { letters, cursor });

impl Request for ListLettersRequest {
    const KEY: ApiKey = ApiKey::ListLetters;
    type Answer = ListLettersAnswer;
}

/// Asks for one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetLetterRequest {
    /// Its id.
    pub id: String,
}
wire_struct!(GetLetterRequest { id });

impl Request for GetLetterRequest {
    const KEY: ApiKey = ApiKey::GetLetter;
    type Answer = LetterView;
}

/// Asks for counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterStatsRequest {
    /// Topic.
    pub topic: String,
    /// Which live letters to count.
    pub selection: Selection,
}
wire_struct!(LetterStatsRequest { topic, selection });

/// The counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterStatsAnswer {
    /// Of the whole topic.
    pub counts: LetterCounts,
    /// Live letters in the selection.
    pub selected: u64,
    /// Of the selected, by disposition.
    pub by_disposition: Vec<(u8, u64)>,
    /// Of the selected, by group.
    pub by_group: Vec<(String, u64)>,
    /// Of the selected, by fingerprint.
    pub by_fingerprint: Vec<FingerprintCount>,
    /// Of the selected, by age: upper end in milliseconds (exclusive), and how many.
    pub by_age: Vec<(u64, u64)>,
    /// When the oldest of the selected died.
    pub oldest_died_at: Option<TimestampMs>,
    /// When the newest of the selected died.
    pub newest_died_at: Option<TimestampMs>,
}
wire_struct!(LetterStatsAnswer {
    counts,
    selected,
    by_disposition,
    by_group,
    by_fingerprint,
    by_age,
    oldest_died_at,
    newest_died_at,
});

/// How many letters have one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintCount {
    /// The fingerprint.
    pub fingerprint: String,
    /// The reason of one of them.
    pub reason: Text,
    /// How many.
    pub count: u64,
}
wire_struct!(FingerprintCount {
    fingerprint,
    reason,
    count
});

impl Request for LetterStatsRequest {
    const KEY: ApiKey = ApiKey::LetterStats;
    type Answer = LetterStatsAnswer;
}
