//! Reading ahead: while an answer is on its way, what the consumer will most likely ask for next is read and checked.
//!
//! A consumer that is behind asks again where its last answer ended, and the thread that serves it would rest until then. It
//! is the same thread that reads: what is in its processor's cache need not be fetched from another one's when it is sent.
//!
//! # Invariants
//! 1. What was read ahead stands in for a read, and for nothing else of an answer: it is taken only for the same log (not for
//!    one of the same name), the same offset and at least the same maximum, and only while that log is sound and the offset
//!    still stands in it. It ended below the high watermark when it was read, so it does now.
//! 2. A connection has read ahead for one fetch at most, for at most [`KEPT_MAX`], and only in room that those who ask
//!    do not need.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::batch::BatchHeader;
use storage::log::{FetchMemory, LogReader};
use storage::offset::Offset;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::room::Share;

/// How long it is kept for a consumer that does not ask.
pub(super) const KEPT_MAX: Duration = Duration::from_millis(250);

/// What is read ahead for one connection.
#[derive(Debug, Default)]
pub struct ReadAhead {
    next: Mutex<Option<Reading>>,
}

/// Batches of one log that were read before somebody asked for them.
#[derive(Debug)]
pub(super) struct Ahead {
    log: LogReader,
    from: Offset,
    bytes_max: u64,
    batches: Bytes,
}

/// All that was read ahead, in its share of the room.
#[derive(Debug, Default)]
pub(super) struct ReadAll {
    pub(super) share: Option<Share>,
    pub(super) reads: Vec<Ahead>,
}

/// An answer's part that more follows in its log.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) log: LogReader,
    pub(super) batches: Bytes,
    pub(super) bytes_max: u32,
}

#[derive(Debug)]
struct Reading {
    is_wanted: Arc<Notify>,
    task: JoinHandle<Option<ReadAll>>,
}

impl ReadAhead {
    /// Reads what follows these parts, at most `bytes_max` bytes of them all, when the caller rests.
    pub(super) fn begin(
        &self,
        parts: Vec<Behind>,
        bytes_max: u32,
        share: Share,
        memory: &Arc<FetchMemory>,
    ) {
        let memory = Arc::clone(memory);
        let is_wanted = Arc::new(Notify::new());
        let wanted = Arc::clone(&is_wanted);
        let task = tokio::spawn(async move {
            let reads = read(parts, bytes_max, &memory);
            let share = Some(share);
            tokio::select! {
                biased;
                () = wanted.notified() => Some(ReadAll { share, reads }),
                () = tokio::time::sleep(KEPT_MAX) => None,
            }
        });
        *self.next.lock() = Some(Reading { is_wanted, task });
    }

    /// Returns what was read ahead, as soon as it is read; nothing when it was not asked for in time.
    pub(super) async fn take(&self) -> ReadAll {
        let Some(reading) = self.next.lock().take() else {
            return ReadAll::default();
        };
        reading.is_wanted.notify_one();
        let read = reading.task.await.ok().flatten();
        read.unwrap_or_default()
    }
}

impl ReadAll {
    /// Returns what was read of this log at this offset, if a read would give the same.
    pub(super) fn find(&mut self, log: &LogReader, from: Offset, bytes_max: u64) -> Option<Bytes> {
        let fits = |read: &Ahead| {
            read.from == from && read.bytes_max <= bytes_max && read.log.is_same(log)
        };
        let at = self.reads.iter().position(fits)?;
        let read = self.reads.swap_remove(at);
        let is_there = log.poison().is_none() && log.log_start() <= from && !log.gap_holds(from);
        is_there.then_some(read.batches)
    }
}

fn read(parts: Vec<Behind>, bytes_max: u32, memory: &Arc<FetchMemory>) -> Vec<Ahead> {
    let mut left = u64::from(bytes_max);
    let mut reads = Vec::with_capacity(parts.len());
    for part in parts {
        let Some(from) = end_of(&part.batches) else {
            continue;
        };
        drop(part.batches);
        let bytes_max = left.min(u64::from(part.bytes_max));
        // An error is found again, and told, by the fetch that asks.
        let Ok(batches) = part.log.fetch(from, bytes_max, memory) else {
            continue;
        };
        if batches.is_empty() {
            continue;
        }
        left = left.saturating_sub(u64::try_from(batches.len()).unwrap_or(u64::MAX));
        reads.push(Ahead {
            log: part.log,
            from,
            bytes_max,
            batches,
        });
        if left == 0 {
            break;
        }
    }
    reads
}

/// Returns the first offset behind whole batches.
pub(super) fn end_of(mut batches: &[u8]) -> Option<Offset> {
    let mut end = None;
    while let Ok(header) = BatchHeader::decode(batches) {
        end = Some(header.next_offset());
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        batches = batches.get(length..).unwrap_or_default();
    }
    end
}
