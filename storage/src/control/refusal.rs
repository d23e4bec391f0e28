//! Why a state does not take an entry, and the checks of numbers that end so.

use super::settings::SettingsError;
use crate::error::Corruption;
use crate::log_id::PartitionNumber;

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The topic is there already.
    #[error("the topic {name} exists already")]
    TopicExists {
        /// Its name.
        name: String,
    },
    /// The topic is not there.
    #[error("there is no topic {name}")]
    UnknownTopic {
        /// The name asked for.
        name: String,
    },
    /// No topic has the partition.
    #[error("no topic has a partition with number {number}")]
    UnknownPartition {
        /// The number asked for.
        number: PartitionNumber,
    },
    /// The group is not there.
    #[error("there is no group {name}")]
    UnknownGroup {
        /// The name asked for.
        name: String,
    },
    /// What is named is not there.
    #[error("there is no {what} {name}")]
    Unknown {
        /// What is named.
        what: &'static str,
        /// The name asked for.
        name: String,
    },
    /// A number that must rise does not.
    #[error("the {what} is {found}, it must be {min} to {max}")]
    NumberUsed {
        /// What the number names.
        what: &'static str,
        /// The number.
        found: u64,
        /// The smallest that is free (inclusive).
        min: u64,
        /// The largest there is (inclusive).
        max: u64,
    },
    /// There would be more of something than the broker takes.
    #[error("the {what} would be {found}, it must be 1 to {max}")]
    OutOfBounds {
        /// What is counted.
        what: &'static str,
        /// How many there would be.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// The broker is full of something.
    #[error("the {what} would be {found}, it must be at most {max}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many there would be.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// The durability of a topic was to change.
    #[error("the durability of topic {name} is fixed at its creation")]
    DurabilityFixed {
        /// The topic's name.
        name: String,
    },
    /// A setting is outside of its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A snapshot does not decode.
    #[error("the snapshot does not decode")]
    Snapshot(#[from] Corruption),
}

/// Checks that there is something, and not more than `max`.
pub(super) fn bounded(
    what: &'static str,
    found: impl TryInto<u64>,
    max: u32,
) -> Result<(), Refusal> {
    let found = found.try_into().unwrap_or(u64::MAX);
    if (1..=u64::from(max)).contains(&found) {
        return Ok(());
    }
    Err(Refusal::OutOfBounds {
        what,
        found,
        max: u64::from(max),
    })
}

/// Checks that a number is not below what is used and not above what there is.
pub(super) fn rising(what: &'static str, found: u64, min: u64, max: u64) -> Result<(), Refusal> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(Refusal::NumberUsed {
        what,
        found,
        min,
        max,
    })
}

/// Checks that the broker does not hold more of something than it takes.
pub(super) fn room(what: &'static str, found: impl TryInto<u64>, max: u64) -> Result<(), Refusal> {
    let found = found.try_into().unwrap_or(u64::MAX);
    if found <= max {
        return Ok(());
    }
    Err(Refusal::TooMany { what, found, max })
}
