//! Reads that are answered from the batches appended last, or into buffers that are used again.

use std::sync::Arc;

use bytes::Bytes;

use super::reader::{LogReader, ReadBound};
use super::recent::FetchMemory;
use crate::buffers::Buffers;
use crate::error::LogError;
use crate::offset::Offset;

impl LogReader {
    /// As [`LogReader::read`] up to the high watermark, for a consumer: from the batches appended last, or into a buffer that
    /// is used again.
    ///
    /// # Errors
    /// As [`LogReader::read`].
    pub fn fetch(
        &self,
        from: Offset,
        bytes_max: u64,
        memory: &Arc<FetchMemory>,
    ) -> Result<Bytes, LogError> {
        if let Some(batches) = self.recent(from, bytes_max, memory) {
            return Ok(batches);
        }
        self.lend(from, bytes_max, ReadBound::HighWatermark, &memory.buffers)
    }

    /// As [`LogReader::read`], into one of `buffers`, which goes back there when nobody holds what was read.
    pub(crate) fn lend(
        &self,
        from: Offset,
        bytes_max: u64,
        bound: ReadBound,
        buffers: &Arc<Buffers>,
    ) -> Result<Bytes, LogError> {
        let mut buffer = buffers.take();
        let read = self.read_into(from, bytes_max, bound, &mut buffer);
        // Also after an error, and when there is nothing: the buffer is as good as before.
        let batches = buffers.lend(buffer, *read.as_ref().unwrap_or(&0));
        read.map(|_| batches)
    }

    /// Forgets the batches appended last, when nobody has used them since the last call.
    pub fn rest(&self) {
        self.shared.recent.rest();
        if self.poison().is_none() {
            self.shared.trouble.age();
        }
    }

    /// Reads from the batches appended last. `None` when the file is to be read, which also knows what is an error.
    fn recent(&self, from: Offset, bytes_max: u64, memory: &Arc<FetchMemory>) -> Option<Bytes> {
        let end = self.high_watermark();
        let is_plain = self.log_start() <= from && from <= end && !self.gap_holds(from);
        if self.poison().is_some() || !is_plain {
            return None;
        }
        let recent = &self.shared.recent;
        let found = recent.read(from, bytes_max, end);
        if from == end || found.is_some() {
            recent.want(memory);
        }
        found
    }
}
