//! Reading and writing the values of letters, markers, envelopes and delivery entries: numbers, blocks with their length before them, and tagged fields.
//!
//! | item | bytes |
//! |---|---|
//! | number | fixed, big-endian |
//! | varint | 1 to 5: seven bits a byte, lowest first, high bit on all but the last; the shortest form only |
//! | block | varint length, then as many bytes |
//! | option | one byte 0, or one byte 1 and a block |
//! | tagged fields | any number of (tag u8, block), tags rising, so that each stands at most once and in one order |
//!
//! Reading is total: any bytes give a value or a [`Corruption`], and nothing is allocated from a length that was read.

use bytes::Bytes;

use crate::error::Corruption;

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte; `part` is what errors call the structure.
    pub(crate) fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, part }
    }

    /// Returns whether everything has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns everything that has not been read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Refuses bytes behind the last value.
    pub(crate) fn finish(self) -> Result<(), Corruption> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Corruption::Field {
            field: "bytes behind the end",
            value: length_u64(self.rest),
        })
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Corruption> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(Corruption::Truncated {
                part: self.part,
                needed: u64::try_from(count).unwrap_or(u64::MAX),
                available: length_u64(self.rest),
            });
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Corruption> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Corruption> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corruption> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Corruption> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Corruption> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u32, Corruption> {
        let mut value = 0_u64;
        for shift in [0_u32, 7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                return match u32::try_from(value) {
                    Ok(value) if is_shortest => Ok(value),
                    _ => Err(wrong("varint", value)),
                };
            }
        }
        Err(wrong("varint", value))
    }

    pub(crate) fn block(&mut self) -> Result<&'a [u8], Corruption> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.bytes(count)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, Corruption> {
        self.block().and_then(|bytes| text(field, bytes))
    }

    pub(crate) fn option(&mut self) -> Result<Option<&'a [u8]>, Corruption> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.block().map(Some),
            other => Err(wrong("option", u64::from(other))),
        }
    }
}

/// Reads tagged fields, whose tags rise.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    tag: u8,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(reader: Reader<'a>) -> Self {
        Self { reader, tag: 0 }
    }

    /// Returns the next field, or `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Corruption> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let tag = self.reader.u8()?;
        if tag <= self.tag {
            return Err(wrong("tag", u64::from(tag)));
        }
        self.tag = tag;
        self.reader.block().map(|bytes| Some((tag, bytes)))
    }
}

/// Says that a field has a value that nothing writes.
pub(crate) fn wrong(field: &'static str, value: u64) -> Corruption {
    Corruption::Field { field, value }
}

/// Says that a field that must stand is missing.
pub(crate) fn missing(part: &'static str) -> Corruption {
    Corruption::Truncated {
        part,
        needed: 1,
        available: 0,
    }
}

/// Reads text.
pub(crate) fn text(field: &'static str, bytes: &[u8]) -> Result<String, Corruption> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(wrong(
            field,
            u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX),
        )),
    }
}

/// Copies bytes, so that a letter does not keep the batch alive that it was read from.
pub(crate) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: u32) {
    let mut left = value;
    loop {
        let [.., low] = (left & 0x7f).to_be_bytes();
        left >>= 7;
        if left == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(crate) fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, length_u32(bytes));
    out.extend_from_slice(bytes);
}

pub(crate) fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(1);
            put_block(out, bytes);
        }
    }
}

pub(crate) fn put_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_block(out, bytes);
}

pub(crate) fn put_text_field(out: &mut Vec<u8>, tag: u8, text: Option<&str>) {
    if let Some(text) = text {
        put_field(out, tag, text.as_bytes());
    }
}

/// Returns the length as it stands on disk. What is written here is below 4 GiB by the limits of records and segments.
pub(crate) fn length_u32<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

pub(crate) fn length_u64<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// Cuts text to at most `bytes_max` bytes between two characters; returns whether anything was cut.
pub(crate) fn cut_text(text: &mut String, bytes_max: usize) -> bool {
    if text.len() <= bytes_max {
        return false;
    }
    text.truncate(text.floor_char_boundary(bytes_max));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_one_form() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new("varint", &out).varint(), Ok(value));
        }
        assert!(Reader::new("varint", &[0x80, 0]).varint().is_err());
        let too_large = [0xff, 0xff, 0xff, 0xff, 0x10];
        assert!(Reader::new("varint", &too_large).varint().is_err());
        assert!(Reader::new("varint", &[0xff; 9]).varint().is_err());
    }

    #[test]
    fn a_tag_stands_once() {
        let mut out = Vec::new();
        put_field(&mut out, 3, b"a");
        put_field(&mut out, 3, b"b");
        let mut fields = Fields::new(Reader::new("test", &out));
        assert_eq!(fields.next(), Ok(Some((3, &b"a"[..]))));
        assert_eq!(fields.next(), Err(wrong("tag", 3)));
    }

    #[test]
    fn text_is_cut_between_characters() {
        let mut text = "a\u{e9}\u{e9}".to_owned();
        assert!(cut_text(&mut text, 4));
        assert_eq!(text, "a\u{e9}");
        assert!(!cut_text(&mut text, 3));
    }
}
