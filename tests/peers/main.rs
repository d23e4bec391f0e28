//! Hostile peers against the real program: strangers in great numbers, slow ones, frames and requests that lie, destinations that
//! are sick; and what must not come out of it or be touched by it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::format_push_string,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests may panic"
)]

#[path = "../support/hold.rs"]
mod hold;
#[path = "../support/process.rs"]
mod process;

mod bulkhead;
mod cage;
mod differential;
mod directory;
mod frames;
mod framing;
mod honest;
mod idle;
#[path = "../sdk/install.rs"]
mod install;
mod memory;
mod reading;
mod secrets;
mod slow;
mod streams;
