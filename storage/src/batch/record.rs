//! Records, in the encoding of Kafka's record batch v2, byte for byte.
//!
//! Numbers are zig-zag varints (see [`super::varint`]) but for the attributes.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | length | varint | bytes of the record behind this field |
//! | attributes | i8 | 0 |
//! | timestamp delta | varlong | ms, this record's timestamp minus the batch's first |
//! | offset delta | varint | 0 for the first record, one more for each that follows |
//! | key length | varint | -1 for no key |
//! | key | bytes | |
//! | value length | varint | -1 for no value |
//! | value | bytes | |
//! | header count | varint | |
//! | then for each header: name length | varint | |
//! | name | bytes | UTF-8; names that begin with [`RESERVED_PREFIX`] belong to the broker |
//! | value length | varint | -1 for no value |
//! | value | bytes | |
//!
//! Reading trusts no length: each is held against the bytes that are there before anything is done with it.

use bytes::Bytes;

use super::header::BatchHeader;
use super::varint::{VarintError, read_i32, read_i64};
use crate::error::{Corruption, RecordFault};
use crate::offset::TimestampMs;

/// Header names that begin so belong to the broker; a produced record with one is refused.
pub const RESERVED_PREFIX: &str = "redrive.";

/// One record header as it is written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// The name.
    pub name: &'a str,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewRecord<'a> {
    /// The record's time by the producer's clock.
    pub timestamp: TimestampMs,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; names may repeat.
    pub headers: &'a [HeaderRef<'a>],
}

/// A record that was read, borrowing from its unpacked section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The record's time by the producer's clock.
    pub timestamp: TimestampMs,
    /// Offset minus the batch's base offset.
    pub offset_delta: u32,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value, if it has one.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: HeadersRef<'a>,
}

/// The headers of a record that was read. They have been walked: iterating them cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadersRef<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> HeadersRef<'a> {
    /// Returns how many headers there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Iterates over the headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |index| {
            let (header, after) = read_header(rest, index).ok()?;
            rest = after;
            Some((header.name, header.value))
        })
    }

    /// Returns the value of the first header with this name; the inner `None` is a header without a value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The record's time by the producer's clock.
    pub timestamp: TimestampMs,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value, if it has one.
    pub value: Option<Bytes>,
    /// The headers, in order; names may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    /// Returns the bytes of key, value and headers together.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len().saturating_add(of(value)));
        headers.fold(
            of(&self.key).saturating_add(of(&self.value)),
            usize::saturating_add,
        )
    }

    /// Returns the value of the first header with this name; `None` also for a header without a value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        value.as_deref()
    }

    /// Returns the headers in the form that [`Record::as_new`] takes.
    #[must_use]
    pub fn header_refs(&self) -> Vec<HeaderRef<'_>> {
        self.headers
            .iter()
            .map(|(name, value)| HeaderRef {
                name,
                value: value.as_deref(),
            })
            .collect()
    }

    /// Returns the record in the form that a builder takes, with `headers` for its headers.
    #[must_use]
    pub fn as_new<'a>(&'a self, headers: &'a [HeaderRef<'a>]) -> NewRecord<'a> {
        NewRecord {
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }

    /// Takes over a record that borrows from `section`, without copying key and values.
    pub(super) fn share(section: &Bytes, record: &RecordRef<'_>) -> Self {
        let share = |part: &[u8]| section.slice_ref(part);
        Self::convert(record, share)
    }

    fn convert(record: &RecordRef<'_>, bytes: impl Fn(&[u8]) -> Bytes) -> Self {
        Self {
            timestamp: record.timestamp,
            key: record.key.map(&bytes),
            value: record.value.map(&bytes),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), value.map(&bytes)))
                .collect(),
        }
    }
}

impl From<&RecordRef<'_>> for Record {
    fn from(record: &RecordRef<'_>) -> Self {
        Self::convert(record, Bytes::copy_from_slice)
    }
}

/// Iterates over the records of an unpacked section. Ends after the first record that does not decode.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    section_bytes: usize,
    first_timestamp: TimestampMs,
    index: u32,
    count: u32,
    is_done: bool,
}

impl<'a> Records<'a> {
    /// Begins at the first record of `unpacked`, which must hold exactly the records that `header` counts.
    #[must_use]
    pub fn new(header: &BatchHeader, unpacked: &'a [u8]) -> Self {
        Self {
            rest: unpacked,
            section_bytes: unpacked.len(),
            first_timestamp: header.first_timestamp,
            index: 0,
            count: header.record_count,
            is_done: false,
        }
    }

    /// Returns the index of the record that comes next, and where it begins in the section.
    pub(super) fn place(&self) -> (u32, u32) {
        let position = self.section_bytes.saturating_sub(self.rest.len());
        (self.index, u32::try_from(position).unwrap_or(u32::MAX))
    }

    /// Reads the next record; `None` behind the last one. The place stays at a record that does not decode.
    #[inline]
    pub(super) fn read_next(&mut self) -> Result<Option<RecordRef<'a>>, RecordFault> {
        if self.index >= self.count {
            if self.rest.is_empty() {
                return Ok(None);
            }
            return Err(RecordFault::Trailing {
                part: "last record",
                bytes: bytes_u64(self.rest),
            });
        }
        let (record, rest) = read_record(self.rest, self.first_timestamp, self.index)?;
        self.rest = rest;
        self.index = self.index.wrapping_add(1);
        Ok(Some(record))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, Corruption>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        match self.read_next() {
            Ok(Some(record)) => Some(Ok(record)),
            Ok(None) => {
                self.is_done = true;
                None
            }
            Err(fault) => {
                self.is_done = true;
                let (index, position) = self.place();
                Some(Err(Corruption::Record {
                    index,
                    position,
                    fault,
                }))
            }
        }
    }
}

type Read<'a, T> = Result<(T, &'a [u8]), RecordFault>;

#[inline]
fn read_record(input: &[u8], first_timestamp: TimestampMs, index: u32) -> Read<'_, RecordRef<'_>> {
    let (length, input) = varint(input, "record length")?;
    let (body, after) = take(input, length, "record")?;
    let (attributes, body) = body
        .split_first()
        .ok_or_else(|| truncated("record attributes", 1, body))?;
    if *attributes != 0 {
        return Err(unexpected("attributes", i64::from(*attributes), 0));
    }
    let (delta, body) = read_i64(body).map_err(|e| number(e, "timestamp delta", body))?;
    let timestamp = first_timestamp
        .0
        .checked_add(delta)
        .ok_or(RecordFault::Timestamp { delta })?;
    let (offset_delta, body) = varint(body, "offset delta")?;
    if i64::from(offset_delta) != i64::from(index) {
        return Err(unexpected(
            "offset delta",
            i64::from(offset_delta),
            i64::from(index),
        ));
    }
    let (key, body) = nullable(body, "key length")?;
    let (value, body) = nullable(body, "value length")?;
    let (headers, body) = read_headers(body)?;
    if !body.is_empty() {
        return Err(RecordFault::Trailing {
            part: "record's last part",
            bytes: bytes_u64(body),
        });
    }
    let record = RecordRef {
        timestamp: TimestampMs(timestamp),
        offset_delta: index,
        key,
        value,
        headers,
    };
    Ok((record, after))
}

#[inline]
fn read_headers(input: &[u8]) -> Read<'_, HeadersRef<'_>> {
    let (count, bytes) = varint(input, "header count")?;
    let Ok(count) = u32::try_from(count) else {
        return Err(negative("header count", count, 0));
    };
    if count == 0 {
        return Ok((HeadersRef::default(), bytes));
    }
    let mut rest = bytes;
    for index in 0..count {
        (_, rest) = read_header(rest, index)?;
    }
    let used = bytes.len().saturating_sub(rest.len());
    let (bytes, rest) = bytes.split_at_checked(used).unwrap_or((bytes, rest));
    Ok((HeadersRef { count, bytes }, rest))
}

fn read_header(input: &[u8], index: u32) -> Read<'_, HeaderRef<'_>> {
    let (length, rest) = varint(input, "header name length")?;
    let (name, rest) = take(rest, length, "header name")?;
    let name =
        std::str::from_utf8(name).map_err(|_error| RecordFault::HeaderName { header: index })?;
    let (value, rest) = nullable(rest, "header value length")?;
    Ok((HeaderRef { name, value }, rest))
}

#[inline]
fn varint<'a>(input: &'a [u8], part: &'static str) -> Read<'a, i32> {
    read_i32(input).map_err(|error| number(error, part, input))
}

#[inline]
fn nullable<'a>(input: &'a [u8], part: &'static str) -> Read<'a, Option<&'a [u8]>> {
    let (length, rest) = varint(input, part)?;
    if length == -1 {
        return Ok((None, rest));
    }
    if length < -1 {
        return Err(negative(part, length, -1));
    }
    let (bytes, rest) = take(rest, length, part)?;
    Ok((Some(bytes), rest))
}

#[inline]
fn take<'a>(input: &'a [u8], length: i32, part: &'static str) -> Read<'a, &'a [u8]> {
    let Ok(bytes) = usize::try_from(length) else {
        return Err(negative(part, length, 0));
    };
    input
        .split_at_checked(bytes)
        .ok_or_else(|| truncated(part, u64::from(length.unsigned_abs()), input))
}

#[cold]
fn truncated(part: &'static str, needed: u64, input: &[u8]) -> RecordFault {
    RecordFault::Truncated {
        part,
        needed,
        available: bytes_u64(input),
    }
}

#[cold]
fn number(error: VarintError, part: &'static str, input: &[u8]) -> RecordFault {
    match error {
        VarintError::Truncated => truncated(part, bytes_u64(input).saturating_add(1), input),
        VarintError::Malformed => RecordFault::Varint { part },
    }
}

#[cold]
fn unexpected(part: &'static str, found: i64, expected: i64) -> RecordFault {
    RecordFault::Field {
        part,
        found,
        expected,
    }
}

#[cold]
fn negative(part: &'static str, found: i32, least: i64) -> RecordFault {
    RecordFault::Negative {
        part,
        found: i64::from(found),
        least,
    }
}

fn bytes_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
