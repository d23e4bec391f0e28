//! From the bytes of a fetch to batches and records. Pure.

use bytes::Bytes;
use storage::batch::{Batch, BatchHeader, Record, RecordRef, Records};
use storage::cause::GROUP_HEADER;
use storage::error::Corruption;
use storage::limits::BATCH_BYTES_CEILING;
use storage::offset::Offset;

/// Splits the bytes of a fetch into batches and checks both checksums of each, and that their offsets rise from `position`
/// on.
///
/// # Errors
/// The [`Corruption`] that was met first; the batches before it are not returned.
pub fn split(mut bytes: Bytes, position: Offset) -> Result<Vec<Batch>, Corruption> {
    let mut batches = Vec::new();
    let mut position = position;
    while !bytes.is_empty() {
        let length = BatchHeader::decode(&bytes)?.length;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Err(Corruption::Truncated {
                part: "batch",
                needed: u64::try_from(length).unwrap_or(u64::MAX),
                available: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            });
        }
        let batch = Batch::decode(bytes.split_to(length))?;
        let next = batch.header().next_offset();
        // The first batch may begin before the position, but every one must lead beyond what came before.
        if next <= position {
            return Err(Corruption::OffsetGap {
                found: batch.header().base_offset,
                expected: position,
            });
        }
        position = next;
        batches.push(batch);
    }
    Ok(batches)
}

/// Returns the records of a batch with their offsets: those from `position` on, and of those that the broker wrote for one
/// group only the ones for this reader.
///
/// # Errors
/// The [`Corruption`] that was met first.
pub fn records_from(
    batch: &Batch,
    position: Offset,
    reader: &Reader,
) -> Result<Vec<(Offset, Record)>, Corruption> {
    let header = batch.header();
    let section = batch.section(BATCH_BYTES_CEILING)?;
    let mut records = Vec::new();
    for (delta, record) in (0..).zip(Records::new(header, &section)) {
        let record = record?;
        let Some(offset) = header.base_offset.checked_add(delta) else {
            continue;
        };
        // Only in a batch that the broker built does the header mean anything.
        let is_for_reader = !header.attributes.is_broker_built || reader.reads(group_of(&record));
        if offset >= position && is_for_reader {
            records.push((offset, Record::share(&section, &record)));
        }
    }
    Ok(records)
}

/// For whom records are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reader {
    /// The group, if it is one.
    pub group: Option<String>,
    /// Whether records that are for one group alone are read whatever the group.
    pub all_groups: bool,
}

impl Reader {
    /// Returns whether a record is read that is for `named` alone, or for everybody.
    fn reads(&self, named: Option<&[u8]>) -> bool {
        match named {
            None => true,
            Some(named) => {
                self.all_groups || self.group.as_deref().map(str::as_bytes) == Some(named)
            }
        }
    }
}

/// Returns the group that the record is for alone.
fn group_of<'a>(record: &RecordRef<'a>) -> Option<&'a [u8]> {
    record.headers.get(GROUP_HEADER).flatten()
}
