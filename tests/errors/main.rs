//! Errors of the system: every operation on a file fails, once and for ever after, with every error that it may have, under a
//! whole broker; and a broker as a process runs out of space, of open files and of file size, and is stopped for a while.
//!
//! What is held: nothing acknowledged is lost, nothing is acknowledged that is not stored, nothing panics, what is refused says
//! why, other partitions go on, a sync that failed is never tried again, and after a restart everything works.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "tests may panic, and say what they covered"
)]

mod bulk;
mod clock;
#[path = "../support/hold.rs"]
#[allow(dead_code, unreachable_pub, reason = "no suite uses all of it")]
mod hold;
mod process;
#[path = "../support/process.rs"]
mod program;
mod readonly;
mod script;
mod sink;
mod sweep;
mod table;
mod told;
mod world;
