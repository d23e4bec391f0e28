//! The fresh records of letters that are sent back, as one batch. PURE: it is built without the owner, whose lock is held for
//! the append alone.

use super::republish::Who;
use crate::batch::builder::{BatchBuilder, BrokerMark, BuildOptions};
use crate::batch::header::{BatchHeader, Codec};
use crate::batch::record::HeaderRef;
use crate::cause::{CAUSE_HEADER, Cause, CauseDetail, CauseKind, GROUP_HEADER, LINEAGE_HEADER};
use crate::dead_letter::{DeadLetter, Lineage, PlacedLetter, Receiver};
use crate::delivery::{ENVELOPE_HEADER, Envelope};
use crate::error::LogError;
use crate::log::LogReader;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::Offset;

/// Bytes that a record grows by, as a rule: what its headers tell of where it comes from.
const ADDED_BYTES: usize = 192;

/// Fresh records with their causes, one for each letter, to be appended to the main log.
#[derive(Debug)]
pub struct FreshBatch<'a> {
    pub(super) letters: &'a [PlacedLetter],
    pub(super) who: Who<'a>,
    pub(super) header: BatchHeader,
    pub(super) batch: Vec<u8>,
}

impl<'a> FreshBatch<'a> {
    /// Builds the fresh records of letters of the partition with this main log.
    ///
    /// # Errors
    /// [`LogError::BatchTooLarge`] when the letters do not fit one batch; also for no letter at all.
    pub fn build(
        main: &LogReader,
        letters: &'a [PlacedLetter],
        who: Who<'a>,
    ) -> Result<Self, LogError> {
        let bytes = letters.iter().map(|(_, letter)| letter.record.weight());
        let bytes = bytes.map(|weight| weight.saturating_add(ADDED_BYTES));
        let bytes = bytes.fold(0, usize::saturating_add);
        let mut builder = BatchBuilder::with_capacity(Codec::None, bytes);
        for (offset, letter) in letters {
            push(&mut builder, (main.id().partition, *offset), letter, who)?;
        }
        let options = BuildOptions {
            producer: None,
            broker: BrokerMark::BrokerWithCauses,
        };
        let batch = builder
            .build(options)
            .map_err(|error| error.as_log_error())?;
        let header = BatchHeader::decode(&batch)
            .map_err(|reason| main.undecodable(main.log_end(), reason))?;
        Ok(Self {
            letters,
            who,
            header,
            batch,
        })
    }
}

/// Adds a letter's fresh record. Its headers are the user's, then, of a record that was pushed, the envelope, the lineage, the
/// group and the cause.
fn push(
    builder: &mut BatchBuilder,
    (number, offset): (PartitionNumber, Offset),
    letter: &DeadLetter,
    who: Who<'_>,
) -> Result<(), LogError> {
    let envelope = fresh_envelope(letter).map(|envelope| envelope.encode());
    let lineage = Lineage {
        republished: letter.lineage.republished.saturating_add(1),
        ..letter.lineage.clone()
    };
    let lineage = lineage.encode();
    let cause = republish_cause((number, offset), letter, who).encode();
    let group = match &letter.receiver {
        Receiver::Group(group) => Some(group.as_bytes()),
        Receiver::Destination(_) => None,
    };
    let own = [
        (ENVELOPE_HEADER, envelope.as_deref()),
        (LINEAGE_HEADER, Some(lineage.as_slice())),
        (GROUP_HEADER, group),
        (CAUSE_HEADER, Some(cause.as_slice())),
    ];
    let own = own.into_iter().filter(|(_, value)| value.is_some());
    let users = letter.record.headers.iter();
    let users = users.filter(|(name, _)| envelope.is_none() || name != ENVELOPE_HEADER);
    let headers: Vec<_> = users
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .chain(own)
        .map(|(name, value)| HeaderRef { name, value })
        .collect();
    builder
        .push(&letter.record.as_new(&headers))
        .map_err(|error| error.as_log_error())
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

/// Returns why a letter's fresh record is appended.
pub(super) fn republish_cause(
    (number, offset): (PartitionNumber, Offset),
    letter: &DeadLetter,
    who: Who<'_>,
) -> Cause {
    let group = match &letter.receiver {
        Receiver::Group(group) => Some(group.clone()),
        Receiver::Destination(_) => None,
    };
    Cause {
        kind: CauseKind::Republish,
        log: LogId::new(number, LogKind::DeadLetter),
        offset,
        detail: CauseDetail {
            request_id: who.request_id.map(str::to_owned),
            group,
            ..CauseDetail::default()
        },
    }
}
