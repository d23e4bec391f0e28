//! A record that owns its bytes, to and from the borrowing forms.

use std::fmt;

use bytes::Bytes;

use super::record::{HeaderRef, NewRecord, RecordRef};
use crate::hidden::Hidden;
use crate::offset::TimestampMs;

/// A record that owns its bytes. `Debug` shows how long key, value and headers are.
#[derive(Clone, PartialEq, Eq, Default)]
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

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name, value.as_deref().map(Hidden)))
            .collect();
        f.debug_struct("Record")
            .field("timestamp", &self.timestamp)
            .field("key", &self.key.as_deref().map(Hidden))
            .field("value", &self.value.as_deref().map(Hidden))
            .field("headers", &headers)
            .finish()
    }
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

    /// Returns a copy with bytes of its own: it does not keep the batch alive that the record was read from.
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |part: &Bytes| Bytes::copy_from_slice(part);
        let header =
            |(name, value): &(String, Option<Bytes>)| (name.clone(), value.as_ref().map(copy));
        Self {
            timestamp: self.timestamp,
            key: self.key.as_ref().map(copy),
            value: self.value.as_ref().map(copy),
            headers: self.headers.iter().map(header).collect(),
        }
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
    ///
    /// # Panics
    /// When the record borrows from something else.
    #[must_use]
    pub fn share(section: &Bytes, record: &RecordRef<'_>) -> Self {
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
