//! Verifying a data directory: every byte of every log is read, checked and decoded, and every hint is compared with what
//! the logs give.
//!
//! # Invariants
//! 1. Nothing is written, cut, created or removed, whatever is found: a verification may run on a copy, on a file-system
//!    snapshot mounted for reads, or beside a running broker.
//! 2. What recovery would put right by itself is a note; what it would not is a finding. A directory that any crash left, or
//!    a copy of one that was stopped, has no finding.
//! 3. Segments are read as streams: the memory needed does not grow with them, only with the number of dead letters.
//!
//! The lock is taken while the verification runs, so that no broker starts on the directory. When a broker has it already,
//! the ends of the logs are left out: they are on their way.

mod report;
mod hints;
mod ends;
mod scan;
mod heads;
mod letters;
mod causes;
mod deliveries;
mod control;
mod directory;

pub use directory::verify;
pub(crate) use directory::verify_held;
pub use report::{
    Fault, Finding, LISTED_MAX, Note, Remark, TopicPartition, VerifyCounts, VerifyOptions,
    VerifyReport,
};
