//! Record batches: bytes <-> values, with no input or output.
//!
//! A batch is the unit of append, checksum, compression and transfer: the same bytes on the wire, in memory and on disk.

mod attributes;
mod fields;
pub mod header;
pub mod varint;
pub mod record;
pub mod owned;
mod lz4_frame;
pub mod codec;
mod measure;
pub mod builder;
pub mod check;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use builder::{BatchBuilder, BrokerMark, BuildError, BuildOptions};
pub use check::{BatchLimits, BatchRefusal, check_produced};
pub use codec::unpack;
pub use header::{Attributes, BatchHeader, Codec, HEADER_BYTES, HEADER_BYTES_U32, Producer, Stamp};
pub use owned::Record;
pub use record::{HeaderRef, HeadersRef, NewRecord, RESERVED_PREFIX, RecordRef, Records};

use crate::error::Corruption;
use crate::offset::Offset;

/// A whole batch whose two checksums have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Checks that `bytes` are exactly one batch, with its header and body checksum.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: Bytes) -> Result<Self, Corruption> {
        let header = BatchHeader::decode(&bytes)?;
        header.check_body(bytes.get(HEADER_BYTES..).unwrap_or_default())?;
        Ok(Self { header, bytes })
    }

    /// Takes the first batch off bytes that hold one or more.
    ///
    /// # Errors
    /// As [`Batch::decode`].
    pub fn decode_first(bytes: &mut Bytes) -> Result<Self, Corruption> {
        let header = BatchHeader::decode(bytes)?;
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        Self::decode(bytes.split_to(length.min(bytes.len())))
    }

    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Returns header and records section.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the records section as it was sent.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Returns the records section before compression, without a copy when it is not compressed.
    ///
    /// # Errors
    /// As [`unpack`], which must not give more than `unpacked_bytes_max`.
    pub fn section(&self, unpacked_bytes_max: u32) -> Result<Bytes, Corruption> {
        match unpack(&self.header, self.body(), unpacked_bytes_max)? {
            std::borrow::Cow::Borrowed(section) => Ok(self.bytes.slice_ref(section)),
            std::borrow::Cow::Owned(section) => Ok(Bytes::from(section)),
        }
    }

    /// Returns all records; the section before compression must not have more than `unpacked_bytes_max`.
    ///
    /// # Errors
    /// As [`unpack`]; [`Corruption::Record`] for a record that does not decode.
    pub fn records(&self, unpacked_bytes_max: u32) -> Result<Vec<Record>, Corruption> {
        let section = self.section(unpacked_bytes_max)?;
        Records::new(&self.header, &section)
            .map(|record| record.map(|record| Record::share(&section, &record)))
            .collect()
    }

    /// Returns the values of all records, without keys and headers; as [`Batch::records`].
    ///
    /// # Errors
    /// As [`Batch::records`].
    pub fn values(&self, unpacked_bytes_max: u32) -> Result<Vec<Option<Bytes>>, Corruption> {
        let section = self.section(unpacked_bytes_max)?;
        Records::new(&self.header, &section)
            .map(|record| record.map(|record| record.value.map(|value| section.slice_ref(value))))
            .collect()
    }
}

/// Returns the first offset behind whole batches that stand one behind the other; `None` when there is none, or when the last
/// one is cut short.
#[must_use]
pub fn end_of(mut batches: &[u8]) -> Option<Offset> {
    let mut end = None;
    while let Ok(header) = BatchHeader::decode(batches) {
        let length = usize::try_from(header.length).ok()?;
        batches = batches.get(length..)?;
        end = Some(header.next_offset());
    }
    end
}
