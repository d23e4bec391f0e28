//! Looking at messages that have not come to their end, at queues, and at the counts.

use storage::delivery::{DeliveryCounts, Phase};
use storage::offset::Offset;

use crate::broker::{Broker, refusal};
use crate::delivery::api::{MessageState, MessageView};
use crate::metrics::gauge_value;
use crate::protocol::error_code::Refusal;

impl Broker {
    /// Returns a message that has not come to its end; `None` when it has, or never was.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::InvalidSelection`] for what is no message id, or the log's error.
    pub fn message(&self, id: &str) -> Result<Option<MessageView>, Refusal> {
        let Some((at, offset)) = self.place_of(id)? else {
            return Ok(None);
        };
        let Some(desk) = self.push().desks.get(at) else {
            return Ok(None);
        };
        let (known, carried_at) = {
            let mut owner = desk.partition.owner().lock();
            owner.admit_durable();
            let Some(state) = owner.delivery() else {
                return Ok(None);
            };
            let known = state.get(offset).filter(|_| state.is_pending(offset));
            let Some(known) = known else {
                return Ok(None);
            };
            (known, state.carried_at(offset))
        };
        let message = desk
            .partition
            .push_reader()
            .message(offset, carried_at)
            .map_err(|error| refusal::of_log(&error))?;
        Ok(Some(MessageView {
            id: id.to_owned(),
            envelope: message.envelope,
            body: message.body,
            created_at: message.timestamp,
            state: match known.phase {
                Phase::InFlight => MessageState::Active,
                Phase::Dying | Phase::Owing => MessageState::Error,
                Phase::Waiting | Phase::Ready if known.attempts > 0 => MessageState::Retry,
                Phase::Waiting | Phase::Ready => MessageState::Created,
            },
            attempts: known.attempts,
            next_attempt_at: (known.phase == Phase::Waiting).then_some(known.due),
        }))
    }

    /// Returns how many messages of a queue have not come to their end.
    #[must_use]
    pub fn queue_lag(&self, name: &str) -> u64 {
        let push = self.push();
        let Some(desk) = push.desk(push.partition_of_name(name)) else {
            return 0;
        };
        let mut owner = desk.partition.owner().lock();
        owner.admit_durable();
        owner.delivery().map_or(0, |state| state.queue_lag(name))
    }

    /// Returns how many messages there were over all partitions, and what became of them.
    #[must_use]
    pub fn delivery_counts(&self) -> DeliveryCounts {
        let mut sum = DeliveryCounts::default();
        for desk in &self.push().desks {
            let owner = desk.partition.owner().lock();
            let Some(state) = owner.delivery() else {
                continue;
            };
            let counts = state.counts();
            for (sum, count) in [
                (&mut sum.accepted, counts.accepted),
                (&mut sum.delivered, counts.delivered),
                (&mut sum.cancelled, counts.cancelled),
                (&mut sum.dead_lettered, counts.dead_lettered),
                (&mut sum.pending, counts.pending),
                (&mut sum.in_flight, counts.in_flight),
            ] {
                *sum = sum.saturating_add(count);
            }
        }
        sum
    }

    /// Returns the lag of every queue that holds messages.
    #[must_use]
    pub fn queue_lags(&self) -> Vec<(String, u64)> {
        let mut lags = Vec::new();
        for desk in &self.push().desks {
            let owner = desk.partition.owner().lock();
            let Some(state) = owner.delivery() else {
                continue;
            };
            lags.extend(
                state
                    .queue_names()
                    .map(|name| (name.to_owned(), state.queue_lag(name))),
            );
        }
        lags.sort();
        lags
    }

    /// Brings the gauges of deliveries up to date.
    pub(in crate::broker) fn measure_deliveries(&self) {
        let push = self.push();
        let metrics = &self.metrics.deliveries;
        metrics.set_counts(&self.delivery_counts());
        metrics.set_queue_lags(self.queue_lags());
        let now = self.clock.now();
        let (mut due, mut oldest) = (0u64, None);
        for desk in &push.desks {
            let first = {
                let owner = desk.partition.owner().lock();
                let Some(state) = owner.delivery() else {
                    continue;
                };
                due = due.saturating_add(state.due_count(now));
                let mut pending = state.messages_from(Offset::ZERO);
                pending
                    .find(|(_, phase)| *phase != Phase::Owing)
                    .map(|(message, _)| (message, state.carried_at(message)))
            };
            let Some((message, carried_at)) = first else {
                continue;
            };
            // One that cannot be read has no age to show; its damage is told elsewhere.
            if let Ok(message) = desk.partition.push_reader().message(message, carried_at) {
                oldest = oldest.max(Some(now.since(message.append_time)));
            }
        }
        metrics.due_backlog.set(gauge_value(due));
        let seconds = oldest.map_or(0, |ms| ms.max(0) / 1000);
        metrics.oldest_pending_age_seconds.set(seconds);
    }
}
