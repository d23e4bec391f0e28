//! The broker from outside: over real sockets with the client, with frames made by hand, and as a process that is killed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::print_stderr,
    clippy::missing_docs_in_private_items,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::similar_names,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "tests may panic"
)]

mod bad_input;
mod disk;
mod drain;
mod harness;
mod letter_parts;
mod letters;
mod process;
mod produce;
#[path = "../admin/pushed.rs"]
mod pushed;
mod topics;
mod versions;
mod wire;
