//! Why a change was not made, or the log not opened.

use crate::batch::BuildError;
use crate::control::entry::EntryError;
use crate::control::refusal::Refusal;
use crate::error::LogError;
use crate::offset::Offset;

/// Why a change was not made, or the control log not opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The state does not take the change. Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The change is larger than any log takes. Nothing was written.
    #[error("the change does not fit in a batch")]
    TooLarge(#[from] BuildError),
    /// The log failed. The change is not stored.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log failed after the change was written: it may be there or not when the log is opened next. Until then the
    /// log takes no changes, and the state is the one before.
    #[error("it is unknown whether the change is stored")]
    OutcomeUnknown {
        /// What failed.
        source: LogError,
    },
    /// A record of the log cannot be read by this program.
    #[error("the control log cannot be read at offset {offset}")]
    Unreadable {
        /// The record.
        offset: Offset,
        /// What is wrong with it.
        source: EntryError,
    },
    /// A record of the log contradicts the ones before it.
    #[error("the control log contradicts itself at offset {offset}")]
    Contradiction {
        /// The record.
        offset: Offset,
        /// What it contradicts.
        source: Refusal,
    },
}
