//! A dead letter: a self-contained copy of a record that died, and how.
//!
//! | field | bytes | meaning |
//! |---|---|---|
//! | kind | 1 | [`LETTER_KIND`] |
//! | version | 1 | [`LETTER_VERSION`] |
//! | fields | | tagged fields (see `fields.rs`), by rising tag; an unknown tag is an error |
//!
//! | tag | field | content |
//! |---|---|---|
//! | 1 | source | topic (block), partition index u32, partition number u32, offset u64 |
//! | 2 | receiver | 1 and the group's name to the end, or 2 and tagged fields: 1 url, 2 method, 3 url group, 4 endpoint, 5 queue, 6 schedule, 7 flow-control key; 1 and 2 always |
//! | 3 | record | timestamp i64, key (option), value (option), then to the end: header name (block), header value (option) |
//! | 4 | disposition | u8 |
//! | 5 | died at | i64, ms |
//! | 6 | reason | text |
//! | 7 | details | text, may be absent |
//! | 8 | history | see [`super::history`] |
//! | 9 | fingerprint | 9 bytes, see [`super::fingerprint`] |
//! | 10 | lineage | times republished u32, first message id (option) |
//! | 11 | labels | blocks; absent without labels |
//! | 12 | message id | text, may be absent |
//! | 13 | caller | text, may be absent |
//! | 14 | cut | u16: bit n says that the field with tag n was cut; always there, so that a letter that lost its end never decodes |
//!
//! Invariant: an encoded letter is at most `LETTER_OVERHEAD_BYTES` larger than its record: what is too long is cut and marked.

mod provenance;
pub(crate) mod codec;

use std::fmt;

use super::fingerprint::{Fingerprint, FingerprintParts, host_of};
use super::hash::hash64;
use super::history::History;
use super::limits::{
    DETAILS_BYTES_MAX, LABEL_BYTES_MAX, LABEL_COUNT_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX,
    URL_BYTES_MAX,
};
use crate::batch::Record;
use crate::fields::cut_text;
use crate::hidden::Hidden;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

pub use provenance::{Destination, Disposition, Lineage, Receiver, Source};

/// Opens every letter.
pub const LETTER_KIND: u8 = 1;
/// The version of this layout.
pub const LETTER_VERSION: u8 = 1;

/// A dead letter. `Debug` shows neither the record nor what its receiver said at length.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record stands that died.
    pub source: Source,
    /// Who should have taken it.
    pub receiver: Receiver,
    /// The record, whole.
    pub record: Record,
    /// Why it died.
    pub disposition: Disposition,
    /// When it died.
    pub died_at: TimestampMs,
    /// Why, in one line.
    pub reason: String,
    /// Why, at length.
    pub details: Option<String>,
    /// What was tried.
    pub history: History,
    /// What it has in common with others.
    pub fingerprint: Fingerprint,
    /// What became of it before.
    pub lineage: Lineage,
    /// Labels of the message.
    pub labels: Vec<String>,
    /// Id of the message.
    pub message_id: Option<String>,
    /// Who published it.
    pub caller: Option<String>,
    /// Bit n: the field with tag n was cut. Set by [`DeadLetter::fit`].
    pub cut: u16,
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.details.as_ref();
        f.debug_struct("DeadLetter")
            .field("source", &self.source)
            .field("receiver", &self.receiver)
            .field("record", &self.record)
            .field("disposition", &self.disposition)
            .field("died_at", &self.died_at)
            .field("reason", &self.reason)
            .field("details", &details.map(|text| Hidden(text.as_bytes())))
            .field("history", &self.history)
            .field("fingerprint", &self.fingerprint)
            .field("lineage", &self.lineage)
            .field("labels", &self.labels)
            .field("message_id", &self.message_id)
            .field("caller", &self.caller)
            .field("cut", &self.cut)
            .finish()
    }
}

/// Tag of the details among the fields of a letter.
const DETAILS_TAG: u8 = 7;

impl DeadLetter {
    /// Returns the 64-bit key of (group or URL, partition number, offset): the same record dies once for each receiver. It is
    /// the same before and after [`DeadLetter::fit`].
    #[must_use]
    pub fn source_key(&self) -> u64 {
        let (partition, offset) = (self.source.partition, self.source.offset);
        match &self.receiver {
            Receiver::Group(group) => group_source_key(group, partition, offset),
            Receiver::Destination(destination) => {
                destination_source_key(&destination.url, partition, offset)
            }
        }
    }

    /// Computes the fingerprint from receiver, disposition and last attempt, or the reason when there was no attempt.
    #[must_use]
    pub fn compute_fingerprint(&self) -> Fingerprint {
        let last = self.history.last();
        let receiver = match &self.receiver {
            Receiver::Group(group) => group.clone(),
            Receiver::Destination(destination) => host_of(&destination.url),
        };
        Fingerprint::compute(&FingerprintParts {
            receiver: &receiver,
            disposition: self.disposition.0,
            result: last.map(|attempt| attempt.result),
            body: last.map_or(self.reason.as_bytes(), |attempt| &attempt.body),
        })
    }

    /// Returns how many bytes of a batch the letter takes at most, with the cause that it carries: to know that, it need not
    /// be encoded.
    #[must_use]
    pub fn weight(&self) -> usize {
        // Numbers, tags and lengths of the letter, of its record's and its batch's framing, and of the cause.
        const FRAMING_BYTES: usize = 512;
        const ITEM_FRAMING_BYTES: usize = 10;
        let receiver = match &self.receiver {
            // The cause names the group too.
            Receiver::Group(group) => group.len().saturating_mul(2),
            Receiver::Destination(destination) => destination.weight(),
        };
        let options = [
            &self.details,
            &self.lineage.first_message_id,
            &self.message_id,
            &self.caller,
        ];
        let labels = self
            .labels
            .iter()
            .map(|label| label.len().saturating_add(ITEM_FRAMING_BYTES));
        let headers = self.record.headers.len().saturating_mul(ITEM_FRAMING_BYTES);
        [
            self.record.weight(),
            headers,
            self.source.topic.len(),
            receiver,
            self.reason.len(),
            self.history.weight(),
            FRAMING_BYTES,
        ]
        .into_iter()
        .chain(options.into_iter().flatten().map(String::len))
        .chain(labels)
        .fold(0, usize::saturating_add)
    }

    /// Returns whether the details were longer.
    #[must_use]
    pub fn are_details_cut(&self) -> bool {
        self.cut & (1 << DETAILS_TAG) != 0
    }

    /// Cuts every text that is longer than its limit and marks its field.
    pub fn fit(&mut self) {
        let mut cut = 0_u16;
        let mut mark = |tag: u8, was_cut: bool| cut |= u16::from(was_cut) << tag;
        mark(1, cut_text(&mut self.source.topic, NAME_BYTES_MAX));
        match &mut self.receiver {
            Receiver::Group(group) => mark(2, cut_text(group, NAME_BYTES_MAX)),
            Receiver::Destination(destination) => mark(2, destination.fit()),
        }
        mark(6, cut_text(&mut self.reason, REASON_BYTES_MAX));
        mark(
            DETAILS_TAG,
            cut_option(&mut self.details, DETAILS_BYTES_MAX),
        );
        let first = &mut self.lineage.first_message_id;
        mark(10, cut_option(first, NAME_BYTES_MAX));
        mark(11, self.labels.len() > LABEL_COUNT_MAX);
        self.labels.truncate(LABEL_COUNT_MAX);
        for label in &mut self.labels {
            mark(11, cut_text(label, LABEL_BYTES_MAX));
        }
        mark(12, cut_option(&mut self.message_id, NAME_BYTES_MAX));
        mark(13, cut_option(&mut self.caller, NAME_BYTES_MAX));
        self.cut |= cut;
    }
}

impl Destination {
    fn weight(&self) -> usize {
        let parts = [
            &self.url_group,
            &self.endpoint,
            &self.queue,
            &self.schedule,
            &self.flow_control_key,
        ];
        let parts = parts.into_iter().flatten().map(String::len);
        [self.url.len(), self.method.len()]
            .into_iter()
            .chain(parts)
            .fold(0, usize::saturating_add)
    }

    fn fit(&mut self) -> bool {
        let mut was_cut = cut_text(&mut self.url, URL_BYTES_MAX);
        was_cut |= cut_text(&mut self.method, NAME_BYTES_MAX);
        for part in [
            &mut self.url_group,
            &mut self.endpoint,
            &mut self.queue,
            &mut self.schedule,
            &mut self.flow_control_key,
        ] {
            was_cut |= cut_option(part, NAME_BYTES_MAX);
        }
        was_cut
    }
}

/// Returns the source key of a record and the group that rejects it: see [`DeadLetter::source_key`].
#[must_use]
pub fn group_source_key(group: &str, partition: PartitionNumber, offset: Offset) -> u64 {
    source_key(1, kept(group, NAME_BYTES_MAX), partition, offset)
}

/// Returns the source key of a pushed record that died for this URL: see [`DeadLetter::source_key`].
#[must_use]
pub fn destination_source_key(url: &str, partition: PartitionNumber, offset: Offset) -> u64 {
    source_key(2, kept(url, URL_BYTES_MAX), partition, offset)
}

/// Returns what a letter keeps of a text.
fn kept(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or(text)
}

fn source_key(kind: u8, name: &str, partition: PartitionNumber, offset: Offset) -> u64 {
    let partition = partition.0.to_be_bytes();
    let offset = offset.0.to_be_bytes();
    hash64(&[&[kind], name.as_bytes(), &partition, &offset])
}

fn cut_option(text: &mut Option<String>, bytes_max: usize) -> bool {
    text.as_mut().is_some_and(|text| cut_text(text, bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_every_truncation() {
        let fingerprint = Fingerprint {
            version: 1,
            hash: 5,
        };
        let mut letter = DeadLetter {
            source: Source {
                topic: "t".to_owned(),
                partition_index: 1,
                partition: PartitionNumber(2),
                offset: Offset(3),
            },
            receiver: Receiver::Group("g".to_owned()),
            record: Record::default(),
            disposition: Disposition::REJECTED,
            died_at: TimestampMs(4),
            reason: "r".repeat(REASON_BYTES_MAX + 1),
            details: None,
            history: History::default(),
            fingerprint,
            lineage: Lineage::default(),
            labels: vec!["l".to_owned()],
            message_id: None,
            caller: None,
            cut: 0,
        };
        letter.fit();
        assert_eq!(
            (letter.reason.len(), letter.cut),
            (REASON_BYTES_MAX, 1 << 6)
        );
        let bytes = letter.encode();
        assert_eq!(DeadLetter::decode(&bytes), Ok(letter));
        for end in 0..bytes.len() {
            assert!(DeadLetter::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
