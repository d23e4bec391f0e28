//! The owner's side of a `_push` partition: messages, entries and letters.

use std::collections::HashMap;

use bytes::Bytes;

use crate::batch::{
    BatchBuilder, BatchHeader, BrokerMark, BuildOptions, Codec, HeaderRef, NewRecord,
};
use crate::cause::{CAUSE_HEADER, Cause};
use crate::dead_letter::{DeadLetter, DeadLetterLog, Receiver, batch_length};
use crate::delivery::{
    Arrival, DeliveryLog, DeliveryState, ENVELOPE_HEADER, EntriesAppended, Entry, Envelope,
};
use crate::error::LogError;
use crate::log::{Appended, DamagedRange, LogConfig};
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};
use crate::partition::Partition;

/// A message to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// When it was created.
    pub timestamp: TimestampMs,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Where it goes, and by which rules.
    pub envelope: Envelope,
    /// What makes the broker append it; `None` for what a client publishes.
    pub cause: Option<Cause>,
}

impl Partition {
    /// Returns what is known of the messages; `None` when the topic is not pushed, and when the delivery log is damaged where
    /// the state comes from: see [`Partition::delivery_damage`].
    #[must_use]
    pub fn delivery(&self) -> Option<&DeliveryState> {
        self.push.as_ref()?.state()
    }

    /// Returns the state, for what the engine decides with it: timers, rules of queues, what is forgotten.
    pub fn delivery_mut(&mut self) -> Option<&mut DeliveryState> {
        self.push.as_mut()?.state_mut()
    }

    /// Returns the range for which nothing can be delivered, if there is one: what is damaged or missing where the state comes
    /// from. The main log is read as before.
    #[must_use]
    pub fn delivery_damage(&self) -> Option<&DamagedRange> {
        self.push.as_ref()?.damage()
    }

    /// Returns the delivery log; `None` when the topic is not pushed.
    #[must_use]
    pub fn delivery_log(&self) -> Option<&DeliveryLog> {
        self.push.as_ref()
    }

    /// Changes how the delivery log behaves from now on.
    pub fn reconfigure_delivery(&mut self, config: &LogConfig) {
        if let Some(push) = self.push.as_mut() {
            push.reconfigure(config);
        }
    }

    /// Appends messages as one batch: all of them are there after a crash, or none. They are accepted when the main log's
    /// durable end has reached the end of the batch; until then the state knows nothing of them.
    ///
    /// # Errors
    /// The main log's error: [`LogError::Rolling`] asks the caller to roll and call again; [`LogError::BatchTooLarge`] also for
    /// no message at all. [`LogError::Poisoned`] when nothing can be delivered.
    pub fn append_messages(
        &mut self,
        messages: &[NewMessage],
        now: TimestampMs,
    ) -> Result<Appended, LogError> {
        self.push_mut()?.check_state()?;
        let mut batch = build(messages)?;
        let header = BatchHeader::decode(&batch).map_err(|reason| {
            self.main
                .reader()
                .undecodable(self.main.next_offset(), reason)
        })?;
        // What the broker appends by itself goes on.
        let is_published = messages.iter().all(|message| message.cause.is_none());
        let reserve = self.reserve.as_deref().filter(|_| is_published);
        let appended = self.main.append_beside(reserve, &header, &mut batch, now)?;
        let arrivals = messages.iter().map(|message| {
            let cause = message.cause.clone();
            Some(Arrival::new(message.timestamp, &message.envelope, cause))
        });
        self.note_fresh(&appended, &header, arrivals.collect());
        Ok(appended)
    }

    /// Takes messages that the main log holds durably into the state. Returns how many batches there were: the engine has new
    /// messages to look at.
    pub fn admit_durable(&mut self) -> usize {
        let main = self.main.reader();
        self.push
            .as_mut()
            .map_or(0, |push| push.admit_durable(&main))
    }

    /// Takes messages whose time has come, the earliest first, at most `count_max`: they are ready, and the caller's.
    pub fn take_due(&mut self, now: TimestampMs, count_max: usize) -> Vec<Offset> {
        self.admit_durable();
        self.delivery_mut()
            .map_or_else(Vec::new, |state| state.take_due(now, count_max))
    }

    /// Appends entries to the delivery log as one batch, and applies them to the state. What they say counts when the log's
    /// durable end has reached `next_offset`: nothing that follows from them may begin before. An outcome's `previous` is
    /// filled in.
    ///
    /// # Errors
    /// The delivery log's error: [`LogError::Rolling`] asks the caller to roll and call again. [`LogError::Poisoned`] also when
    /// nothing can be delivered.
    ///
    /// # Panics
    /// For an entry about a message that was not admitted.
    pub fn append_entries(
        &mut self,
        entries: &[Entry],
        now: TimestampMs,
    ) -> Result<EntriesAppended, LogError> {
        self.admit_durable();
        self.push_mut()?.append_entries(entries, now)
    }

    /// Appends the letters of dying messages, and returns where each stands, in their order. A message that has a letter
    /// already, live or resolved, gets no other one. They count when the dead-letter log's durable end is above them.
    ///
    /// # Errors
    /// The dead-letter log's error: [`LogError::Rolling`] asks the caller to roll and call again.
    pub fn append_push_letters(
        &mut self,
        letters: &[(Offset, DeadLetter)],
        now: TimestampMs,
    ) -> Result<Vec<Offset>, LogError> {
        let number = self.number;
        let dead_letters = self.dead_letters_or_create(now)?;
        let mut standing = HashMap::new();
        let mut missing: Vec<(Offset, &DeadLetter)> = Vec::new();
        for (message, letter) in letters {
            match letter_of(dead_letters, (number, *message), letter.source_key())? {
                Some(found) => {
                    standing.insert(*message, found);
                }
                None if missing.iter().any(|(other, _)| other == message) => {}
                None => missing.push((*message, letter)),
            }
        }
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            let letters = rest.iter().map(|(_, letter)| *letter);
            let (run, behind) = rest.split_at(batch_length(letters));
            let batch: Vec<_> = run.iter().map(|(_, letter)| *letter).collect();
            let offsets = dead_letters.append_letters(&batch, now)?;
            standing.extend(run.iter().map(|(message, _)| *message).zip(offsets));
            rest = behind;
        }
        let place = |(message, _): &(Offset, DeadLetter)| standing.get(message).copied();
        Ok(letters.iter().filter_map(place).collect())
    }

    /// Takes note of a batch that was written to the main log, to be admitted when it is durable.
    pub(in crate::partition) fn note_fresh(
        &mut self,
        appended: &Appended,
        header: &BatchHeader,
        arrivals: Vec<Option<Arrival>>,
    ) {
        if let Some(push) = self.push.as_mut() {
            push.note_fresh(appended, u64::from(header.length), arrivals);
        }
    }

    pub(super) fn push_mut(&mut self) -> Result<&mut DeliveryLog, LogError> {
        let number = self.number;
        self.push.as_mut().ok_or_else(|| {
            let source = std::io::Error::other(format!("partition {number} is not pushed"));
            LogError::io("append", std::path::Path::new("delivery"), source)
        })
    }
}

/// Returns the letter of a message of this partition with the key of its source, live or resolved.
pub(in crate::partition) fn letter_of(
    dead_letters: &DeadLetterLog,
    (partition, message): (PartitionNumber, Offset),
    source_key: u64,
) -> Result<Option<Offset>, LogError> {
    dead_letters.any_from(source_key, &|letter| {
        let source = (letter.source.partition, letter.source.offset);
        source == (partition, message) && matches!(letter.receiver, Receiver::Destination(_))
    })
}

fn build(messages: &[NewMessage]) -> Result<Vec<u8>, LogError> {
    let mut builder = BatchBuilder::new(Codec::None);
    let mut has_causes = false;
    for message in messages {
        let envelope = message.envelope.encode();
        let cause = message.cause.as_ref().map(Cause::encode);
        has_causes |= cause.is_some();
        let header = |name, value| HeaderRef {
            name,
            value: Some(value),
        };
        let mut headers = vec![header(ENVELOPE_HEADER, envelope.as_slice())];
        headers.extend(cause.as_deref().map(|cause| header(CAUSE_HEADER, cause)));
        let record = NewRecord {
            timestamp: message.timestamp,
            key: None,
            value: Some(&message.body),
            headers: &headers,
        };
        builder
            .push(&record)
            .map_err(|error| error.as_log_error())?;
    }
    let broker = if has_causes {
        BrokerMark::BrokerWithCauses
    } else {
        BrokerMark::Broker
    };
    let options = BuildOptions {
        producer: None,
        broker,
    };
    builder.build(options).map_err(|error| error.as_log_error())
}
