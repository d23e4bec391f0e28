//! Cuts the power, kills the process, fails syncs, makes the disk lie and damages bytes under a log and its checkpoints,
//! and compares what is left with what an oracle outside of the log says must be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "tests may panic, and say what they covered"
)]

mod broker;
mod corruption;
mod faults;
mod mutants;
mod oracle;
mod power;
mod random;
mod torn;
