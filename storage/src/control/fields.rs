//! Fields of control entries, one after the other: numbers big-endian, texts and lists behind a u32 length.
//!
//! A length or count is compared with the bytes that are left before anything is allocated from it.

use crate::error::Corruption;

/// Reads fields from the front of a slice.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    part: &'static str,
}

impl<'a> Fields<'a> {
    /// Reads `bytes`, which errors call `part`.
    pub(super) fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, part }
    }

    fn truncated(&self, needed: u64) -> Corruption {
        Corruption::Truncated {
            part: self.part,
            needed,
            available: length(self.rest.len()),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated(length(N)))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Corruption> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Corruption> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Corruption> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Corruption> {
        self.take().map(i64::from_be_bytes)
    }

    /// Reads the bytes behind a u32 length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Corruption> {
        let needed = self.u32()?;
        let (head, rest) = usize::try_from(needed)
            .ok()
            .and_then(|needed| self.rest.split_at_checked(needed))
            .ok_or_else(|| self.truncated(u64::from(needed)))?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads a text behind a u32 length.
    pub(super) fn text(&mut self, field: &'static str) -> Result<String, Corruption> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|e| Corruption::Field {
                field,
                value: length(e.valid_up_to()),
            })
    }

    /// Reads the count of a list whose items have at least `item_bytes_min` bytes each.
    pub(super) fn count(&mut self, item_bytes_min: u64) -> Result<u32, Corruption> {
        let count = self.u32()?;
        let needed = u64::from(count).saturating_mul(item_bytes_min);
        if needed > length(self.rest.len()) {
            return Err(self.truncated(needed));
        }
        Ok(count)
    }

    /// Reads a value behind a byte that says whether there is one.
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Corruption>,
    ) -> Result<Option<T>, Corruption> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            other => Err(Corruption::Field {
                field,
                value: u64::from(other),
            }),
        }
    }

    /// Reads a truth.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, Corruption> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Corruption::Field {
                field,
                value: u64::from(other),
            }),
        }
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<(), Corruption> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Corruption::Field {
            field: "bytes behind the last field",
            value: length(self.rest.len()),
        })
    }
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub(super) struct Output(pub(super) Vec<u8>);

impl Output {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.extend_from_slice(value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Writes a count. What is counted has a limit far below `u32::MAX`, so nothing is held back here.
    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
