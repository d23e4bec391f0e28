//! The state by example; the model test drives it at random.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

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

#[test]
fn a_dead_message_keeps_until_letter_and_callbacks_stand() {
    let mut state = DeliveryState::default();
    state.admit(Offset(0), NOW, &[Some(arrival(None))]);
    state.take_due(NOW, 1);
    state.apply(Offset(0), &intent(Offset(0), 1));
    state.apply(Offset(1), &outcome(Offset(0), 1, DEAD, BOTH));
    assert_eq!(state.dying().collect::<Vec<_>>(), [(Offset(0), Offset(1))]);
    assert_eq!(state.head_ceiling(), Some(Offset(1)));
    assert_eq!(state.owed().count(), 0, "they wait for the letter");
    check(&state);
    let dead = Entry::Dead {
        message: Offset(0),
        letter: Offset(77),
        time: NOW,
    };
    state.apply(Offset(2), &dead);
    assert_eq!(state.counts().dead_lettered, 1);
    let (at, owed) = state.owed().next().unwrap();
    assert_eq!((at, owed.letter), (Offset(1), Some(Offset(77))));
    check(&state);
    state.admit(
        Offset(1),
        NOW,
        &[
            Some(callback(CauseKind::Callback, Offset(1), None)),
            Some(callback(CauseKind::FailureCallback, Offset(77), None)),
        ],
    );
    assert_eq!(state.owed().count(), 0);
    assert!(state.get(Offset(0)).is_none());
    assert_eq!(state.head_ceiling(), None);
    check(&state);
}

#[test]
fn a_callback_met_before_what_it_answers_is_not_owed_again() {
    let mut state = DeliveryState::default();
    state.admit(
        Offset(0),
        NOW,
        &[
            Some(arrival(None)),
            Some(callback(CauseKind::Callback, Offset(1), None)),
            Some(callback(CauseKind::FailureCallback, Offset(77), None)),
        ],
    );
    state.apply(Offset(0), &intent(Offset(0), 1));
    state.apply(Offset(1), &outcome(Offset(0), 1, DEAD, BOTH));
    let dead = Entry::Dead {
        message: Offset(0),
        letter: Offset(77),
        time: NOW,
    };
    state.apply(Offset(2), &dead);
    state.finish_fold();
    assert_eq!(state.owed().count(), 0);
    assert!(state.get(Offset(0)).is_none());
    check(&state);
}

#[test]
fn duplicates_schedules_and_periods_are_remembered() {
    let mut state = DeliveryState::default();
    let keyed = |key: u8| {
        Some(Arrival {
            dedup: Some([key; 16]),
            flow: Some(flow("f")),
            ..Arrival::default()
        })
    };
    state.admit(Offset(0), NOW, &[keyed(1), keyed(1)]);
    state.admit(Offset(2), NOW, &[keyed(2)]);
    let found: Vec<_> = state.duplicates().map(|d| (d.base, d.count)).collect();
    assert_eq!(found, [(Offset(0), 2), (Offset(2), 1)]);
    let fire = |due: i64| {
        let mut arrival = callback(CauseKind::Schedule, Offset(0), None);
        let detail = &mut arrival.cause.as_mut().unwrap().detail;
        detail.request_id = Some("s".to_owned());
        detail.due = Some(TimestampMs(due));
        Some(arrival)
    };
    state.admit(Offset(3), NOW, &[fire(60), fire(60)]);
    let (id, fired) = state.fired().next().unwrap();
    assert_eq!((id, fired.due, fired.count), ("s", TimestampMs(60), 2));
    let start = TimestampMs(500);
    for message in [0, 1] {
        state.take_due(NOW, 1);
        let intent = Intent {
            message: Offset(message),
            attempt: 1,
            time: NOW,
            period: Some(start),
        };
        state.apply(Offset(message), &Entry::Intent(intent));
    }
    let (key, period) = state.periods().next().unwrap();
    assert_eq!((key, period.start, period.count), ("f", start, 2));
    check(&state);
    state.forget(TimestampMs(1_001), TimestampMs(501), &|_| false);
    assert_eq!(state.duplicates().count(), 0);
    assert_eq!(state.periods().count() + state.fired().count(), 0);
}

/// Otherwise a crash would forget the attempts of a period until the clock has caught up.
#[test]
fn a_period_behind_a_step_back_of_the_clock_counts() {
    let mut state = DeliveryState::default();
    let keyed = Some(Arrival {
        flow: Some(flow("f")),
        ..Arrival::default()
    });
    state.admit(Offset(0), NOW, &[keyed.clone(), keyed.clone(), keyed]);
    let before = TimestampMs(NOW.0 + 3_600_000);
    // The last one shares a period that began a moment ahead of the clock.
    for (message, start, time) in [(0, before, before), (1, NOW, NOW), (2, NOW, TimestampMs(1))] {
        let intent = Intent {
            message: Offset(message),
            attempt: 1,
            time,
            period: Some(start),
        };
        state.apply(Offset(message), &Entry::Intent(intent));
    }
    let (_, period) = state.periods().next().unwrap();
    assert_eq!((period.start, period.count), (NOW, 2));
}

#[test]
fn what_is_given_up_owes_nothing_and_lets_the_next_of_its_queue_go() {
    let mut state = DeliveryState::default();
    let queued = || Some(arrival(Some("q")));
    state.admit(Offset(0), NOW, &[queued(), queued(), queued(), queued()]);
    let give_up = |state: &mut DeliveryState, message: u64| {
        let message = Offset(message);
        state.apply(Offset(99), &Entry::GivenUp { message, time: NOW });
        assert!(!state.holds(message));
        assert_eq!(state.owed().count(), 0);
        check(state);
    };
    let mut at = 0..;
    let mut end = |state: &mut DeliveryState, message: u64, verdict| {
        assert_eq!(state.take_due(NOW, 9), [Offset(message)]);
        state.apply(Offset(at.next().unwrap()), &intent(Offset(message), 1));
        let ended = outcome(Offset(message), 1, verdict, BOTH);
        state.apply(Offset(at.next().unwrap()), &ended);
    };
    // One that waits for its retry and owes a callback, one that dies, one that is dead and owes, one that nothing has begun.
    let at = NOW.saturating_add(1_000);
    end(&mut state, 0, Verdict::Retry { at });
    give_up(&mut state, 0);
    end(&mut state, 1, DEAD);
    give_up(&mut state, 1);
    assert_eq!(state.dying().count(), 0);
    end(&mut state, 2, DEAD);
    let dead = Entry::Dead {
        message: Offset(2),
        letter: Offset(0),
        time: NOW,
    };
    state.apply(Offset(50), &dead);
    give_up(&mut state, 2);
    give_up(&mut state, 3);
    let counts = state.counts();
    assert_eq!((counts.cancelled, counts.dead_lettered), (3, 1));
    assert_eq!(state.queue_lag("q"), 0);
}

#[test]
fn limits_outlive_the_messages_that_have_named_them() {
    let mut state = DeliveryState::default();
    let limited = |key: &str, rate| {
        Some(Arrival {
            flow: Some(FlowControl { rate, ..flow(key) }),
            ..Arrival::default()
        })
    };
    state.admit(
        Offset(0),
        NOW,
        &[limited("f", Some(3)), limited("g", Some(4))],
    );
    let later = NOW.saturating_add(1);
    state.admit(Offset(2), later, &[limited("f", None), limited("h", None)]);
    let rates = |state: &DeliveryState| {
        let limits = ["f", "g", "h"].map(|key| (key, state.limits_of(key)));
        let limits = limits.into_iter().filter_map(|(key, limits)| {
            let limits = limits?;
            Some((key, limits.rate, limits.since))
        });
        limits.collect::<Vec<_>>()
    };
    let both = [("f", Some(3), NOW), ("g", Some(4), NOW)];
    assert_eq!(rates(&state), both);
    assert_eq!(
        rates(&DeliveryState::decode(&state.encode()).unwrap()),
        both
    );
    for message in [0, 1] {
        let message = Offset(message);
        let time = later;
        state.apply(message, &Entry::Cancelled { message, time });
    }
    assert_eq!(rates(&state), both);
    check(&state);
    state.forget_limits(later);
    assert_eq!(
        rates(&state),
        both[..1],
        "a message has the key of the first"
    );
}
