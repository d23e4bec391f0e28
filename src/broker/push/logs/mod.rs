//! What happened to messages, newest first: read from the main and the delivery logs, which hold it anyway.
//!
//! Each partition gives two streams of events in falling order of time and place: messages that were published, and what
//! became of them. The streams are merged. How much one page reads is bounded; its cursor says where the next one goes on.

mod event;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use storage::address::Address;
use storage::offset::Offset;
use storage::partition::{PushedMessage, RecentBatches};

use crate::broker::{Broker, refusal};
use crate::delivery::api::{LogEvent, LogFilter};
use crate::delivery::log_cursor::LogCursor;
use crate::protocol::error_code::Refusal;
use event::{Found, log_event};
use stream::Stream;

/// Events that one page looks at; behind them it ends, however few it has found.
const LOOKED_AT_MAX: usize = 50_000;
/// Messages that one page keeps in memory for their later events.
const HELD_MAX: usize = 1_000;

/// Messages that were read for a page. `None` stands for one that is no longer stored.
#[derive(Default)]
struct Held {
    messages: HashMap<(u32, Offset), Option<Arc<PushedMessage>>>,
    /// Of each partition: the events of one batch stand near each other, and it may hold thousands of messages.
    batches: HashMap<u32, RecentBatches>,
}

impl Broker {
    /// Lists what happened to messages, newest first, from behind `cursor`. Returns the cursor of the next page; `None` at the
    /// end. A page may hold fewer events than asked for, and more may follow. Blocks on the disk.
    ///
    /// # Errors
    /// The log's.
    pub fn logs(
        &self,
        filter: &LogFilter,
        cursor: Option<LogCursor>,
        count_max: usize,
    ) -> Result<(Vec<LogEvent>, Option<LogCursor>), Refusal> {
        let newest = filter.to.unwrap_or_else(|| self.clock.now());
        let end = LogCursor::from_time(newest);
        let from = cursor.map_or(end, |cursor| cursor.min(end));
        let mut streams = self.streams(filter, from)?;
        let mut held = Held::default();
        let mut events = Vec::new();
        let mut looked_at = 0usize;
        loop {
            let Some(found) = next_of(&mut streams)? else {
                return Ok((events, None));
            };
            if filter.from.is_some_and(|from| found.place.time < from) {
                return Ok((events, None));
            }
            let place = found.place;
            events.extend(self.event(found, filter, &mut held));
            looked_at = looked_at.saturating_add(1);
            if events.len() >= count_max || looked_at >= LOOKED_AT_MAX {
                return Ok((events, Some(place)));
            }
        }
    }

    /// Opens the streams that can hold what the filter means.
    fn streams(&self, filter: &LogFilter, from: LogCursor) -> Result<Vec<Stream>, Refusal> {
        let ids = &filter.messages.message_ids;
        let wanted: Vec<Address> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut streams = Vec::new();
        for desk in &self.push().desks {
            let number = desk.partition.number();
            let here = wanted.iter().filter(|address| address.partition == number);
            let here: Vec<_> = here.map(|address| address.offset).collect();
            if here.is_empty() && !ids.is_empty() {
                continue;
            }
            let both = Stream::open(&desk.partition, desk.index, from, &here);
            streams.extend(both.map_err(|error| refusal::of_log(&error))?);
        }
        Ok(streams)
    }

    fn event(&self, found: Found, filter: &LogFilter, held: &mut Held) -> Option<LogEvent> {
        if !filter.states.is_empty() && !filter.states.contains(&found.state) {
            return None;
        }
        let desk = self.push().desk(found.place.partition)?;
        let key = (found.place.partition, found.message);
        if held.messages.len() >= HELD_MAX && !held.messages.contains_key(&key) {
            held.messages.clear();
        }
        let message = held
            .messages
            .entry(key)
            .or_insert_with(|| {
                let carried_at = {
                    let owner = desk.partition.owner().lock();
                    let state = owner.delivery();
                    state.and_then(|state| state.carried_at(found.message))
                };
                let reader = desk.partition.push_reader();
                let last = held.batches.entry(found.place.partition).or_default();
                let message = reader.message_near((found.message, carried_at), last);
                message.ok().map(Arc::new)
            })
            .clone();
        let id = Address::message(desk.partition.number(), found.message).to_string();
        let event = log_event(found, id, message.as_deref());
        filter
            .messages
            .matches(&event.message_id, &event.envelope, event.time)
            .then_some(event)
    }
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
