//! A partition of the `_push` topic: its main log holds messages, its delivery log what became of them.
//!
//! # The steps of a delivery, each begun only after the sync of the one before
//! 1. [`Partition::append_messages`](super::Partition::append_messages), then a sync of the main log: the message is accepted, and with [`Partition::take_due`](super::Partition::take_due)
//!    it is the engine's in its time.
//! 2. [`Partition::append_entries`](super::Partition::append_entries): the intent, then the attempt, then its outcome.
//! 3. Of an outcome that kills: [`Partition::append_push_letters`](super::Partition::append_push_letters) (**the commit point** of the dead-lettering), then the dead
//!    entry.
//! 4. Of an outcome that owes callbacks: [`Partition::append_messages`](super::Partition::append_messages) with their causes (their commit point).
//!
//! The dead entry of (3) may be lost and the callbacks of (4) stand, when its sync has failed: the entry is written again from
//! the letter, and a failure callback whose cause is that letter is told.
//!
//! A crash between any two is finished by [`Partition::open`](super::Partition::open) (3) and from [`DeliveryState::owed`](crate::delivery::DeliveryState::owed) (4); an intent without an
//! outcome is attempted again under its number.
//!

mod append;
mod finish;
mod letter;
mod recent;
mod read;
mod entries;
mod retention;
mod upkeep;

pub use append::NewMessage;
pub use entries::PlacedEntry;
pub use letter::{PushDeath, push_letter};
pub use read::{MessagePlace, PushReader, PushedMessage};
pub use recent::RecentBatches;
pub use retention::{MainRetentionTarget, StaleReferences};
pub use upkeep::{PushUpkeep, PushUpkeepRun};

#[cfg(test)]
mod tests;
