//! Pushed records: the envelope that says where one goes and how, and the log of what became of it.
//!
//! [`entry`] has the bytes of the delivery log, [`state`] what they and the main log add up to.

pub mod limits;
pub mod envelope;
mod envelope_debug;
pub mod entry;
pub mod state;
mod snapshots;
pub mod fold;
mod log;

pub use entry::{Entry, Intent, Outcome, Owes, SnapshotPart, Verdict};
pub use envelope::{Callback, ENVELOPE_HEADER, Envelope, FlowControl, Redaction};
pub use log::{DeliveryLog, EntriesAppended, EntryCopy};
pub use snapshots::{Snapshot, SnapshotStep};
pub use state::{
    Arrival, DeliveryCounts, DeliveryState, Duplicate, Fired, FlowLimits, MessageState, Owed,
    Period, Phase, QueueRule,
};
