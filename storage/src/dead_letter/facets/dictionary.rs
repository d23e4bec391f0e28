//! The section of a field with few values: which letters have each value. The layout stands in the parent module.

use roaring::RoaringBitmap;

use crate::dead_letter::sealed::{bitmap, put_bitmap};
use crate::error::Corruption;
use crate::fields::{Reader, length_u32};

const ENTRY_BYTES: usize = 12;

/// One value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) value: &'a [u8],
    pub(super) letter_count: u64,
    packed: &'a [u8],
}

impl Entry<'_> {
    pub(super) fn bitmap(&self) -> Result<RoaringBitmap, Corruption> {
        bitmap("facet bitmap", self.packed)
    }
}

/// A section, checked when it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dictionary<'a> {
    entries: &'a [[u8; ENTRY_BYTES]],
    data: &'a [u8],
}

impl<'a> Dictionary<'a> {
    pub(super) fn read(section: &'a [u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new("dictionary", section);
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let table = reader.bytes(count.saturating_mul(ENTRY_BYTES))?;
        let (entries, _) = table.as_chunks();
        Ok(Self {
            entries,
            data: reader.rest(),
        })
    }

    /// Returns the letters with this value: none when it is not there.
    pub(super) fn find(&self, value: &[u8]) -> Result<RoaringBitmap, Corruption> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.value < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == self.entries.len() {
            return Ok(RoaringBitmap::new());
        }
        let entry = self.entry(low)?;
        if entry.value == value {
            entry.bitmap()
        } else {
            Ok(RoaringBitmap::new())
        }
    }

    /// Returns the values, rising.
    pub(super) fn entries(self) -> impl Iterator<Item = Result<Entry<'a>, Corruption>> {
        (0..self.entries.len()).map(move |at| self.entry(at))
    }

    fn entry(&self, at: usize) -> Result<Entry<'a>, Corruption> {
        let damaged = || Corruption::Field {
            field: "dictionary value",
            value: u64::try_from(at).unwrap_or(u64::MAX),
        };
        let (start, middle, letter_count) = self.numbers(at).ok_or_else(damaged)?;
        let end = self
            .numbers(at + 1)
            .map_or(self.data.len(), |(next, _, _)| next);
        Ok(Entry {
            value: self.data.get(start..middle).ok_or_else(damaged)?,
            packed: self.data.get(middle..end).ok_or_else(damaged)?,
            letter_count,
        })
    }

    fn numbers(&self, at: usize) -> Option<(usize, usize, u64)> {
        let mut reader = Reader::new("dictionary", self.entries.get(at)?);
        let start = usize::try_from(reader.u32().ok()?).ok()?;
        let middle = usize::try_from(reader.u32().ok()?).ok()?;
        Some((start, middle, u64::from(reader.u32().ok()?)))
    }
}

/// Appends a section. The values rise.
pub(super) fn encode<'a>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = (&'a [u8], &'a RoaringBitmap)>,
) {
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (value, set) in values {
        let start = length_u32(&data);
        data.extend_from_slice(value);
        let middle = length_u32(&data);
        put_bitmap(&mut data, set);
        // A segment has less than 2^32 letters, as its relative offsets have 32 bits.
        let letter_count = u32::try_from(set.len()).unwrap_or(u32::MAX);
        for number in [start, middle, letter_count] {
            table.extend_from_slice(&number.to_be_bytes());
        }
    }
    let count = length_u32(table.as_chunks::<ENTRY_BYTES>().0);
    out.extend_from_slice(&count.to_be_bytes());
    out.append(&mut table);
    out.append(&mut data);
}
