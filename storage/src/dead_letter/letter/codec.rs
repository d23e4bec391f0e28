//! A dead letter as bytes, in the layout that the folder's documentation gives.

use bytes::Bytes;

use super::{
    DeadLetter, Destination, Disposition, LETTER_KIND, LETTER_VERSION, Lineage, Receiver, Source,
};
use crate::batch::Record;
use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::history::History;
use crate::error::Corruption;
use crate::fields::{
    Fields, Reader, missing, owned, put_block, put_field, put_option, put_text_field, text, wrong,
};
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

impl DeadLetter {
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

    /// Decodes a letter, with bytes of its own.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        Self::decode_with(bytes, &owned)
    }

    /// As [`DeadLetter::decode`]; the record's bytes are shared with those that it is read from, and keep them alive.
    ///
    /// # Errors
    /// As [`DeadLetter::decode`].
    pub fn decode_shared(bytes: &Bytes) -> Result<Self, Corruption> {
        Self::decode_with(bytes, &|part| bytes.slice_ref(part))
    }

    fn decode_with(bytes: &[u8], keep: &impl Fn(&[u8]) -> Bytes) -> Result<Self, Corruption> {
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
        decode_slots(&slots, keep)
    }
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

pub(crate) fn encode_record(record: &Record) -> Vec<u8> {
    let mut out = record.timestamp.0.to_be_bytes().to_vec();
    put_option(&mut out, record.key.as_deref());
    put_option(&mut out, record.value.as_deref());
    for (name, value) in &record.headers {
        put_block(&mut out, name.as_bytes());
        put_option(&mut out, value.as_deref());
    }
    out
}

fn decode_slots(
    slots: &[Option<&[u8]>; 15],
    keep: &impl Fn(&[u8]) -> Bytes,
) -> Result<DeadLetter, Corruption> {
    let slot = |tag: usize| slots.get(tag).copied().flatten();
    let need = |tag: usize, part| slot(tag).ok_or_else(|| missing(part));
    let optional = |tag, part| slot(tag).map(|bytes| text(part, bytes)).transpose();
    let fingerprint = need(9, "fingerprint")?;
    Ok(DeadLetter {
        source: decode_source(need(1, "source")?)?,
        receiver: decode_receiver(need(2, "receiver")?)?,
        record: decode_record_with(need(3, "record")?, keep)?,
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

pub(crate) fn decode_record(bytes: &[u8]) -> Result<Record, Corruption> {
    decode_record_with(bytes, &owned)
}

fn decode_record_with(bytes: &[u8], keep: &impl Fn(&[u8]) -> Bytes) -> Result<Record, Corruption> {
    let mut reader = Reader::new("record", bytes);
    let mut record = Record {
        timestamp: TimestampMs(reader.i64()?),
        key: reader.option()?.map(keep),
        value: reader.option()?.map(keep),
        headers: Vec::new(),
    };
    while !reader.is_empty() {
        let name = reader.text("header name")?;
        record.headers.push((name, reader.option()?.map(keep)));
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
