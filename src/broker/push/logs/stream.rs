//! Events of one log of one partition, the newest first, read step by step.

use std::collections::VecDeque;
use std::sync::Arc;

use storage::error::LogError;
use storage::log::LogReader;
use storage::offset::{Offset, TimestampMs};
use storage::partition::PushReader;

use super::event::{Found, became, published};
use crate::delivery::log_cursor::LogCursor;
use crate::engine::PartitionHandle;

/// Bytes of entries, and number of messages, that one step reads.
const STEP_BYTES: usize = 256 << 10;
const STEP_MESSAGES: u64 = 128;

/// Where a stream reads.
enum Source {
    /// Messages that were published, below this offset of the main log.
    Main { log: LogReader, below: Offset },
    /// Of these messages that they were published, the last one first.
    Named(Vec<Offset>),
    /// What became of messages, below this offset of the delivery log.
    Delivery { below: Offset },
    /// Read to its end.
    Ended,
}

/// The events of one log behind a cursor.
pub(super) struct Stream {
    partition: u32,
    reader: PushReader,
    source: Source,
    from: LogCursor,
    ready: VecDeque<Found>,
}

impl Stream {
    /// Opens both streams of a partition behind `from`. Of what was published only the named messages are read, none stands for
    /// all; what became of messages stands in one log, and is read of all.
    pub(super) fn open(
        partition: &Arc<PartitionHandle>,
        index: u32,
        from: LogCursor,
        messages: &[Offset],
    ) -> Result<[Self; 2], LogError> {
        let reader = partition.push_reader();
        let later = from.time.saturating_add(1);
        let main = partition.reader();
        let below_main = below(main, later)?;
        let delivery = partition.delivery_reader();
        let below_delivery = match &delivery {
            Some(log) => below(log, later)?,
            None => Offset::ZERO,
        };
        let stream = |source| Self {
            partition: index,
            reader: reader.clone(),
            source,
            from,
            ready: VecDeque::new(),
        };
        let published = if messages.is_empty() {
            Source::Main {
                log: main.clone(),
                below: below_main,
            }
        } else {
            let mut named = messages.to_vec();
            named.retain(|message| *message < below_main);
            named.sort_unstable();
            named.dedup();
            Source::Named(named)
        };
        Ok([
            stream(published),
            stream(Source::Delivery {
                below: below_delivery,
            }),
        ])
    }

    /// Returns the place of the next event.
    pub(super) fn peek(&mut self) -> Result<Option<LogCursor>, LogError> {
        loop {
            if let Some(found) = self.ready.front() {
                return Ok(Some(found.place));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Takes the next event, if [`Stream::peek`] has found one.
    pub(super) fn take(&mut self) -> Option<Found> {
        self.ready.pop_front()
    }

    /// Reads a step; returns whether there was one.
    fn read(&mut self) -> Result<bool, LogError> {
        let found = match &mut self.source {
            Source::Ended => return Ok(false),
            Source::Main { log, below } => {
                let start = log.log_start();
                if *below <= start {
                    self.source = Source::Ended;
                    return Ok(false);
                }
                let from = Offset(below.0.saturating_sub(STEP_MESSAGES)).max(start);
                let places: Vec<_> = (from.0..below.0)
                    .rev()
                    .map(|at| (Offset(at), None))
                    .collect();
                *below = from;
                self.published(&places)
            }
            Source::Named(messages) => {
                let Some(last) = messages.pop() else {
                    self.source = Source::Ended;
                    return Ok(false);
                };
                self.published(&[(last, None)])
            }
            Source::Delivery { below } => {
                let entries = self.reader.entries_back(*below, STEP_BYTES)?;
                let Some((last, ..)) = entries.last() else {
                    self.source = Source::Ended;
                    return Ok(false);
                };
                *below = *last;
                entries
                    .into_iter()
                    .flat_map(|(at, time, entry)| became(self.partition, (at, time), entry))
                    .collect()
            }
        };
        let is_behind = |found: &Found| self.from.is_followed_by(&found.place);
        self.ready.extend(found.into_iter().filter(is_behind));
        Ok(true)
    }

    /// Returns of messages that they were published. What cannot be read has no event: its damage is told elsewhere.
    fn published(&self, places: &[(Offset, Option<Offset>)]) -> Vec<Found> {
        let times = self.reader.look_at(places, |message| message.append_time);
        times
            .into_iter()
            .filter_map(|(offset, time)| Some(published(self.partition, time.ok()?, offset)))
            .collect()
    }
}

/// Returns the offset below which everything was appended before `time`.
fn below(log: &LogReader, time: TimestampMs) -> Result<Offset, LogError> {
    let first = log.offset_at_time(time)?;
    Ok(first.unwrap_or_else(|| log.high_watermark()))
}
