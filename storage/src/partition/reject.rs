//! Dead-lettering what a group rejects: at most one live letter for each group and offset.

use std::collections::HashMap;

use super::append::Partition;
use super::push::RecentBatches;
use crate::address::Address;
use crate::batch::Record;
use crate::cause::{LINEAGE_HEADER, RESERVED_PREFIX};
use crate::dead_letter::{
    DeadLetter, Disposition, Fingerprint, History, Lineage, Receiver, Source,
};
use crate::error::LogError;
use crate::log::LogReader;
use crate::log_id::PartitionNumber;
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
/// The batch of the record stays in `recent`: rejections of neighbours read it once. The letter has its own copy of the
/// record, so that it keeps no batch alive.
///
/// # Errors
/// [`LogError::OffsetOutOfRange`] for an offset that readers do not see, [`LogError::Corrupt`], [`LogError::Io`].
pub fn prepare_letter(
    main: &LogReader,
    recent: &mut RecentBatches,
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
    let batch = recent.batch(main, rejection.offset)?;
    let record = batch.record(rejection.offset).ok_or_else(out_of_range)?;
    let (record, lineage) = take_reserved(record.detached(), batch.is_broker_built);
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

/// A record that a group rejects: there is at most one live letter of it.
type Rejected<'a> = (PartitionNumber, Offset, &'a Receiver);

fn rejected(letter: &DeadLetter) -> Rejected<'_> {
    let source = &letter.source;
    (source.partition, source.offset, &letter.receiver)
}

impl Partition {
    /// Appends the letters of rejections as one batch, but for those whose group has a live one for the record, before them
    /// or among them. There must be few enough for one batch: see [`DeadLetter::weight`].
    ///
    /// # Errors
    /// The dead-letter log's error, and nothing was appended: [`LogError::Rolling`] asks the caller to roll and call again.
    ///
    /// # Panics
    /// When the letters do not stand where the log ended, which the log does not allow.
    pub fn reject(
        &mut self,
        letters: &[DeadLetter],
        now: TimestampMs,
    ) -> Result<Vec<RejectOutcome>, LogError> {
        let dead_letters = self.dead_letters_or_create(now)?;
        let mut next = dead_letters.log().next_offset();
        let mut fresh: Vec<&DeadLetter> = Vec::new();
        let mut standing: HashMap<Rejected<'_>, Offset> = HashMap::new();
        let mut outcomes = Vec::with_capacity(letters.len());
        for letter in letters {
            let is_same = |other: &DeadLetter| rejected(other) == rejected(letter);
            let live = match standing.get(&rejected(letter)) {
                Some(letter) => Some(*letter),
                None => dead_letters.live_from(letter.source_key(), &is_same)?,
            };
            let outcome = if let Some(letter) = live {
                RejectOutcome::Live { letter }
            } else {
                fresh.push(letter);
                let letter = next;
                next = next.next();
                RejectOutcome::Appended { letter }
            };
            standing.insert(rejected(letter), outcome.letter());
            outcomes.push(outcome);
        }
        if !fresh.is_empty() {
            let offsets = dead_letters.append_letters(&fresh, now)?;
            let end = offsets.last().map(|last| last.next());
            assert_eq!(end, Some(next), "letters stand where the log's end was");
        }
        Ok(outcomes)
    }
}
