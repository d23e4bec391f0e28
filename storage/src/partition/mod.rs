//! A partition: its main log, its dead-letter log, and the moves between them, under one owner.
//!
//! # Invariants
//! 1. A batch of an idempotent producer that the partition remembers is never appended twice.
//! 2. A letter is resolved once, ever. The synced append of the fresh record is the commit point of a republish, whatever the
//!    topic's durability; the marker follows it and never precedes it.
//! 3. Every cause below `settled_up_to` has its marker synced. Retention of the main log never passes it.
//! 4. Nothing is released by a guess: a letter whose append has an unknown outcome stays claimed until its main log has been
//!    recovered.
//!
//! # The steps of a republish
//! 1. [`Partition::claim`]: in memory; a second caller is told to wait for the first.
//! 2. [`Partition::append_republished`]: the fresh records with their causes, one [`FreshBatch`] that is built before.
//! 3. The caller syncs the main log. **This is the commit point**; then [`Partition::commit`], and callers are answered.
//! 4. [`Partition::append_markers`]: the resolution markers, many in a batch.
//! 5. The caller syncs the dead-letter log; then [`Partition::settle`].
//!
//! A crash between 3 and 5 leaves causes without markers: [`Partition::open`] appends them before anything is served.

mod append;
mod claims;
mod steps;
mod push;
mod dead_letters;
mod due;
mod fresh;
mod open;
mod reject;
mod republish;
mod resolve;
mod retention;
mod state;

pub use append::{AppendOutcome, Partition, Refused};
pub use claims::ClaimState;
pub use fresh::FreshBatch;
pub use open::{PartitionConfig, PartitionHints, PartitionPlace, PartitionReport};
pub use push::{
    MainRetentionTarget, MessagePlace, NewMessage, PlacedEntry, PushDeath, PushReader, PushUpkeep,
    PushUpkeepRun, PushedMessage, RecentBatches, StaleReferences, push_letter,
};
pub use reject::{RejectOutcome, Rejection, prepare_letter};
pub use republish::{Claim, Republished, Who};
pub use resolve::{Hooks, Outcome, Outcomes, Resolver, Step, Written};
pub use retention::PartitionRetention;
pub(crate) use state::settled_up_to;

#[cfg(test)]
mod tests;
