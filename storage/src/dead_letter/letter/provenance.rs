//! Where a dead letter comes from: its record's place, who should have taken it, why it died, what became of it before.

use std::fmt;

use crate::hidden::HiddenQuery;
use crate::log_id::PartitionNumber;
use crate::offset::Offset;

/// Why a record died. Numbers that this version does not know are kept and shown as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Disposition(pub u8);

impl Disposition {
    /// Deliveries ran out.
    pub const RETRIES_EXHAUSTED: Self = Self(1);
    /// The receiver said that trying again is of no use.
    pub const NOT_RETRYABLE: Self = Self(2);
    /// A consumer group rejected it.
    pub const REJECTED: Self = Self(3);
    /// The outbound rules forbid its destination.
    pub const DESTINATION_FORBIDDEN: Self = Self(4);
}

/// Where the record stands that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The topic's name.
    pub topic: String,
    /// The partition's place in the topic, from 0.
    pub partition_index: u32,
    /// The partition's number.
    pub partition: PartitionNumber,
    /// The record's offset in the main log.
    pub offset: Offset,
}

/// Where a pushed record was to go. `Debug` shows no query.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Destination {
    /// The URL.
    pub url: String,
    /// The HTTP method.
    pub method: String,
    /// The URL group that it was published to.
    pub url_group: Option<String>,
    /// The endpoint's name in that group.
    pub endpoint: Option<String>,
    /// The queue that it stood in.
    pub queue: Option<String>,
    /// The schedule that published it.
    pub schedule: Option<String>,
    /// The flow-control key.
    pub flow_control_key: Option<String>,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("url", &HiddenQuery(&self.url))
            .field("method", &self.method)
            .field("url_group", &self.url_group)
            .field("endpoint", &self.endpoint)
            .field("queue", &self.queue)
            .field("schedule", &self.schedule)
            .field("flow_control_key", &self.flow_control_key)
            .finish()
    }
}

/// Who should have taken the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// A consumer group.
    Group(String),
    /// An HTTP destination.
    Destination(Destination),
}

/// What became of the record before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// Id of the message that was published first, when this one is a republished one.
    pub first_message_id: Option<String>,
    /// How often it was republished.
    pub republished: u32,
}
