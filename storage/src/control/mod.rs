//! The control log: topics and their settings, partition numbers, producer ids, group offsets, gaps, and what deliveries
//! over HTTP go by ([`push`]).
//!
//! [`entry`] has the bytes of one change, [`state`] what the changes add up to. The state is a fold of the log from its
//! newest complete snapshot and stands nowhere else. A change is checked against the state, appended, synced, and only
//! then applied and answered.

mod fields;
pub mod settings;
mod refusal;
mod snapshot_part;
pub mod push;
pub mod entry;
mod groups;
mod rules;
mod snapshot;
pub mod state;
pub(crate) mod fold;
pub mod log;

pub use entry::{Commit, Entry, EntryError, Gap};
pub use groups::{Committed, GroupOffsets};
pub use log::{ControlConfig, ControlError, ControlLog};
pub use refusal::Refusal;
pub use settings::{Durability, SettingsError, TopicSettings};
pub use snapshot_part::SnapshotPart;
pub use state::{ControlState, Topic};

#[cfg(test)]
mod tests;
