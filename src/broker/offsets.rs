//! Places in logs: earliest, latest, by time; and ids for idempotent producers.

use storage::control::Entry;
use storage::log::ReadBound;
use storage::offset::Offset;

use super::{Broker, partition_of, refusal};
use crate::limits::{PARTITIONS_PER_REQUEST_MAX, PRODUCER_ID_BLOCK};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::list_offsets::{
    FoundOffset, ListOffsetsAnswer, ListOffsetsRequest, Place, PlaceInPartition,
};
use crate::protocol::producer_id::ProducerIdAnswer;

impl Broker {
    /// Finds the offsets of places.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] when too much is asked for.
    pub fn list_offsets(&self, request: &ListOffsetsRequest) -> Result<ListOffsetsAnswer, Refusal> {
        let count = request.partitions.len();
        if count > usize::try_from(PARTITIONS_PER_REQUEST_MAX).unwrap_or(usize::MAX) {
            let message = format!(
                "{count} partitions are asked for, at most {PARTITIONS_PER_REQUEST_MAX} are answered"
            );
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
        let partitions = request
            .partitions
            .iter()
            .map(|place| self.find_offset(place))
            .collect();
        Ok(ListOffsetsAnswer { partitions })
    }

    fn find_offset(&self, wanted: &PlaceInPartition) -> Result<FoundOffset, Refusal> {
        let topic = self.topic(&wanted.topic)?;
        let partition = partition_of(&topic, wanted.partition)?;
        let reader = partition.reader();
        let at = |offset: Offset| FoundOffset {
            offset,
            append_time: None,
        };
        match wanted.place {
            Place::Earliest => Ok(at(reader.log_start())),
            Place::Latest => Ok(at(reader.high_watermark())),
            Place::AppendedAt(time) => {
                // The end is read first: what comes in between is at or above it.
                let end = reader.high_watermark();
                let found = reader
                    .offset_at_time(time)
                    .map_err(|error| refusal::of_log(&error))?;
                let Some(offset) = found else {
                    return Ok(at(end));
                };
                let batch = reader
                    .batch_at(offset, ReadBound::HighWatermark)
                    .map_err(|error| refusal::of_log(&error))?;
                Ok(FoundOffset {
                    offset,
                    append_time: Some(batch.header().append_time),
                })
            }
        }
    }

    /// Hands out a producer id that nobody ever had. Blocks on the disk when a new block is due.
    ///
    /// # Errors
    /// The control log's.
    pub fn producer_id(&self) -> Result<ProducerIdAnswer, Refusal> {
        let mut block = self.next_producer_id.lock();
        if block.is_empty() {
            *block = self.control.change(self.clock.now(), |state| {
                let first = state.next_producer_id();
                let entry = Entry::ProducerIdBlock {
                    first,
                    count: PRODUCER_ID_BLOCK,
                };
                Ok((
                    entry,
                    first..first.saturating_add(u64::from(PRODUCER_ID_BLOCK)),
                ))
            })?;
        }
        let id = block
            .next()
            .ok_or_else(|| Refusal::new(ErrorCode::Internal, "no producer id is left"))?;
        Ok(ProducerIdAnswer { id, epoch: 0 })
    }
}
