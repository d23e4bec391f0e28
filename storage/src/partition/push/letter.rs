//! The letter of a message that dies. PURE.

use bytes::Bytes;

use super::read::PushedMessage;
use crate::address::Address;
use crate::batch::Record;
use crate::dead_letter::{
    DeadLetter, Destination, Disposition, Fingerprint, History, Lineage, Receiver, Source,
};
use crate::delivery::ENVELOPE_HEADER;
use crate::log_id::PartitionNumber;
use crate::offset::TimestampMs;

/// How a message dies, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushDeath<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Index of the partition within the topic.
    pub partition_index: u32,
    /// Number of the partition.
    pub partition: PartitionNumber,
    /// What was tried.
    pub history: History,
    /// Why it dies.
    pub disposition: Disposition,
    /// Why, in one line.
    pub reason: &'a str,
}

/// Builds the letter of a message. Its record keeps the envelope, so that it can be sent again, and neither cause nor lineage.
#[must_use]
pub fn push_letter(message: &PushedMessage, death: PushDeath<'_>, now: TimestampMs) -> DeadLetter {
    let envelope = &message.envelope;
    let address = Address::message(death.partition, message.offset);
    let lineage = message.lineage.clone().unwrap_or_else(|| Lineage {
        first_message_id: Some(address.to_string()),
        republished: 0,
    });
    let header = (
        ENVELOPE_HEADER.to_owned(),
        Some(Bytes::from(envelope.encode())),
    );
    let mut letter = DeadLetter {
        source: Source {
            topic: death.topic.to_owned(),
            partition_index: death.partition_index,
            partition: death.partition,
            offset: message.offset,
        },
        receiver: Receiver::Destination(Destination {
            url: envelope.url.clone(),
            method: envelope.method.clone(),
            url_group: envelope.url_group.clone(),
            endpoint: envelope.endpoint.clone(),
            queue: envelope.queue.clone(),
            schedule: envelope.schedule.clone(),
            flow_control_key: envelope.flow.as_ref().map(|flow| flow.key.clone()),
        }),
        record: Record {
            timestamp: message.timestamp,
            key: None,
            value: Some(message.body.clone()),
            headers: vec![header],
        },
        disposition: death.disposition,
        died_at: now,
        reason: death.reason.to_owned(),
        details: None,
        history: death.history,
        fingerprint: Fingerprint::default(),
        lineage,
        labels: envelope.labels.clone(),
        message_id: Some(address.to_string()),
        caller: envelope.caller_ip.clone(),
        cut: 0,
    };
    letter.fingerprint = letter.compute_fingerprint();
    letter
}
