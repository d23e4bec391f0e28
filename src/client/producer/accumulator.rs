//! The open batch of one partition, and the sealed ones that wait behind those in flight. Pure: time is passed in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use storage::batch::{BatchBuilder, BuildError, BuildOptions, Codec, NewRecord};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::completion::Completion;

/// When the open batch is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SealRules {
    /// Before it would grow beyond this, in bytes before compression.
    pub batch_bytes_max: u32,
    /// With this many records; it is then due at once.
    pub batch_records_max: u32,
    /// When its first record has waited for so long, if the window has room.
    pub linger: Duration,
}

/// A batch that takes no more records.
#[derive(Debug)]
pub(super) struct Sealed {
    /// The batch, without a producer.
    pub bytes: Vec<u8>,
    /// How many records it has.
    pub record_count: u32,
    /// When its first record came.
    pub first_at: Instant,
    /// Whom to tell.
    pub completion: Arc<Completion>,
}

/// What the sender finds.
#[derive(Debug)]
pub(super) enum Next {
    /// A batch to send.
    Batch(Sealed),
    /// Nothing before this time, unless more records come.
    Until(Instant),
    /// Nothing, unless records come.
    Nothing,
}

/// What became of a record.
#[derive(Debug)]
pub(super) struct Pushed {
    /// The batch that has it.
    pub completion: Arc<Completion>,
    /// Its place in the batch.
    pub index: u32,
    /// Whether a batch was sealed to make room.
    pub is_sealed: bool,
    /// Whether the sender has to look again: something was sealed, or the record is the first of its batch.
    pub wakes: bool,
}

/// Collects the records of one partition.
#[derive(Debug)]
pub(super) struct Accumulator {
    rules: SealRules,
    builder: BatchBuilder,
    completion: Arc<Completion>,
    first_at: Option<Instant>,
    sealed: VecDeque<Sealed>,
    /// Of the batch that was sealed last: batches are settled in order.
    last: Option<Arc<Completion>>,
    backlog: Arc<Backlog>,
    is_flushing: bool,
    is_closed: bool,
    accepted: u64,
}

impl Accumulator {
    pub(super) fn new(rules: SealRules, codec: Codec, backlog: Arc<Backlog>) -> Self {
        Self {
            rules,
            last: None,
            backlog,
            builder: BatchBuilder::new(codec),
            completion: Arc::default(),
            first_at: None,
            sealed: VecDeque::new(),
            is_flushing: false,
            is_closed: false,
            accepted: 0,
        }
    }

    /// Adds a record to the open batch, sealing that first when it has no room. `now` is only asked for with the first
    /// record of a batch.
    #[inline]
    pub(super) fn push(
        &mut self,
        record: &NewRecord<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Result<Pushed, BuildError> {
        let mut is_sealed = false;
        let room = self
            .rules
            .batch_bytes_max
            .saturating_sub(self.builder.estimated_bytes());
        if !self.builder.is_empty() && record_bytes(record) > u64::from(room) {
            is_sealed = self.seal()?;
        }
        match self.builder.push(record) {
            Ok(()) => {}
            // A batch can be full in other ways than by its bytes: records, or a time too far from the first.
            Err(_) if !self.builder.is_empty() => {
                is_sealed |= self.seal()?;
                self.builder.push(record)?;
            }
            Err(error) => return Err(error),
        }
        let index = self.builder.record_count().saturating_sub(1);
        let is_first = index == 0;
        if is_first {
            self.first_at = Some(now());
        }
        self.accepted = self.accepted.saturating_add(1);
        let completion = self.completion.clone();
        if self.builder.record_count() >= self.rules.batch_records_max {
            is_sealed |= self.seal()?;
        }
        Ok(Pushed {
            completion,
            index,
            is_sealed,
            wakes: is_first || is_sealed,
        })
    }

    /// Returns the next batch to send, or when there will be one.
    pub(super) fn next(&mut self, now: Instant) -> Result<Next, BuildError> {
        if let Some(sealed) = self.sealed.pop_front() {
            return Ok(Next::Batch(sealed));
        }
        let Some(first_at) = self.first_at else {
            self.is_flushing = false;
            return Ok(Next::Nothing);
        };
        let due = first_at + self.rules.linger;
        if !self.is_flushing && !self.is_closed && now < due {
            return Ok(Next::Until(due));
        }
        self.seal()?;
        self.is_flushing = false;
        Ok(self.sealed.pop_front().map_or(Next::Nothing, Next::Batch))
    }

    /// Makes the open batch due at once. Returns whom to wait for to know that all records so far are settled.
    pub(super) fn flush(&mut self) -> Option<Arc<Completion>> {
        self.is_flushing = true;
        if self.first_at.is_some() {
            return Some(self.completion.clone());
        }
        self.last.clone()
    }

    /// Takes no more records from now on; what is there is sent without lingering.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns whether nothing is left to be sent, and nothing can come.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.is_closed && self.sealed.is_empty() && self.first_at.is_none()
    }

    /// Returns how many records were taken.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Gives the memory of a batch that is settled to those to come.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        self.builder.recycle(buffer);
    }

    /// Drops the open batch after it could not be built; returns whom to tell and how many records it had.
    pub(super) fn discard_open(&mut self) -> (Arc<Completion>, u32) {
        let record_count = self.builder.record_count();
        self.builder.clear();
        self.first_at = None;
        (std::mem::take(&mut self.completion), record_count)
    }

    fn seal(&mut self) -> Result<bool, BuildError> {
        let Some(first_at) = self.first_at else {
            return Ok(false);
        };
        let record_count = self.builder.record_count();
        let bytes = self.builder.build(BuildOptions::default())?;
        self.backlog.add(bytes.len());
        self.first_at = None;
        let completion = std::mem::take(&mut self.completion);
        self.last = Some(completion.clone());
        self.sealed.push_back(Sealed {
            bytes,
            record_count,
            first_at,
            completion,
        });
        Ok(true)
    }
}

/// Bytes of sealed batches that are not settled, over all partitions.
#[derive(Debug)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    bytes_max: usize,
    space: Notify,
}

impl Backlog {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            bytes_max,
            space: Notify::new(),
        }
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.space.notify_waiters();
    }

    /// Returns whether more records may come. The open batches come on top.
    #[inline]
    pub(super) fn has_space(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.bytes_max
    }

    /// Waits until more records may come.
    pub(super) async fn space(&self) {
        loop {
            let space = self.space.notified();
            // Made before the look: space that comes in between wakes it.
            if self.has_space() {
                return;
            }
            space.await;
        }
    }
}

/// Returns the most bytes that a record can take in a batch.
fn record_bytes(record: &NewRecord<'_>) -> u64 {
    let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let mut sum = bytes(record.key).saturating_add(bytes(record.value));
    for header in record.headers {
        // Both lengths, at five bytes.
        sum = sum
            .saturating_add(header.name.len())
            .saturating_add(bytes(header.value))
            .saturating_add(10);
    }
    // Five lengths and deltas at five bytes, one at ten, attributes.
    u64::try_from(sum.saturating_add(36)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

    use storage::batch::BatchHeader;
    use storage::offset::TimestampMs;

    use super::*;

    const LINGER: Duration = Duration::from_millis(5);

    fn accumulator() -> Accumulator {
        let rules = SealRules {
            batch_bytes_max: 400,
            batch_records_max: 1000,
            linger: LINGER,
        };
        Accumulator::new(rules, Codec::None, Arc::new(Backlog::new(1 << 20)))
    }

    fn push(accumulator: &mut Accumulator, bytes: usize, now: Instant) -> Pushed {
        let value = vec![b'x'; bytes];
        let record = NewRecord {
            timestamp: TimestampMs(0),
            key: None,
            value: Some(&value),
            headers: &[],
        };
        accumulator.push(&record, || now).unwrap()
    }

    fn batch(next: Next) -> Sealed {
        match next {
            Next::Batch(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_taken_before_it_was_closed_is_still_to_be_sent() {
        let mut accumulator = accumulator();
        let now = Instant::now();
        assert!(matches!(accumulator.next(now), Ok(Next::Nothing)));
        push(&mut accumulator, 1, now);
        accumulator.close();
        assert!(!accumulator.is_at_its_end());
        batch(accumulator.next(now).unwrap());
        assert!(accumulator.is_at_its_end());
    }

    #[test]
    fn a_batch_is_due_when_its_first_record_has_lingered() {
        let start = Instant::now();
        let mut accumulator = accumulator();
        assert!(push(&mut accumulator, 10, start).wakes);
        assert!(!push(&mut accumulator, 10, start + LINGER / 2).wakes);
        let Next::Until(due) = accumulator.next(start).unwrap() else {
            panic!("it was due at once");
        };
        assert_eq!(due, start + LINGER);
        let batch = batch(accumulator.next(due).unwrap());
        assert_eq!(batch.record_count, 2);
        let Next::Nothing = accumulator.next(due).unwrap() else {
            panic!("a second batch");
        };
    }

    #[test]
    fn a_full_batch_is_due_at_once_and_never_larger_than_the_maximum() {
        let now = Instant::now();
        let mut accumulator = accumulator();
        for _ in 0..20 {
            push(&mut accumulator, 100, now);
        }
        let mut records = 0;
        while let Next::Batch(batch) = accumulator.next(now).unwrap() {
            assert!(batch.bytes.len() <= 400, "{} bytes", batch.bytes.len());
            let header = BatchHeader::decode(&batch.bytes).unwrap();
            assert_eq!(header.record_count, batch.record_count);
            records += batch.record_count;
        }
        records += batch(accumulator.next(now + LINGER).unwrap()).record_count;
        assert_eq!(records, 20);
    }

    #[test]
    fn a_batch_with_all_its_records_is_due_at_once() {
        let now = Instant::now();
        let mut accumulator = accumulator();
        accumulator.rules.batch_records_max = 3;
        let sealed = [(); 7].map(|()| push(&mut accumulator, 1, now).is_sealed);
        assert_eq!(sealed, [false, false, true, false, false, true, false]);
        let counts = [(); 2].map(|()| batch(accumulator.next(now).unwrap()).record_count);
        assert_eq!(counts, [3, 3]);
        let Next::Until(_) = accumulator.next(now).unwrap() else {
            panic!("the third batch is not full");
        };
    }

    #[test]
    fn a_record_above_the_maximum_gets_a_batch_of_its_own() {
        let now = Instant::now();
        let mut accumulator = accumulator();
        push(&mut accumulator, 10, now);
        push(&mut accumulator, 1000, now);
        push(&mut accumulator, 10, now);
        let counts = [(); 3].map(|()| batch(accumulator.next(now + LINGER).unwrap()).record_count);
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn a_flush_makes_the_open_batch_due_and_only_that_one() {
        let now = Instant::now();
        let mut accumulator = accumulator();
        push(&mut accumulator, 10, now);
        assert!(accumulator.flush().is_some());
        assert_eq!(batch(accumulator.next(now).unwrap()).record_count, 1);
        push(&mut accumulator, 10, now);
        let Next::Until(_) = accumulator.next(now).unwrap() else {
            panic!("the flush went on");
        };
    }
}
