//! Reading messages and their entries back, without the owner.
//!
//! Where to read follows from the state, which only the owner has: a copy that the state knew may be gone when it is read,
//! because a newer one stands and the head has been deleted. [`LogError::OffsetOutOfRange`] asks the caller to look again.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::recent::RecentBatches;
use crate::batch::Record;
use crate::cause::{CAUSE_HEADER, Cause, LINEAGE_HEADER};
use crate::dead_letter::Lineage;
use crate::delivery::{ENVELOPE_HEADER, Entry, Envelope};
use crate::error::{Corruption, LogError};
use crate::log::LogReader;
use crate::offset::{Offset, TimestampMs};
use crate::partition::Partition;

/// A message as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedMessage {
    /// Its offset in the main log, by which it is known.
    pub offset: Offset,
    /// When the main log took it.
    pub append_time: TimestampMs,
    /// When it was created.
    pub timestamp: TimestampMs,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Where it goes, and by which rules.
    pub envelope: Envelope,
    /// What made the broker append it.
    pub cause: Option<Cause>,
    /// What became of it before, when it was republished.
    pub lineage: Option<Lineage>,
}

/// A message to be read: its offset, and where its copy stands in the delivery log if it has one.
pub type MessagePlace = (Offset, Option<Offset>);

/// A reader of messages and entries. Cheap to clone; all clones see the logs as they are now.
#[derive(Debug, Clone)]
pub struct PushReader {
    pub(super) main: LogReader,
    /// Empty before the first entry.
    pub(super) delivery: Arc<OnceLock<LogReader>>,
}

impl Partition {
    /// Returns a reader of messages and entries, which needs no owner. Of a topic that is not pushed it reads no entries.
    #[must_use]
    pub fn push_reader(&self) -> PushReader {
        let delivery = self.push.as_ref().map(crate::delivery::DeliveryLog::reader);
        PushReader {
            main: self.main.reader(),
            delivery: delivery.unwrap_or_default(),
        }
    }
}

impl PushReader {
    /// Reads a message from the main log, or its copy where the main log has it no more.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] for what stands nowhere (any more); [`LogError::Corrupt`], also for a record without an
    /// envelope; [`LogError::Io`].
    pub fn message(
        &self,
        offset: Offset,
        carried_at: Option<Offset>,
    ) -> Result<PushedMessage, LogError> {
        self.message_near((offset, carried_at), &mut RecentBatches::default())
    }

    /// Reads a message as [`PushReader::message`] does; messages of `recent` batches are taken from there.
    ///
    /// # Errors
    /// As [`PushReader::message`].
    pub fn message_near(
        &self,
        place: MessagePlace,
        recent: &mut RecentBatches,
    ) -> Result<PushedMessage, LogError> {
        let mut message = self.read_message(place, recent)?;
        message.detach();
        Ok(message)
    }

    /// Looks at messages, reading each batch of the main log once, and returns in the order in which they were asked for what
    /// `look` says of each, or what [`PushReader::message`] does. Of bodies no more is in memory at a time than a few batches.
    #[must_use]
    pub fn look_at<T>(
        &self,
        places: &[MessagePlace],
        look: impl Fn(&PushedMessage) -> T,
    ) -> Vec<(Offset, Result<T, LogError>)> {
        self.read_each(places, &mut RecentBatches::default(), |message| {
            look(&message)
        })
    }

    /// Reads messages, in the order in which they were asked for; those of `recent` batches are taken from there. Their bodies share
    /// the memory of these batches: see [`PushedMessage::detach`].
    #[must_use]
    pub fn messages_near(
        &self,
        places: &[MessagePlace],
        recent: &mut RecentBatches,
    ) -> Vec<(Offset, Result<Box<PushedMessage>, LogError>)> {
        self.read_each(places, recent, Box::new)
    }

    fn read_each<T>(
        &self,
        places: &[MessagePlace],
        recent: &mut RecentBatches,
        take: impl Fn(PushedMessage) -> T,
    ) -> Vec<(Offset, Result<T, LogError>)> {
        let mut sorted: Vec<_> = places.iter().enumerate().collect();
        sorted.sort_unstable_by_key(|(_, place)| **place);
        let mut read: Vec<_> = sorted
            .into_iter()
            .map(|(at, place)| {
                let message = self.read_message(*place, recent);
                (at, place.0, message.map(&take))
            })
            .collect();
        read.sort_unstable_by_key(|(at, ..)| *at);
        read.into_iter()
            .map(|(_, offset, message)| (offset, message))
            .collect()
    }

    fn read_message(
        &self,
        (offset, carried_at): MessagePlace,
        recent: &mut RecentBatches,
    ) -> Result<PushedMessage, LogError> {
        match (self.read_main(offset, recent), carried_at) {
            (Err(LogError::OffsetOutOfRange { .. } | LogError::Corrupt { .. }), Some(at)) => {
                self.read_carried(offset, at)
            }
            (read, _) => read,
        }
    }

    fn read_main(
        &self,
        offset: Offset,
        recent: &mut RecentBatches,
    ) -> Result<PushedMessage, LogError> {
        let batch = recent.batch(&self.main, offset)?;
        let missing = || LogError::OffsetOutOfRange {
            requested: offset,
            log_start: self.main.log_start(),
            log_end: self.main.high_watermark(),
        };
        let record = batch.record(offset).ok_or_else(missing)?;
        if !batch.is_broker_built {
            return Err(self.main.undecodable(offset, NO_ENVELOPE));
        }
        PushedMessage::decode(offset, batch.append_time, record)
            .map_err(|reason| self.main.undecodable(offset, reason))
    }

    fn read_carried(&self, offset: Offset, at: Offset) -> Result<PushedMessage, LogError> {
        match self.entry(at)? {
            Entry::Carried {
                message,
                append_time,
                record,
            } if message == offset => PushedMessage::decode(offset, append_time, &record)
                .map_err(|reason| self.main.undecodable(offset, reason)),
            other => Err(self.wrong_kind(at, &other)),
        }
    }

    /// Reads the record of a message as it stands in the main log, for a copy of it, with its append time. Records of `recent`
    /// batches of that log are taken from there.
    pub(super) fn record_near(
        &self,
        message: Offset,
        recent: &mut RecentBatches,
    ) -> Result<(TimestampMs, Record), LogError> {
        let batch = recent.batch(&self.main, message)?;
        let record = batch.record(message).map(Record::detached);
        record
            .map(|record| (batch.append_time, record))
            .ok_or(LogError::OffsetOutOfRange {
                requested: message,
                log_start: self.main.log_start(),
                log_end: self.main.high_watermark(),
            })
    }
}

const NO_ENVELOPE: Corruption = Corruption::Field {
    field: "envelope count",
    value: 0,
};

impl PushedMessage {
    /// Copies the body: what the log gives out shares the memory of its whole batch, and a message in flight would keep it.
    pub fn detach(&mut self) {
        self.body = Bytes::copy_from_slice(&self.body);
    }

    fn decode(
        offset: Offset,
        append_time: TimestampMs,
        record: &Record,
    ) -> Result<Self, Corruption> {
        let envelope = record.header(ENVELOPE_HEADER).ok_or(NO_ENVELOPE)?;
        let cause = record.header(CAUSE_HEADER).map(Cause::decode);
        let lineage = record.header(LINEAGE_HEADER).map(Lineage::decode);
        Ok(Self {
            offset,
            append_time,
            timestamp: record.timestamp,
            body: record.value.clone().unwrap_or_default(),
            envelope: Envelope::decode(envelope)?,
            cause: cause.transpose()?,
            lineage: lineage.transpose()?,
        })
    }
}
