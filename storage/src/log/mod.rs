//! A log: an append-only sequence of batches in segment files, with one owner that appends and any number of readers.
//!
//! # Invariants
//! 1. `log start <= high watermark <= log end`, and the durable end never falls. Readers see only offsets below the high
//!    watermark, which is the durable end of a [`Visibility::Synced`] log and the log end of a [`Visibility::Written`] one.
//! 2. A batch counts as durable only after a sync that began after its write returned without an error. Syncs of one log go
//!    one after the other, so that no sync can succeed on pages that another has just failed to write.
//! 3. A full segment and its name are durable before its successor exists, and the successor's header and name are durable
//!    before the first batch is written to it. So bytes that do not verify in any but the last segment are damage, never a
//!    torn tail.
//! 4. A failed write poisons the log until [`Log::begin_heal`] has cut what it left; a failed sync poisons it until it is
//!    opened again. A sync is never tried again.
//! 5. Only [`Log::open`] shortens a log at its tail, and only by bytes that nothing says were durable.
//! 6. The log start is durable in the checkpoint before a segment below it is unlinked.
//!
//! # Use
//! The owner holds the [`Log`] under a lock, which it never holds across a sync: what takes time is handed out as a task
//! ([`SyncTask`], [`RollTask`], [`HealTask`], [`Unlink`]) that runs without the owner.

mod append;
mod config;
mod fetch;
mod find;
mod first_use;
mod heal;
mod mark;
mod reader;
mod recent;
mod recovery;
pub mod retention;
mod roll;
mod shared;
mod sound;
mod sync;
mod trouble;

pub use append::{Appended, Log};
pub use config::{Gap, LogConfig, LogPlace, Visibility};
pub(crate) use first_use::FirstUse;
pub use heal::HealTask;
pub use mark::Mark;
pub use reader::{LogReader, ReadBound};
pub use recent::FetchMemory;
pub use recovery::{Cut, RecoveryReport};
pub use retention::{RetentionPolicy, SegmentStats, Unlink};
pub use roll::{RollDone, RollTask};
pub use shared::DamagedRange;
pub use sync::SyncTask;

#[cfg(test)]
mod tests;
