//! What outlives the messages that have brought it.

use super::*;

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
    // The clock may be set back: what was appended last counts, and the same time again is another firing.
    for due in [40, 60] {
        let base = state.admitted_up_to();
        state.admit(base, NOW, &[fire(due)]);
        let (_, fired) = state.fired().next().unwrap();
        assert_eq!((fired.due.0, fired.base, fired.count), (due, base, 1));
        state.admit(base.next(), NOW, &[None]);
    }
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
