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

use super::header::BatchHeader;
use super::varint::{VarintError, read_i64, read_u32, unzigzag_i32 as signed, zigzag_i32};
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

/// How faults call a part with a length, and its length.
#[derive(Debug, Clone, Copy)]
struct Part {
    name: &'static str,
    length: &'static str,
}

const RECORD: Part = Part {
    name: "record",
    length: "record length",
};
const KEY: Part = Part {
    name: "key",
    length: "key length",
};
const VALUE: Part = Part {
    name: "value",
    length: "value length",
};
const HEADER_NAME: Part = Part {
    name: "header name",
    length: "header name length",
};
const HEADER_VALUE: Part = Part {
    name: "header value",
    length: "header value length",
};

#[inline]
fn read_record(input: &[u8], first_timestamp: TimestampMs, index: u32) -> Read<'_, RecordRef<'_>> {
    let (body, after) = take(input, RECORD)?;
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
    if u64::from(offset_delta) != u64::from(index) << 1 {
        let found = i64::from(signed(offset_delta));
        return Err(unexpected("offset delta", found, i64::from(index)));
    }
    let (key, body) = take_nullable(body, KEY)?;
    let (value, body) = take_nullable(body, VALUE)?;
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
    if count == 0 {
        return Ok((HeadersRef::default(), bytes));
    }
    if is_negative(count) {
        return Err(negative("header count", count, 0));
    }
    walk_headers(count >> 1, bytes)
}

fn walk_headers(count: u32, bytes: &[u8]) -> Read<'_, HeadersRef<'_>> {
    let mut rest = bytes;
    for index in 0..count {
        (_, rest) = read_header(rest, index)?;
    }
    let used = bytes.len().saturating_sub(rest.len());
    let (bytes, rest) = bytes.split_at_checked(used).unwrap_or((bytes, rest));
    Ok((HeadersRef { count, bytes }, rest))
}

fn read_header(input: &[u8], index: u32) -> Read<'_, HeaderRef<'_>> {
    let (name, rest) = take(input, HEADER_NAME)?;
    let name =
        std::str::from_utf8(name).map_err(|_error| RecordFault::HeaderName { header: index })?;
    let (value, rest) = take_nullable(rest, HEADER_VALUE)?;
    Ok((HeaderRef { name, value }, rest))
}

/// Reads a zig-zag number and leaves it so: lengths and counts need no more than to know that it is not negative.
#[inline]
fn varint<'a>(input: &'a [u8], part: &'static str) -> Read<'a, u32> {
    read_u32(input).map_err(|error| number(error, part, input))
}

#[inline]
fn is_negative(zigzag: u32) -> bool {
    zigzag & 1 != 0
}

#[inline]
fn take(input: &[u8], part: Part) -> Read<'_, &[u8]> {
    let (length, rest) = varint(input, part.length)?;
    if is_negative(length) {
        return Err(negative(part.length, length, 0));
    }
    split(rest, length >> 1, part)
}

#[inline]
fn take_nullable(input: &[u8], part: Part) -> Read<'_, Option<&[u8]>> {
    const NULL: u32 = zigzag_i32(-1);
    let (length, rest) = varint(input, part.length)?;
    if is_negative(length) {
        return if length == NULL {
            Ok((None, rest))
        } else {
            Err(negative(part.length, length, -1))
        };
    }
    let (bytes, rest) = split(rest, length >> 1, part)?;
    Ok((Some(bytes), rest))
}

#[inline]
fn split(input: &[u8], length: u32, part: Part) -> Read<'_, &[u8]> {
    usize::try_from(length)
        .ok()
        .and_then(|bytes| input.split_at_checked(bytes))
        .ok_or_else(|| truncated(part.name, u64::from(length), input))
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
fn negative(part: &'static str, zigzag: u32, least: i64) -> RecordFault {
    RecordFault::Negative {
        part,
        found: i64::from(signed(zigzag)),
        least,
    }
}

fn bytes_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
