//! Dead-lettering what a group rejects: at most one live letter for each group and offset.

use bytes::Bytes;

use super::append::Partition;
use crate::address::Address;
use crate::batch::Record;
use crate::cause::{GROUP_HEADER, LINEAGE_HEADER, RESERVED_PREFIX};
use crate::dead_letter::{
    DeadLetter, Disposition, Fingerprint, History, Lineage, Receiver, Source,
};
use crate::delivery::{ENVELOPE_HEADER, Envelope};
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// A group's rejection of one record.
#[derive(Debug, Clone, Copy)]
pub struct Rejection<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Index of the partition within the topic.
    pub partition_index: u32,
    /// The group that rejects.
    pub group: &'a str,
    /// The record.
    pub offset: Offset,
    /// Why, in a line.
    pub reason: &'a str,
    /// Anything more, such as a stack trace.
    pub details: Option<&'a str>,
}

/// What became of a rejection. The letter is durable once the dead-letter log's durable end is above its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectOutcome {
    /// The letter was appended.
    Appended {
        /// Its offset in the dead-letter log.
        letter: Offset,
    },
    /// The group had rejected the record before, and the letter is live.
    Live {
        /// Its offset in the dead-letter log.
        letter: Offset,
    },
}

impl RejectOutcome {
    /// Returns the letter's offset.
    #[must_use]
    pub fn letter(self) -> Offset {
        match self {
            Self::Appended { letter } | Self::Live { letter } => letter,
        }
    }
}

/// Builds the letter of a rejection from the record in the main log. Needs no owner.
///
/// # Errors
/// [`LogError::OffsetOutOfRange`] for an offset that readers do not see, [`LogError::Corrupt`], [`LogError::Io`].
pub fn prepare_letter(
    main: &LogReader,
    rejection: &Rejection<'_>,
    now: TimestampMs,
) -> Result<DeadLetter, LogError> {
    let out_of_range = || LogError::OffsetOutOfRange {
        requested: rejection.offset,
        log_start: main.log_start(),
        log_end: main.high_watermark(),
    };
    if rejection.offset >= main.high_watermark() {
        return Err(out_of_range());
    }
    let batch = main.batch_at(rejection.offset, ReadBound::HighWatermark)?;
    let base = batch.header().base_offset;
    let at = rejection
        .offset
        .since(base)
        .and_then(|delta| usize::try_from(delta).ok());
    let records = batch
        .records(BATCH_BYTES_CEILING)
        .map_err(|reason| main.undecodable(base, reason))?;
    let record = at
        .and_then(|at| records.into_iter().nth(at))
        .ok_or_else(out_of_range)?;
    let is_broker_built = batch.header().attributes.is_broker_built;
    let (record, lineage) = take_reserved(record, is_broker_built);
    let address = Address::message(main.id().partition, rejection.offset);
    let source = Source {
        topic: rejection.topic.to_owned(),
        partition_index: rejection.partition_index,
        partition: main.id().partition,
        offset: rejection.offset,
    };
    let lineage = lineage.unwrap_or(Lineage {
        first_message_id: Some(address.to_string()),
        republished: 0,
    });
    let mut letter = DeadLetter {
        source,
        receiver: Receiver::Group(rejection.group.to_owned()),
        record,
        disposition: Disposition::REJECTED,
        died_at: now,
        reason: rejection.reason.to_owned(),
        details: rejection.details.map(str::to_owned),
        history: History::default(),
        fingerprint: Fingerprint::default(),
        lineage,
        labels: Vec::new(),
        message_id: Some(address.to_string()),
        caller: None,
        cut: 0,
    };
    letter.fingerprint = letter.compute_fingerprint();
    Ok(letter)
}

/// Takes the broker's own headers off a record that the broker built; they are not the user's to see again.
fn take_reserved(mut record: Record, is_broker_built: bool) -> (Record, Option<Lineage>) {
    if !is_broker_built {
        return (record, None);
    }
    let lineage = record
        .header(LINEAGE_HEADER)
        .and_then(|value| Lineage::decode(value).ok());
    record
        .headers
        .retain(|(name, _)| !name.starts_with(RESERVED_PREFIX));
    (record, lineage)
}

/// Returns the envelope of the fresh record of a letter whose record was pushed: it is due at once unless a later
/// time was asked for, no duplicate of anything,
/// and holds no other message's place in a queue.
pub(super) fn fresh_envelope(letter: &DeadLetter) -> Option<Envelope> {
    let bytes = letter.record.header(ENVELOPE_HEADER)?;
    let mut envelope = Envelope::decode(bytes).ok()?;
    // What the message itself waited for is over; a later time was asked for by who sends it back.
    envelope.not_before = envelope.not_before.filter(|time| *time > letter.died_at);
    envelope.dedup = None;
    if envelope.root.take().is_some() {
        envelope.queue = None;
    }
    Some(envelope)
}

/// Returns the headers of the fresh record of a letter, before its cause: the user's, the lineage, the group and, of a record
/// that was pushed, the envelope.
pub(super) fn fresh_headers(letter: &DeadLetter) -> Vec<(String, Option<Bytes>)> {
    let mut headers = letter.record.headers.clone();
    if let Some(envelope) = fresh_envelope(letter) {
        let value = Some(Bytes::from(envelope.encode()));
        headers.retain(|(name, _)| name != ENVELOPE_HEADER);
        headers.push((ENVELOPE_HEADER.to_owned(), value));
    }
    let lineage = Lineage {
        republished: letter.lineage.republished.saturating_add(1),
        ..letter.lineage.clone()
    };
    headers.push((
        LINEAGE_HEADER.to_owned(),
        Some(Bytes::from(lineage.encode())),
    ));
    if let Receiver::Group(group) = &letter.receiver {
        headers.push((
            GROUP_HEADER.to_owned(),
            Some(Bytes::copy_from_slice(group.as_bytes())),
        ));
    }
    headers
}

impl Partition {
    /// Appends the letter of a rejection, unless the group has a live one for the record.
    ///
    /// # Errors
    /// The dead-letter log's error: [`LogError::Rolling`] asks the caller to roll and call again.
    pub fn reject(
        &mut self,
        letter: &DeadLetter,
        now: TimestampMs,
    ) -> Result<RejectOutcome, LogError> {
        let dead_letters = self.dead_letters_or_create(now)?;
        let is_same = |other: &DeadLetter| {
            other.source.offset == letter.source.offset
                && other.source.partition == letter.source.partition
                && other.receiver == letter.receiver
        };
        if let Some(letter) = dead_letters.live_from(letter.source_key(), &is_same)? {
            return Ok(RejectOutcome::Live { letter });
        }
        let offsets = dead_letters.append_letters(std::slice::from_ref(letter), now)?;
        let letter = offsets.first().copied().unwrap_or_default();
        Ok(RejectOutcome::Appended { letter })
    }
}
