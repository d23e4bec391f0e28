//! The admin surface, black box: a broker in this process, served on ports of the system's choice, and a plain HTTP client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_wrap,
    reason = "tests may panic"
)]

mod harness;

mod access;
mod health;
mod letters;
mod pushed;
mod pushed_letters;
mod topics;
