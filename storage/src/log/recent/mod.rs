//! The batches that were appended last, in memory, for readers that have caught up: what is read here costs no system call
//! and no checksum.
//!
//! # Invariants
//! 1. What is held are whole batches as they stand in the file, one behind the other without a gap: the append that wrote
//!    them puts them here, and only after its write has gone through.
//! 2. Nothing is served from here that a read of the file would not serve at that moment. A read takes its bound (the high
//!    watermark: of a synced log, what is durable) before it looks here, and no batch at or above the bound is given out.
//!    Below the log start, in a gap, and when the log is poisoned, nobody looks here.
//! 3. A log that is opened begins with nothing: what recovery cut or repair gave up was never here.
//! 4. One log holds at most [`RECENT_BYTES_MAX`] bytes, all logs of one [`FetchMemory`] at most
//!    [`RECENT_BYTES_TOTAL_MAX`], or what it was made with. A log begins to hold when a reader has reached its end, and stops
//!    when none has come that far for [`RECENT_BYTES_MAX`] bytes of appends, or when nothing happens between two calls of [`Recent::rest`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::batch::BatchHeader;
use crate::buffers::Buffers;
use crate::limits::{READ_BUFFERS_BYTES_MAX, RECENT_BYTES_MAX, RECENT_BYTES_TOTAL_MAX};
use crate::offset::Offset;

/// From this size on a batch has a buffer that is used again.
const LARGE_BATCH_BYTES: usize = 64 << 10;
/// From this size on a batch is given out alone, without a copy: one more request costs less.
const ALONE_BATCH_BYTES: usize = 512 << 10;
/// What a batch takes besides its bytes.
const BATCH_OVERHEAD_BYTES: usize = 128;

/// The memory that fetches from many logs share: buffers to read into, and the room of the batches appended last.
#[derive(Debug)]
pub struct FetchMemory {
    pub(super) buffers: Arc<Buffers>,
    recent_buffers: Arc<Buffers>,
    recent_bytes_left: AtomicUsize,
}

impl Default for FetchMemory {
    fn default() -> Self {
        Self::new(RECENT_BYTES_TOTAL_MAX)
    }
}

impl FetchMemory {
    /// Makes room for so many bytes of the batches appended last; buffers that nobody uses take as much at most.
    #[must_use]
    pub fn new(recent_bytes_max: usize) -> Self {
        let kept = READ_BUFFERS_BYTES_MAX.min(recent_bytes_max);
        Self {
            buffers: Buffers::new(kept),
            recent_buffers: Buffers::new(kept),
            recent_bytes_left: AtomicUsize::new(recent_bytes_max),
        }
    }

    /// Lets go of the buffers that nobody has wanted since the last call.
    pub fn rest(&self) {
        self.buffers.rest();
        self.recent_buffers.rest();
    }

    fn take_room(&self, bytes: usize) -> bool {
        let left = &self.recent_bytes_left;
        left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
            left.checked_sub(bytes)
        })
        .is_ok()
    }

    fn copy(&self, batch: &[u8]) -> (Bytes, usize) {
        if batch.len() < LARGE_BATCH_BYTES {
            return (Bytes::copy_from_slice(batch), batch.len());
        }
        let mut buffer = self.recent_buffers.take();
        buffer.clear();
        buffer.extend_from_slice(batch);
        let held = buffer.capacity();
        (self.recent_buffers.lend(buffer, batch.len()), held)
    }
}

/// The batches of one log that were appended last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// That of the first reader that has reached the end.
    memory: OnceLock<Arc<FetchMemory>>,
    /// Bytes of appends that are still kept for whoever was at the end.
    wanted: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    batches: VecDeque<HeldBatch>,
    /// What they take, as it was taken from the room.
    bytes: usize,
    is_used: bool,
}

#[derive(Debug)]
struct HeldBatch {
    base_offset: Offset,
    next_offset: Offset,
    batch: Bytes,
    bytes: usize,
}

impl Recent {
    /// Notes that a reader has reached the end of the log: what is appended next is kept for it.
    pub(super) fn want(&self, memory: &Arc<FetchMemory>) {
        self.memory.get_or_init(|| Arc::clone(memory));
        let bytes = u64::try_from(RECENT_BYTES_MAX).unwrap_or(u64::MAX);
        self.wanted.store(bytes, Ordering::Release);
    }

    /// Takes in a batch whose write has gone through, if somebody waits for such. Called by the log's owner alone.
    pub(super) fn keep(&self, header: &BatchHeader, batch: &[u8]) {
        let Some(memory) = self.memory.get() else {
            return;
        };
        let length = u64::from(header.length);
        let spend = |wanted: u64| (wanted > 0).then(|| wanted.saturating_sub(length));
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let Ok(wanted) = self.wanted.fetch_update(set, fetch, spend) else {
            return;
        };
        let mut held = self.held.lock();
        held.is_used = true;
        let is_next = |last: &HeldBatch| last.next_offset == header.base_offset;
        let follows = held.batches.back().is_none_or(is_next);
        if !follows || wanted <= length {
            held.clear(memory);
        }
        if wanted <= length {
            return;
        }
        let (copied, bytes) = memory.copy(batch);
        let bytes = bytes.saturating_add(BATCH_OVERHEAD_BYTES);
        while held.bytes.saturating_add(bytes) > RECENT_BYTES_MAX && held.drop_first(memory) {}
        if bytes > RECENT_BYTES_MAX || !memory.take_room(bytes) {
            // What is held would not reach the end of the log any more.
            held.clear(memory);
            return;
        }
        held.bytes = held.bytes.saturating_add(bytes);
        held.batches.push_back(HeldBatch {
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
            batch: copied,
            bytes,
        });
    }

    /// Returns whole batches below `end`, the first of which holds `from`: one, or as many as `bytes_max` allows. `None` when
    /// the batch is not here.
    pub(super) fn read(&self, from: Offset, bytes_max: u64, end: Offset) -> Option<Bytes> {
        let memory = self.memory.get()?;
        let mut held = self.held.lock();
        let at = held.batches.partition_point(|b| b.next_offset <= from);
        let is_holder = |first: &&HeldBatch| first.base_offset <= from && first.base_offset < end;
        let first = held.batches.get(at).filter(is_holder)?.batch.clone();
        held.is_used = true;
        let mut bytes = u64::try_from(first.len()).unwrap_or(u64::MAX);
        let fits = |next: &&HeldBatch| {
            bytes = bytes.saturating_add(u64::try_from(next.batch.len()).unwrap_or(u64::MAX));
            next.base_offset < end && bytes <= bytes_max
        };
        let rest: Vec<Bytes> = if first.len() < ALONE_BATCH_BYTES {
            let behind = held.batches.iter().skip(at.saturating_add(1));
            behind.take_while(fits).map(|b| b.batch.clone()).collect()
        } else {
            Vec::new()
        };
        // The owner appends meanwhile.
        drop(held);
        if rest.is_empty() {
            return Some(first);
        }
        let mut buffer = memory.buffers.take();
        buffer.clear();
        buffer.extend_from_slice(&first);
        for batch in rest {
            buffer.extend_from_slice(&batch);
        }
        let count = buffer.len();
        Some(memory.buffers.lend(buffer, count))
    }

    /// Forgets everything when nothing was kept or read since the last call.
    pub(super) fn rest(&self) {
        let Some(memory) = self.memory.get() else {
            return;
        };
        let mut held = self.held.lock();
        if !std::mem::take(&mut held.is_used) {
            held.clear(memory);
        }
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.get() {
            self.held.get_mut().clear(memory);
        }
    }
}

impl Held {
    fn drop_first(&mut self, memory: &FetchMemory) -> bool {
        let Some(first) = self.batches.pop_front() else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(first.bytes);
        let left = &memory.recent_bytes_left;
        left.fetch_add(first.bytes, Ordering::AcqRel);
        true
    }

    fn clear(&mut self, memory: &FetchMemory) {
        while self.drop_first(memory) {}
    }
}

#[cfg(test)]
mod tests;
