//! Calling messages off: by id, or all that match a filter.
//!
//! A message whose attempt is under way is called off too: the attempt may still arrive, and is the last one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use storage::address::{Address, AddressKind};
use storage::delivery::{Entry, Phase};
use storage::error::LogError;
use storage::log_id::LogKind;
use storage::offset::{Offset, TimestampMs};
use storage::partition::Partition;

use super::desk::Desk;
use crate::broker::resolve::ended;
use crate::broker::{Broker, refusal};
use crate::delivery::filter::MessageFilter;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Messages that one step of a search reads.
const STEP_MAX: usize = 256;

impl Broker {
    /// Calls messages off by id. Answered when that is synced. Returns how many had not come to their end.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSelection`] for what is no message id, or the log's error.
    pub async fn cancel(&self, ids: &[String]) -> Result<u64, Refusal> {
        let mut cancelled = 0u64;
        let mut by_desk: Vec<Vec<Offset>> = self.push().desks.iter().map(|_| Vec::new()).collect();
        for id in ids {
            if let Some((index, offset)) = self.place_of(id)?
                && let Some(messages) = by_desk.get_mut(index)
            {
                messages.push(offset);
            }
        }
        for (desk, messages) in self.push().desks.iter().zip(by_desk) {
            cancelled = cancelled.saturating_add(self.call_off(desk, &messages, Why::Asked).await?);
        }
        Ok(cancelled)
    }

    /// Calls messages off that match a filter, the oldest of each partition first, at most `count_max`. What is published from
    /// now on stays: else a call beside publishers would not end. Returns how many.
    ///
    /// # Errors
    /// The log's error, or [`ErrorCode::ShuttingDown`].
    pub async fn cancel_matching(
        &self,
        filter: &MessageFilter,
        count_max: u64,
    ) -> Result<u64, Refusal> {
        let mut cancelled = 0u64;
        let filter = Arc::new(filter.clone());
        let desks = self.push().desks.iter();
        let ends = desks.map(|desk| (desk, desk.partition.reader().high_watermark()));
        for (desk, end) in ends.collect::<Vec<_>>() {
            let mut from = Offset::ZERO;
            while cancelled < count_max {
                let found = self.search(desk, from..end, &filter).await?;
                let Some((mut found, next)) = found else {
                    break;
                };
                let room =
                    usize::try_from(count_max.saturating_sub(cancelled)).unwrap_or(usize::MAX);
                found.truncate(room);
                cancelled =
                    cancelled.saturating_add(self.call_off(desk, &found, Why::Asked).await?);
                from = next;
            }
        }
        Ok(cancelled)
    }

    /// Makes one step of a search, on a thread that may wait for the disk.
    async fn search(
        &self,
        desk: &Arc<Desk>,
        range: Range<Offset>,
        filter: &Arc<MessageFilter>,
    ) -> Result<Option<(Vec<Offset>, Offset)>, Refusal> {
        let permit = self.may_resolve().await;
        let (desk, filter) = (Arc::clone(desk), Arc::clone(filter));
        let found = self.pool.run(move || {
            let _permit = permit;
            Self::matching(&desk, range, &filter)
        });
        found.await.map_err(|_unfinished| ended())
    }

    /// Returns which messages of a step match, and where the next step begins; `None` behind the last message of the range.
    fn matching(
        desk: &Desk,
        range: Range<Offset>,
        filter: &MessageFilter,
    ) -> Option<(Vec<Offset>, Offset)> {
        let places: Vec<_> = {
            let mut owner = desk.partition.owner().lock();
            owner.admit_durable();
            let state = owner.delivery()?;
            state
                .messages_from(range.start)
                .take_while(|(message, _)| *message < range.end)
                .take(STEP_MAX)
                .map(|(message, _)| (message, state.carried_at(message)))
                .collect()
        };
        let (last, _) = places.last()?;
        let next = last.next();
        let number = desk.partition.number();
        let reader = desk.partition.push_reader();
        let matches = reader.look_at(&places, |message| {
            let id = Address::message(number, message.offset).to_string();
            filter.matches(&id, &message.envelope, message.timestamp)
        });
        let found = matches
            .into_iter()
            // One that cannot be read matches nothing; its damage is told when it is attempted.
            .filter(|(_, matches)| matches.as_ref().is_ok_and(|matches| *matches))
            .map(|(message, _)| message)
            .collect();
        Some((found, next))
    }

    /// Calls messages of one partition off. Returns how many were.
    pub(super) async fn call_off(
        &self,
        desk: &Desk,
        messages: &[Offset],
        why: Why,
    ) -> Result<u64, Refusal> {
        if messages.is_empty() {
            return Ok(0);
        }
        let appended = desk
            .partition
            .with_room(LogKind::Delivery, &|| self.clock.now(), |owner, now| {
                append_called_off(owner, messages, why, now)
            })
            .await
            .map_err(|error| refusal::of_log(&error))?;
        let Some((count, end)) = appended else {
            return Ok(0);
        };
        for start in desk.call_off(messages) {
            self.push().give_back(&start.pass, self.clock.now());
        }
        // Before the wait: whoever has asked may not stay for its end.
        self.push().has_cancelled.store(true, Ordering::Release);
        // The next one of its queue may have got its place.
        desk.arrived.notify_one();
        desk.partition.schedule_sync(LogKind::Delivery);
        desk.partition
            .wait_durable_of(LogKind::Delivery, end)
            .await
            .map_err(|error| refusal::of_log(&error))?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Returns where a message stands: the place of its desk and its offset; `None` when it is of no partition here.
    pub(super) fn place_of(&self, id: &str) -> Result<Option<(usize, Offset)>, Refusal> {
        let address: Address = id.parse().map_err(|error| {
            let message = format!("{id:?} is no message id: {error}");
            Refusal::new(ErrorCode::InvalidSelection, message)
        })?;
        if address.kind != AddressKind::Message {
            let message = format!("{id:?} is the id of a dead letter, not of a message");
            return Err(Refusal::new(ErrorCode::InvalidSelection, message));
        }
        let mut desks = self.push().desks.iter();
        let at = desks.position(|desk| desk.partition.number() == address.partition);
        Ok(at.map(|at| (at, address.offset)))
    }
}

/// Why messages are called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody asks for it. What dies or has come to its end goes its way.
    Asked,
    /// Nothing can follow from them any more, wherever they stand.
    GivenUp,
}

impl Why {
    /// Returns what is written down of a message in this phase.
    fn entries(self, message: Offset, phase: Phase, time: TimestampMs) -> Vec<Entry> {
        let cancelled = (!matches!(phase, Phase::Dying | Phase::Owing))
            .then_some(Entry::Cancelled { message, time });
        let given_up = (self == Self::GivenUp).then_some(Entry::GivenUp { message, time });
        cancelled.into_iter().chain(given_up).collect()
    }
}

/// Appends that messages are called off. Returns how many, and the end of the batch.
fn append_called_off(
    owner: &mut Partition,
    messages: &[Offset],
    why: Why,
    now: TimestampMs,
) -> Result<Option<(usize, Offset)>, LogError> {
    owner.admit_durable();
    let Some(state) = owner.delivery() else {
        return Ok(None);
    };
    let mut entries = Vec::new();
    let mut count = 0usize;
    // A message may be named more than once.
    for message in messages.iter().collect::<BTreeSet<_>>() {
        let Some(phase) = state.phase(*message) else {
            continue;
        };
        let of_it = why.entries(*message, phase, now);
        count = count.saturating_add(usize::from(!of_it.is_empty()));
        entries.extend(of_it);
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let appended = owner.append_entries(&entries, now)?;
    Ok(Some((count, appended.next_offset)))
}
