//! Peeking at records, for people: a few records from an offset or a time.

use storage::batch::Record;
use storage::error::LogError;
use storage::limits::BATCH_BYTES_CEILING;
use storage::log::ReadBound;
use storage::offset::{Offset, TimestampMs};

use super::redacted::shown_record;
use super::{Broker, partition_of, refusal};
use crate::limits::PEEK_RECORD_COUNT_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Where a peek begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeekFrom {
    /// The first readable record.
    Earliest,
    /// A record.
    Offset(Offset),
    /// The first record appended at this time or later.
    Time(TimestampMs),
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeekedRecord {
    /// Its offset.
    pub offset: Offset,
    /// When it was appended, by the broker's clock.
    pub append_time: TimestampMs,
    /// The record, as people are shown it: without the broker's own headers, redacted where it says so.
    pub record: Record,
}

/// Bytes of records after which a peek ends: enough for a page.
const PEEK_BYTES_MAX: usize = 4 << 20;

impl Broker {
    /// Returns up to `count` records.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`], [`ErrorCode::OffsetOutOfRange`], [`ErrorCode::DamagedRecords`] with the range.
    pub fn peek(
        &self,
        topic: &str,
        partition: u32,
        from: PeekFrom,
        count: u32,
    ) -> Result<Vec<PeekedRecord>, Refusal> {
        if count > PEEK_RECORD_COUNT_MAX {
            let message =
                format!("{count} records are asked for, at most {PEEK_RECORD_COUNT_MAX} are shown");
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
        let topic = self.topic(topic)?;
        let partition = partition_of(&topic, partition)?;
        let reader = partition.reader();
        let of_log = |error: LogError| refusal::of_log(&error);
        let mut next = match from {
            PeekFrom::Earliest => reader.log_start(),
            PeekFrom::Offset(offset) => offset,
            PeekFrom::Time(time) => reader
                .offset_at_time(time)
                .map_err(of_log)?
                .unwrap_or_else(|| reader.high_watermark()),
        };
        let mut peeked = Vec::new();
        let mut bytes = 0;
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        if next > reader.high_watermark() || next < reader.log_start() {
            reader
                .read(next, 0, ReadBound::HighWatermark)
                .map_err(of_log)?;
        }
        while peeked.len() < wanted && bytes < PEEK_BYTES_MAX && next < reader.high_watermark() {
            let batch = reader
                .batch_at(next, ReadBound::HighWatermark)
                .map_err(of_log)?;
            let header = *batch.header();
            let records = batch
                .records(BATCH_BYTES_CEILING)
                .map_err(|reason| of_log(reader.undecodable(header.base_offset, reason)))?;
            for (at, mut record) in (header.base_offset.0..).zip(records) {
                if at >= next.0 && peeked.len() < wanted {
                    bytes = record.weight().saturating_add(bytes);
                    shown_record(&mut record);
                    peeked.push(PeekedRecord {
                        offset: Offset(at),
                        append_time: header.append_time,
                        record,
                    });
                }
            }
            next = header.next_offset();
        }
        Ok(peeked)
    }
}
