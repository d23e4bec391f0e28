//! Delivery by HTTP push: what is sent, when it is sent again, when it has failed for good, and who may start now.
//!
//! Most of what is here are functions of values: times and random numbers are passed in. What needs the broker's
//! partitions lives above, in the broker.

pub mod expression;
pub mod duration;
pub mod retry;
pub mod outcome;
pub mod redact;
pub mod dedup_key;
pub mod signature;
pub mod destination;
pub mod request;
pub mod callback;
pub mod cron;
pub mod api;
pub mod filter;
pub mod log_cursor;
pub mod settings;
pub mod guard;
pub mod client;
pub mod gates;
pub mod window;
pub mod header_lists;
pub mod host;
#[cfg(test)]
mod kept_tests;

/// A day, in milliseconds: the longest wait before a retry, whoever asks for it.
pub const DAY_MS: u64 = 86_400_000;
