//! Delivery by HTTP push: what is sent, when it is sent again, and when it has failed for good.
//!
//! What is here are functions of values: no clock, no randomness, no sockets. Times and random numbers are passed in.

pub mod duration;
pub mod expression;
pub mod retry;
pub mod outcome;
pub mod signature;
pub mod request;
pub mod header_lists;
pub mod callback;
pub mod cron;
pub mod dedup_key;
pub mod redact;

/// A day, in milliseconds: the longest wait before a retry, whoever asks for it.
pub const DAY_MS: u64 = 86_400_000;
