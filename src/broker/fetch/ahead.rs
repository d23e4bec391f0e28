//! Reading ahead: while an answer is on its way, what the consumer will most likely ask for next is read and checked.
//!
//! A consumer that is behind asks again where its last answer ended, and the thread that serves it would rest until then. It
//! is the same thread that reads: what is in its processor's cache need not be fetched from another one's when it is sent.
//!
//! # Invariants
//! 1. What was read ahead stands in for a read, and for nothing else of an answer: it is taken only for the same log (not for
//!    one of the same name), the same offset and at least the same maximum, and only while that log is sound and the offset
//!    still stands in it. It ended below the high watermark when it was read, so it does now; where it ended *at* the high
//!    watermark, which has risen since, a read would give more, and it is not taken.
//! 2. A connection has read ahead for one fetch at most, for at most [`KEPT_MAX`], and only in room that those who ask
//!    do not need. The fetch that takes it has room of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::batch::end_of;
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
    /// Where the log ended for readers before the read, if the read has got so far.
    ended_at: Option<Offset>,
}

/// All that was read ahead for a fetch. The batches hold their room.
#[derive(Debug, Default)]
pub(super) struct ReadAll(Vec<Ahead>);

/// Where an answer ended in a log.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) log: LogReader,
    pub(super) from: Offset,
    pub(super) bytes_max: u32,
}

#[derive(Debug)]
struct Reading {
    is_wanted: Arc<Notify>,
    task: JoinHandle<Option<ReadAll>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        // Nobody is left who could ask. One that has ended takes no notice.
        self.task.abort();
    }
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
            let mut reads = read(parts, bytes_max, &memory);
            let bytes: usize = reads.iter().map(|read| read.batches.len()).sum();
            if !share.fits(bytes) {
                // One batch may be more than was asked for.
                return None;
            }
            share.hold(reads.iter_mut().map(|read| &mut read.batches));
            tokio::select! {
                biased;
                () = wanted.notified() => Some(ReadAll(reads)),
                () = tokio::time::sleep(KEPT_MAX) => None,
            }
        });
        let before = self.next.lock().replace(Reading { is_wanted, task });
        debug_assert!(before.is_none(), "a connection's fetches come one by one");
    }

    /// Returns what was read ahead, as soon as it is read; nothing when it was not asked for in time.
    pub(super) async fn take(&self) -> ReadAll {
        let Some(mut reading) = self.next.lock().take() else {
            return ReadAll::default();
        };
        reading.is_wanted.notify_one();
        let read = (&mut reading.task).await.ok().flatten();
        read.unwrap_or_default()
    }
}

impl ReadAll {
    /// Returns what was read of this log at this offset, if a read would give the same.
    pub(super) fn find(&mut self, log: &LogReader, from: Offset, bytes_max: u64) -> Option<Bytes> {
        let fits = |read: &Ahead| {
            read.from == from && read.bytes_max <= bytes_max && read.log.is_same(log)
        };
        let at = self.0.iter().position(fits)?;
        let read = self.0.swap_remove(at);
        let is_there = log.poison().is_none() && log.log_start() <= from && !log.gap_holds(from);
        (is_there && !read.has_grown()).then_some(read.batches)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Ahead {
    /// Returns whether a read would give more by now.
    fn has_grown(&self) -> bool {
        self.ended_at
            .is_some_and(|end| self.log.high_watermark() > end)
    }
}

fn read(parts: Vec<Behind>, bytes_max: u32, memory: &Arc<FetchMemory>) -> Vec<Ahead> {
    let mut left = u64::from(bytes_max);
    let mut reads = Vec::with_capacity(parts.len());
    for Behind {
        log,
        from,
        bytes_max,
    } in parts
    {
        let bytes_max = left.min(u64::from(bytes_max));
        let end = log.high_watermark();
        // An error is found again, and told, by the fetch that asks.
        let Ok(batches) = log.fetch(from, bytes_max, memory) else {
            continue;
        };
        left = left.saturating_sub(u64::try_from(batches.len()).unwrap_or(u64::MAX));
        let Some(reached) = end_of(&batches) else {
            continue;
        };
        reads.push(Ahead {
            log,
            from,
            bytes_max,
            batches,
            ended_at: (reached >= end).then_some(end),
        });
        if left == 0 {
            break;
        }
    }
    reads
}
