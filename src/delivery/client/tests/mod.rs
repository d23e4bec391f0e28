//! Attempts over real sockets on this machine, and the guard between them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod harness;
mod answers;
mod connections;
mod hostile;
mod tls;
