//! The QStash API, black box: what is served against the published description and what the clients ask for, and each
//! resource over HTTP against a broker in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

#[path = "../admin/harness.rs"]
#[allow(dead_code, reason = "the harness has more than is needed here")]
mod harness;

mod access;
mod contract;
mod letters;
mod messages;
mod resources;
mod world;
