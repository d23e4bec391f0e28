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

use super::fields::{
    Fields, Reader, cut_text, missing, owned, put_block, put_field, put_option, put_text_field,
    text, wrong,
};
use super::fingerprint::{Fingerprint, FingerprintParts, host_of};
use super::hash::hash64;
use super::history::History;
use super::limits::{
    DETAILS_BYTES_MAX, LABEL_BYTES_MAX, LABEL_COUNT_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX,
    URL_BYTES_MAX,
};
use crate::batch::Record;
use crate::error::Corruption;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// Opens every letter.
pub const LETTER_KIND: u8 = 1;
/// The version of this layout.
pub const LETTER_VERSION: u8 = 1;

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

/// Where a pushed record was to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// Who should have taken the record.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl DeadLetter {
    /// Returns the 64-bit key of (group or destination, partition number, offset): the same record dies once for each receiver.
    #[must_use]
    pub fn source_key(&self) -> u64 {
        let (kind, name) = match &self.receiver {
            Receiver::Group(group) => (1, group.as_str()),
            Receiver::Destination(destination) => (2, destination.url.as_str()),
        };
        source_key(kind, name, self.source.partition, self.source.offset)
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
        mark(7, cut_option(&mut self.details, DETAILS_BYTES_MAX));
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

    /// Encodes the letter. Call [`DeadLetter::fit`] before, or it may be larger than the log takes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![LETTER_KIND, LETTER_VERSION];
        let mut field = Vec::new();
        put_block(&mut field, self.source.topic.as_bytes());
        field.extend_from_slice(&self.source.partition_index.to_be_bytes());
        field.extend_from_slice(&self.source.partition.0.to_be_bytes());
        field.extend_from_slice(&self.source.offset.0.to_be_bytes());
        put_field(&mut out, 1, &field);
        put_field(&mut out, 2, &encode_receiver(&self.receiver));
        put_field(&mut out, 3, &encode_record(&self.record));
        put_field(&mut out, 4, &[self.disposition.0]);
        put_field(&mut out, 5, &self.died_at.0.to_be_bytes());
        put_field(&mut out, 6, self.reason.as_bytes());
        put_text_field(&mut out, 7, self.details.as_deref());
        put_field(&mut out, 8, &self.history.encode());
        put_field(&mut out, 9, &self.fingerprint.bytes());
        field.clear();
        field.extend_from_slice(&self.lineage.republished.to_be_bytes());
        let first = self.lineage.first_message_id.as_deref();
        put_option(&mut field, first.map(str::as_bytes));
        put_field(&mut out, 10, &field);
        field.clear();
        for label in &self.labels {
            put_block(&mut field, label.as_bytes());
        }
        if !self.labels.is_empty() {
            put_field(&mut out, 11, &field);
        }
        put_text_field(&mut out, 12, self.message_id.as_deref());
        put_text_field(&mut out, 13, self.caller.as_deref());
        put_field(&mut out, 14, &self.cut.to_be_bytes());
        out
    }

    /// Decodes a letter.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("letter", bytes);
        let kind = reader.u8()?;
        if kind != LETTER_KIND {
            return Err(wrong("letter kind", u64::from(kind)));
        }
        let version = reader.u8()?;
        if version != LETTER_VERSION {
            return Err(wrong("letter version", u64::from(version)));
        }
        let mut slots = [None; 15];
        let mut fields = Fields::new(reader);
        while let Some((tag, bytes)) = fields.next()? {
            match slots.get_mut(usize::from(tag)) {
                Some(slot) => *slot = Some(bytes),
                None => return Err(wrong("letter tag", u64::from(tag))),
            }
        }
        decode_slots(&slots)
    }
}

impl Destination {
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
    source_key(1, group, partition, offset)
}

fn source_key(kind: u8, name: &str, partition: PartitionNumber, offset: Offset) -> u64 {
    let partition = partition.0.to_be_bytes();
    let offset = offset.0.to_be_bytes();
    hash64(&[&[kind], name.as_bytes(), &partition, &offset])
}

fn cut_option(text: &mut Option<String>, bytes_max: usize) -> bool {
    text.as_mut().is_some_and(|text| cut_text(text, bytes_max))
}

fn encode_receiver(receiver: &Receiver) -> Vec<u8> {
    let destination = match receiver {
        Receiver::Group(group) => return [&[1], group.as_bytes()].concat(),
        Receiver::Destination(destination) => destination,
    };
    let mut out = vec![2];
    put_field(&mut out, 1, destination.url.as_bytes());
    put_field(&mut out, 2, destination.method.as_bytes());
    put_text_field(&mut out, 3, destination.url_group.as_deref());
    put_text_field(&mut out, 4, destination.endpoint.as_deref());
    put_text_field(&mut out, 5, destination.queue.as_deref());
    put_text_field(&mut out, 6, destination.schedule.as_deref());
    put_text_field(&mut out, 7, destination.flow_control_key.as_deref());
    out
}

fn encode_record(record: &Record) -> Vec<u8> {
    let mut out = record.timestamp.0.to_be_bytes().to_vec();
    put_option(&mut out, record.key.as_deref());
    put_option(&mut out, record.value.as_deref());
    for (name, value) in &record.headers {
        put_block(&mut out, name.as_bytes());
        put_option(&mut out, value.as_deref());
    }
    out
}

fn decode_slots(slots: &[Option<&[u8]>; 15]) -> Result<DeadLetter, Corruption> {
    let slot = |tag: usize| slots.get(tag).copied().flatten();
    let need = |tag: usize, part| slot(tag).ok_or_else(|| missing(part));
    let optional = |tag, part| slot(tag).map(|bytes| text(part, bytes)).transpose();
    let fingerprint = need(9, "fingerprint")?;
    Ok(DeadLetter {
        source: decode_source(need(1, "source")?)?,
        receiver: decode_receiver(need(2, "receiver")?)?,
        record: decode_record(need(3, "record")?)?,
        disposition: Disposition(whole("disposition", need(4, "disposition")?, Reader::u8)?),
        died_at: TimestampMs(whole("died at", need(5, "died at")?, Reader::i64)?),
        reason: text("reason", need(6, "reason")?)?,
        details: optional(7, "details")?,
        history: History::decode(need(8, "history")?)?,
        fingerprint: Fingerprint::from_bytes(fingerprint).ok_or_else(|| missing("fingerprint"))?,
        lineage: decode_lineage(need(10, "lineage")?)?,
        labels: slot(11).map_or(Ok(Vec::new()), decode_labels)?,
        message_id: optional(12, "message id")?,
        caller: optional(13, "caller")?,
        cut: whole("cut", need(14, "cut")?, Reader::u16)?,
    })
}

/// Reads a field that holds one value and nothing else.
fn whole<'a, T>(
    part: &'static str,
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Corruption>,
) -> Result<T, Corruption> {
    let mut reader = Reader::new(part, bytes);
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

fn decode_source(bytes: &[u8]) -> Result<Source, Corruption> {
    whole("source", bytes, |reader| {
        Ok(Source {
            topic: reader.text("topic")?,
            partition_index: reader.u32()?,
            partition: PartitionNumber(reader.u32()?),
            offset: Offset(reader.u64()?),
        })
    })
}

fn decode_receiver(bytes: &[u8]) -> Result<Receiver, Corruption> {
    let mut reader = Reader::new("receiver", bytes);
    match reader.u8()? {
        1 => text("group", reader.rest()).map(Receiver::Group),
        2 => decode_destination(reader).map(Receiver::Destination),
        other => Err(wrong("receiver", u64::from(other))),
    }
}

fn decode_destination(reader: Reader<'_>) -> Result<Destination, Corruption> {
    let (mut url, mut method) = (None, None);
    let mut destination = Destination::default();
    let mut fields = Fields::new(reader);
    while let Some((tag, bytes)) = fields.next()? {
        let place = match tag {
            1 => &mut url,
            2 => &mut method,
            3 => &mut destination.url_group,
            4 => &mut destination.endpoint,
            5 => &mut destination.queue,
            6 => &mut destination.schedule,
            7 => &mut destination.flow_control_key,
            _ => return Err(wrong("destination tag", u64::from(tag))),
        };
        *place = Some(text("destination", bytes)?);
    }
    destination.url = url.ok_or_else(|| missing("url"))?;
    destination.method = method.ok_or_else(|| missing("method"))?;
    Ok(destination)
}

fn decode_record(bytes: &[u8]) -> Result<Record, Corruption> {
    let mut reader = Reader::new("record", bytes);
    let mut record = Record {
        timestamp: TimestampMs(reader.i64()?),
        key: reader.option()?.map(owned),
        value: reader.option()?.map(owned),
        headers: Vec::new(),
    };
    while !reader.is_empty() {
        let name = reader.text("header name")?;
        record.headers.push((name, reader.option()?.map(owned)));
    }
    Ok(record)
}

fn decode_lineage(bytes: &[u8]) -> Result<Lineage, Corruption> {
    whole("lineage", bytes, |reader| {
        let republished = reader.u32()?;
        let first = reader.option()?;
        Ok(Lineage {
            republished,
            first_message_id: first.map(|id| text("first message id", id)).transpose()?,
        })
    })
}

fn decode_labels(bytes: &[u8]) -> Result<Vec<String>, Corruption> {
    let mut reader = Reader::new("labels", bytes);
    let mut labels = Vec::new();
    while !reader.is_empty() {
        labels.push(reader.text("label")?);
    }
    Ok(labels)
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
