//! Redrive's logs: batches, segments, recovery, retention, checkpoints and dead letters, over a [`disk::Disk`].
//!
//! The crate knows logs, batches and disks, and nothing of brokers: no tokio, no clock (callers pass `now`), no logging of
//! errors that it returns. Modules are listed lowest layer first; a module imports only modules listed above it.
//!
//! # Invariants
//! 1. Segments are the truth. Indexes, facets and checkpoints are hints that can be rebuilt from them at any time.
//! 2. Only recovery shortens a log, at the tail. Only retention removes data, whole sealed segments, at the head.
//! 3. A failed write or sync poisons the log. A sync is never tried again; nothing is acknowledged after one failed.
//! 4. The append that gains a record is the commit point of a move between logs. It carries the other side's coordinates,
//!    and recovery finishes the other side from them.

pub mod offset;
pub mod limits;
pub mod log_id;
pub mod error;
pub mod checksum;
pub mod hidden;
pub mod buffers;
mod fields;
pub mod batch;
pub mod cause;
pub mod address;
pub mod disk;
pub mod reserve;
pub mod checkpoint;
pub mod data_dir;
pub mod index;
pub mod segment;
pub mod log;
pub mod producers;
pub mod dead_letter;
pub mod delivery;
pub mod control;
pub mod partition;
pub mod verify;
pub mod repair;
