//! Entries of the logs as events. PURE.

use storage::dead_letter::AttemptResult;
use storage::delivery::{Entry, Envelope, Outcome, Verdict};
use storage::offset::{Offset, TimestampMs};
use storage::partition::PushedMessage;

use crate::delivery::api::{LogEvent, MessageState, ResponseView};
use crate::delivery::log_cursor::LogCursor;

/// An event, before its message is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: LogCursor,
    pub(super) message: Offset,
    pub(super) state: MessageState,
    pub(super) next_delivery_at: Option<TimestampMs>,
    pub(super) outcome: Option<Outcome>,
}

/// Set in the positions of what became of messages: of the same millisecond, that is later than what was published.
const BECAME: u64 = 1 << 63;

/// Returns the event of a message that was published.
pub(super) fn published(partition: u32, time: TimestampMs, message: Offset) -> Found {
    Found {
        place: LogCursor {
            time,
            partition,
            position: message.0,
        },
        message,
        state: MessageState::Created,
        next_delivery_at: None,
        outcome: None,
    }
}

/// Returns the events of an entry of the delivery log, the newest first.
pub(super) fn became(
    partition: u32,
    (at, time): (Offset, TimestampMs),
    entry: Entry,
) -> Vec<Found> {
    let place = |step: u64| LogCursor {
        time,
        partition,
        position: BECAME | (at.0 & (BECAME >> 1).wrapping_sub(1)) << 1 | step,
    };
    let event = |step, message, state| Found {
        place: place(step),
        message,
        state,
        next_delivery_at: None,
        outcome: None,
    };
    match entry {
        Entry::Intent(intent) => vec![event(0, intent.message, MessageState::Active)],
        Entry::Cancelled { message, .. } => vec![event(0, message, MessageState::Canceled)],
        Entry::Dead { message, .. } => vec![event(0, message, MessageState::Failed)],
        Entry::Outcome(outcome) => {
            let message = outcome.message;
            let mut events = Vec::new();
            let state = match outcome.verdict {
                Verdict::Delivered => MessageState::Delivered,
                Verdict::Dead { .. } => MessageState::Error,
                Verdict::Retry { at } => {
                    events.push(Found {
                        next_delivery_at: Some(at),
                        ..event(1, message, MessageState::Retry)
                    });
                    MessageState::Error
                }
            };
            events.push(Found {
                outcome: Some(outcome),
                ..event(0, message, state)
            });
            events
        }
        // What was given up before its end was called off as well.
        Entry::GivenUp { .. }
        | Entry::Carried { .. }
        | Entry::History { .. }
        | Entry::Snapshot(_) => Vec::new(),
    }
}

/// Returns the event with its message. One that is no longer stored shows what the entry itself says.
pub(super) fn log_event(found: Found, id: String, message: Option<&PushedMessage>) -> LogEvent {
    let attempt = found.outcome.map(|outcome| outcome.attempt);
    let is_error = found.state == MessageState::Error;
    let error = attempt
        .as_ref()
        .filter(|_| is_error)
        .map(|attempt| match attempt.result {
            AttemptResult::Status(status) => format!("the destination answered {status}"),
            AttemptResult::Error(_) => String::from_utf8_lossy(&attempt.body).into_owned(),
        });
    LogEvent {
        time: found.place.time,
        message_id: id,
        state: found.state,
        envelope: message.map_or_else(Envelope::default, |message| message.envelope.clone()),
        body: message.map_or_else(bytes::Bytes::new, |message| message.body.clone()),
        error,
        next_delivery_at: found.next_delivery_at,
        response: attempt.map(|attempt| ResponseView {
            result: attempt.result,
            headers: attempt.headers,
            body: attempt.body,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use storage::delivery::Intent;

    use super::*;

    #[test]
    fn of_one_moment_what_became_of_a_message_is_newer_than_its_publish() {
        let time = TimestampMs(5);
        let intent = Entry::Intent(Intent {
            message: Offset(9),
            attempt: 1,
            time,
            period: None,
        });
        let mut events = became(1, (Offset(0), time), intent.clone());
        events.extend(became(1, (Offset(1), time), intent));
        let places: Vec<_> = events.iter().map(|event| event.place).collect();
        let published = published(1, time, Offset(9));
        assert!(published.place < *places.first().unwrap());
        assert!(places.first() < places.get(1));
        assert_eq!(published.state, MessageState::Created);
    }
}
