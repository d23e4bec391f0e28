//! The state by example; the model test drives it at random.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod callbacks;
mod remembered;

use bytes::Bytes;

use super::*;
use crate::cause::{Cause, CauseDetail};
use crate::dead_letter::{Attempt, AttemptResult, Disposition};
use crate::delivery::entry::{Entry, Intent, Outcome, Owes, Verdict};
use crate::delivery::envelope::FlowControl;
use crate::log_id::{LogId, LogKind, PartitionNumber};

const NOW: TimestampMs = TimestampMs(1_000);

fn log(kind: LogKind) -> LogId {
    LogId::new(PartitionNumber(1), kind)
}

fn arrival(queue: Option<&str>) -> Arrival {
    Arrival {
        queue: queue.map(str::to_owned),
        ..Arrival::default()
    }
}

fn callback(kind: CauseKind, of: Offset, root: Option<(&str, Offset)>) -> Arrival {
    let from = match kind {
        CauseKind::FailureCallback => LogKind::DeadLetter,
        _ => LogKind::Delivery,
    };
    Arrival {
        queue: root.map(|(queue, _)| queue.to_owned()),
        root: root.map(|(_, root)| root),
        cause: Some(Cause {
            kind,
            log: log(from),
            offset: of,
            detail: CauseDetail::default(),
        }),
        ..Arrival::default()
    }
}

fn intent(message: Offset, attempt: u32) -> Entry {
    Entry::Intent(Intent {
        message,
        attempt,
        time: NOW,
        period: None,
    })
}

fn outcome(message: Offset, number: u32, verdict: Verdict, owes: Owes) -> Entry {
    Entry::Outcome(Outcome {
        message,
        verdict,
        owes,
        previous: None,
        attempt: Attempt {
            number,
            time: NOW,
            duration_ms: 1,
            result: AttemptResult::Status(500),
            headers: Vec::new(),
            body: Bytes::new(),
            is_body_cut: false,
            are_headers_cut: false,
        },
    })
}

fn flow(key: &str) -> FlowControl {
    FlowControl {
        key: key.to_owned(),
        ..FlowControl::default()
    }
}

const BOTH: Owes = Owes {
    callback: true,
    failure_callback: true,
};
const DEAD: Verdict = Verdict::Dead {
    disposition: Disposition::RETRIES_EXHAUSTED,
};

fn check(state: &DeliveryState) {
    let counts = state.counts();
    let sum = counts.pending
        + counts.in_flight
        + counts.delivered
        + counts.cancelled
        + counts.dead_lettered;
    assert_eq!(counts.accepted, sum, "{counts:?}");
    let mut again = DeliveryState::decode(&state.encode()).unwrap();
    again.finish_fold();
    assert_eq!(again.encode(), state.encode());
}

#[test]
fn a_message_is_ready_at_its_time_and_ends_once() {
    let mut state = DeliveryState::default();
    let later = Arrival {
        not_before: Some(TimestampMs(2_000)),
        ..Arrival::default()
    };
    state.admit(Offset(0), NOW, &[Some(later), None, Some(arrival(None))]);
    assert_eq!(state.admitted_up_to(), Offset(3));
    assert_eq!(state.take_due(NOW, 9), [Offset(2)]);
    assert_eq!(state.next_due(), Some(TimestampMs(2_000)));
    state.apply(Offset(0), &intent(Offset(2), 1));
    assert_eq!(state.counts().in_flight, 1);
    check(&state);
    let at = TimestampMs(5_000);
    let retry = outcome(Offset(2), 1, Verdict::Retry { at }, Owes::default());
    state.apply(Offset(1), &retry);
    assert_eq!(state.get(Offset(2)).unwrap().due, at);
    check(&state);
    assert_eq!(state.take_due(at, 9), [Offset(0), Offset(2)]);
    state.apply(Offset(2), &intent(Offset(2), 2));
    let delivered = outcome(Offset(2), 2, Verdict::Delivered, Owes::default());
    state.apply(Offset(3), &delivered);
    state.apply(Offset(4), &delivered);
    assert_eq!(
        state.counts().delivered,
        1,
        "the second one says nothing new"
    );
    let cancelled = Entry::Cancelled {
        message: Offset(0),
        time: at,
    };
    state.apply(Offset(5), &cancelled);
    state.apply(Offset(6), &cancelled);
    assert_eq!(state.counts().cancelled, 1);
    check(&state);
    assert_eq!(state.messages_from(Offset(0)).count(), 0);
}

#[test]
fn an_attempt_that_a_crash_interrupts_is_made_again_under_its_number() {
    let mut state = DeliveryState::default();
    state.admit(Offset(0), NOW, &[Some(arrival(None))]);
    state.take_due(NOW, 1);
    state.apply(Offset(0), &intent(Offset(0), 1));
    let mut again = DeliveryState::decode(&state.encode()).unwrap();
    again.finish_fold();
    assert_eq!(again.take_due(NOW, 1), [Offset(0)]);
    assert_eq!(again.get(Offset(0)).unwrap().attempts, 0);
}

#[test]
fn a_queue_runs_in_order_and_waits_for_callbacks() {
    let mut state = DeliveryState::default();
    let queued = || Some(arrival(Some("q")));
    state.admit(Offset(0), NOW, &[queued(), queued(), queued()]);
    assert_eq!(state.take_due(NOW, 9), [Offset(0)]);
    assert_eq!(state.queue_lag("q"), 3);
    state.apply(Offset(0), &intent(Offset(0), 1));
    let owes = Owes {
        callback: true,
        failure_callback: false,
    };
    state.apply(Offset(1), &outcome(Offset(0), 1, Verdict::Delivered, owes));
    assert_eq!(state.queue_lag("q"), 2);
    assert_eq!(state.take_due(NOW, 9), [], "the callback is owed");
    check(&state);
    let answer = callback(CauseKind::Callback, Offset(1), Some(("q", Offset(0))));
    state.admit(Offset(3), NOW, &[Some(answer)]);
    assert_eq!(state.owed().count(), 0);
    assert_eq!(state.take_due(NOW, 9), [Offset(3)], "the callback itself");
    check(&state);
    state.apply(Offset(2), &intent(Offset(3), 1));
    let called = outcome(Offset(3), 1, Verdict::Delivered, Owes::default());
    state.apply(Offset(3), &called);
    assert_eq!(state.take_due(NOW, 9), [Offset(1)], "now the next one");
    assert_eq!(state.queue_messages("q"), [Offset(1), Offset(2)]);
    check(&state);
}

#[test]
fn parallelism_and_pauses_hold_and_release() {
    let mut state = DeliveryState::default();
    let paused = QueueRule {
        parallelism: 2,
        is_paused: true,
    };
    state.set_queue_rule("q", Some(paused));
    let queued = || Some(arrival(Some("q")));
    state.admit(Offset(0), NOW, &[queued(), queued(), queued()]);
    assert_eq!(state.take_due(NOW, 9), []);
    let running = QueueRule {
        is_paused: false,
        ..paused
    };
    state.set_queue_rule("q", Some(running));
    assert_eq!(state.take_due(NOW, 9), [Offset(0), Offset(1)]);
    assert!(state.may_start(Offset(0)));
    state.set_queue_rule("q", Some(paused));
    assert!(!state.may_start(Offset(0)));
    state.put_back(Offset(0), NOW);
    assert_eq!(state.take_due(NOW, 9), []);
    state.set_queue_rule("q", Some(running));
    assert_eq!(state.take_due(NOW, 9), [Offset(0)]);
    check(&state);
}
