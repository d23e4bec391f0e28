//! The binary protocol, byte by byte: values <-> bytes, with no input or output.
//!
//! A connection is a TCP stream of frames ([`frame`]). The client's first request is a [`handshake`]; every request is
//! answered, in the order of the requests. [`cursor`] says how values are laid out, [`error_code`] how refusals are, and
//! one module for each API (or for the few that belong together) what its request and its answer hold, in order. All
//! numbers are big-endian.
//!
//! | key | request | module |
//! |---|---|---|
//! | 1 | Handshake | [`handshake`] |
//! | 2 | Metadata | [`metadata`] |
//! | 3, 4, 5 | `CreateTopic`, `AlterTopic`, `DeleteTopic` | [`create_topic`], [`alter_topic`], [`delete_topic`] |
//! | 6 | `ProducerId` | [`producer_id`] |
//! | 7, 8 | Produce, Fetch | [`produce`], [`fetch`] |
//! | 9 | `ListOffsets` | [`list_offsets`] |
//! | 10, 11, 12, 13 | `CommitOffsets`, `FetchOffsets`, `ListGroups`, `DeleteGroup` | [`group_offsets`] |
//! | 14 | Reject | [`reject`] |
//! | 15, 16, 19 | `ListLetters`, `GetLetter`, `LetterStats` | [`read_letters`] |
//! | 17, 18 | `RetryLetters`, `DeleteLetters` | [`resolve_letters`] |

pub mod cursor;
pub mod api_key;
pub mod error_code;
pub mod frame;
pub mod parts;
pub mod handshake;
pub mod settings;
pub mod metadata;
pub mod create_topic;
pub mod alter_topic;
pub mod delete_topic;
pub mod producer_id;
pub mod produce;
pub mod fetch;
pub mod list_offsets;
pub mod group_offsets;
pub mod reject;
pub mod selection;
pub mod letter;
pub mod read_letters;
pub mod resolve_letters;

#[cfg(test)]
mod tests;
