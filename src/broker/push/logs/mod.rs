//! What happened to messages, newest first: read from the main and the delivery logs, which hold it anyway.
//!
//! Each partition gives two streams of events in falling order of time and place: messages that were published, and what
//! became of them. The streams are merged. How much one page reads is bounded; its cursor says where the next one goes on.

mod event;
mod stream;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use storage::address::Address;
use storage::offset::Offset;
use storage::partition::{PushedMessage, RecentBatches};

use crate::broker::{Broker, refusal};
use crate::delivery::api::{LogEvent, LogFilter};
use crate::delivery::log_cursor::LogCursor;
use crate::engine::PartitionHandle;
use crate::limits::LETTER_PAGE_BYTES_MAX;
use crate::protocol::error_code::Refusal;
use event::{Found, log_event};
use stream::Stream;

/// What one page may do; behind it the page ends, however few events it has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Events whose message is looked at.
    pub(super) looked_at: usize,
    /// Events that are passed over, because they are of other messages than those that are asked for by their ids.
    pub(super) passed_over: usize,
    /// Bytes of its events: each is shown with its message's body.
    pub(super) bytes: usize,
}

pub(super) const EFFORT_MAX: Effort = Effort {
    looked_at: 50_000,
    passed_over: 200_000,
    bytes: LETTER_PAGE_BYTES_MAX as usize,
};
/// Messages that one page keeps in memory for their later events, and their bytes.
const HELD_MAX: usize = 1_000;
const HELD_BYTES_MAX: usize = 4 << 20;

/// Messages that are asked for by their ids, with the indexes of their partitions.
type Named = HashSet<(u32, Offset)>;

/// Messages that were read for a page. `None` stands for one that is no longer stored.
#[derive(Default)]
struct Held {
    messages: HashMap<(u32, Offset), Option<Arc<PushedMessage>>>,
    bytes: usize,
    /// Of each partition: the events of one batch stand near each other, and it may hold thousands of messages.
    batches: HashMap<u32, RecentBatches>,
}

impl Broker {
    /// Lists what happened to messages, newest first, from behind `cursor`. Returns the cursor of the next page; `None` at the
    /// end. A page may hold fewer events than asked for, and more may follow: it ends behind [`LETTER_PAGE_BYTES_MAX`]. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The log's.
    pub fn logs(
        &self,
        filter: &LogFilter,
        cursor: Option<LogCursor>,
        count_max: usize,
    ) -> Result<(Vec<LogEvent>, Option<LogCursor>), Refusal> {
        self.logs_within(EFFORT_MAX, filter, cursor, count_max)
    }

    pub(super) fn logs_within(
        &self,
        mut left: Effort,
        filter: &LogFilter,
        cursor: Option<LogCursor>,
        count_max: usize,
    ) -> Result<(Vec<LogEvent>, Option<LogCursor>), Refusal> {
        let newest = filter.to.unwrap_or_else(|| self.clock.now());
        let end = LogCursor::from_time(newest);
        let from = cursor.map_or(end, |cursor| cursor.min(end));
        let (mut streams, named) = self.streams(filter, from)?;
        let mut held = Held::default();
        let mut events = Vec::new();
        loop {
            let Some(found) = next_of(&mut streams)? else {
                return Ok((events, None));
            };
            if filter.from.is_some_and(|from| found.place.time < from) {
                return Ok((events, None));
            }
            let place = found.place;
            if named.is_empty() || named.contains(&(place.partition, found.message)) {
                let event = self.event(found, filter, &mut held);
                left.bytes = left.bytes.saturating_sub(event.as_ref().map_or(0, weight));
                events.extend(event);
                left.looked_at = left.looked_at.saturating_sub(1);
            } else {
                left.passed_over = left.passed_over.saturating_sub(1);
            }
            let is_over = left.looked_at == 0 || left.passed_over == 0 || left.bytes == 0;
            if events.len() >= count_max || is_over {
                return Ok((events, Some(place)));
            }
        }
    }

    /// Opens the streams that can hold what the filter means. Returns also the messages that it names, with their partitions.
    fn streams(
        &self,
        filter: &LogFilter,
        from: LogCursor,
    ) -> Result<(Vec<Stream>, Named), Refusal> {
        let ids = &filter.messages.message_ids;
        let wanted: Vec<Address> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut streams = Vec::new();
        let mut named = HashSet::new();
        for desk in &self.push().desks {
            let number = desk.partition.number();
            let here = wanted.iter().filter(|address| address.partition == number);
            let here: Vec<_> = here.map(|address| address.offset).collect();
            if here.is_empty() && !ids.is_empty() {
                continue;
            }
            named.extend(here.iter().map(|offset| (desk.index, *offset)));
            let both = Stream::open(&desk.partition, desk.index, from, &here);
            streams.extend(both.map_err(|error| refusal::of_log(&error))?);
        }
        Ok((streams, named))
    }

    fn event(&self, found: Found, filter: &LogFilter, held: &mut Held) -> Option<LogEvent> {
        if !filter.states.is_empty() && !filter.states.contains(&found.state) {
            return None;
        }
        let desk = self.push().desk(found.place.partition)?;
        let message = held.message(&desk.partition, (found.place.partition, found.message));
        let id = Address::message(desk.partition.number(), found.message).to_string();
        let event = log_event(found, id, message.as_deref());
        filter
            .messages
            .matches(&event.message_id, &event.envelope, event.time)
            .then_some(event)
    }
}

impl Held {
    /// Returns a message of a partition with this index; reads it when it is not here.
    fn message(
        &mut self,
        partition: &PartitionHandle,
        key: (u32, Offset),
    ) -> Option<Arc<PushedMessage>> {
        if let Some(known) = self.messages.get(&key) {
            return known.clone();
        }
        if self.messages.len() >= HELD_MAX || self.bytes >= HELD_BYTES_MAX {
            self.messages.clear();
            self.bytes = 0;
        }
        let (index, offset) = key;
        let carried_at = {
            let owner = partition.owner().lock();
            let state = owner.delivery();
            state.and_then(|state| state.carried_at(offset))
        };
        let recent = self.batches.entry(index).or_default();
        let read = partition
            .push_reader()
            .message_near((offset, carried_at), recent);
        let message = read.ok().map(Arc::new);
        let bytes = message.as_ref().map_or(0, |message| message.body.len());
        self.bytes = self.bytes.saturating_add(bytes);
        self.messages.insert(key, message.clone());
        message
    }
}

/// Bytes that an event takes on its page, about.
fn weight(event: &LogEvent) -> usize {
    const FIXED_BYTES: usize = 512;
    let response = event.response.as_ref();
    let response = response.map_or(0, |response| response.body.len());
    let envelope = event.envelope.encode().len();
    [FIXED_BYTES, event.body.len(), envelope, response]
        .into_iter()
        .fold(0, usize::saturating_add)
}

/// Takes the newest event of all streams.
fn next_of(streams: &mut [Stream]) -> Result<Option<Found>, Refusal> {
    let mut newest: Option<(usize, LogCursor)> = None;
    for (at, stream) in streams.iter_mut().enumerate() {
        let place = stream.peek().map_err(|error| refusal::of_log(&error))?;
        if let Some(place) = place
            && newest.is_none_or(|(_, known)| known < place)
        {
            newest = Some((at, place));
        }
    }
    let stream = newest.and_then(|(at, _)| streams.get_mut(at));
    Ok(stream.and_then(Stream::take))
}
