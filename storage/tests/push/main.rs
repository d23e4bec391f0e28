//! Cuts the power, kills the process and makes the disk lie under a pushed partition while messages are published, attempted,
//! called back, cancelled, dead-lettered, republished, carried and forgotten, and compares what is left with what an oracle
//! outside of the partition says must be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::struct_excessive_bools,
    clippy::disallowed_methods,
    clippy::string_slice,
    missing_docs,
    unreachable_pub,
    reason = "tests may panic, and say what they covered"
)]

mod check;
#[path = "../support/coverage.rs"]
mod coverage;
mod crashes;
mod damage;
mod disks;
#[path = "../../../tests/support/hold.rs"]
#[allow(dead_code, reason = "no suite uses all of it")]
mod hold;
mod machine;
mod mutants;
mod oracle;
mod pusher;
mod truth;
mod volume;
#[path = "../support/volume.rs"]
mod volume_frame;
mod workload;
