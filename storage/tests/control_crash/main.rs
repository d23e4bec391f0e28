//! The control log on a simulated disk: power cuts after every operation, failed syncs and writes, damage.
//!
//! The promises: every change that was answered is in the state after the log is opened again, a change that was not is
//! there whole or not at all, and nothing else is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "tests may panic"
)]

mod damage;
mod failing_disk;
mod failures;
mod large;
mod machine;
mod power_cuts;
