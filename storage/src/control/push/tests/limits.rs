//! Sizes and counts that are refused when they are asked for, and taken when they stand in the log.

use super::*;
use crate::control::Refusal;

fn long(bytes: u32) -> String {
    "x".repeat(bytes as usize)
}

/// Checks that each entry is refused when it is asked for, in these words, and taken when it stands in the log.
fn assert_out_of_bounds<const N: usize>(cases: [(Entry, &str); N]) {
    let state = ControlState::default();
    for (entry, what) in cases {
        let refusal = state.check(&entry).unwrap_err();
        let told = refusal.to_string();
        assert!(told.starts_with(&format!("the {what} would be ")), "{told}");
        assert!(matches!(refusal, Refusal::OutOfBounds { .. }), "{told}");
        state.clone().apply(&entry).unwrap();
    }
}

#[test]
fn sizes_of_queues_and_url_groups_are_limited_for_what_is_asked() {
    let many = vec![endpoint(None, "u"); 101];
    let name = long(NAME_BYTES_MAX + 1);
    assert_out_of_bounds([
        (queue_set(&name, 1), "length of the queue's name"),
        (queue_set("q", 0), "queue's parallelism"),
        (
            queue_set("q", QUEUE_PARALLELISM_MAX + 1),
            "queue's parallelism",
        ),
        (
            group_set(&name, vec![endpoint(None, "u")]),
            "length of the URL group's name",
        ),
        (
            group_set("g", vec![]),
            "number of the URL group's endpoints",
        ),
        (group_set("g", many), "number of the URL group's endpoints"),
        (
            group_set("g", vec![endpoint(None, "")]),
            "length of the endpoint's URL",
        ),
        (
            group_set("g", vec![endpoint(None, &long(URL_BYTES_MAX + 1))]),
            "length of the endpoint's URL",
        ),
        (
            group_set("g", vec![endpoint(Some(""), "u")]),
            "length of the endpoint's name",
        ),
    ]);
}

#[test]
fn sizes_of_schedules_are_limited_for_what_is_asked() {
    let set = |change: fn(&mut Schedule)| {
        let mut schedule = schedule(0);
        change(&mut schedule);
        schedule_set("s", schedule)
    };
    let name = long(NAME_BYTES_MAX + 1);
    assert_out_of_bounds([
        (
            schedule_set(&name, schedule(0)),
            "length of the schedule's id",
        ),
        (
            set(|s| s.cron = long(CRON_BYTES_MAX + 1)),
            "length of the cron expression",
        ),
        (
            set(|s| s.destination.clear()),
            "length of the schedule's destination",
        ),
        (
            set(|s| s.queue = Some(String::new())),
            "length of the schedule's queue",
        ),
        (
            set(|s| s.caller_ip = Some(long(CALLER_IP_BYTES_MAX + 1))),
            "length of the schedule's caller IP",
        ),
        (
            set(|s| s.envelope = vec![0; HEADER_VALUE_BYTES_MAX as usize + 1].into()),
            "length of the schedule's headers and settings",
        ),
        (
            set(|s| s.body = vec![0; RECORD_BYTES_CEILING as usize + 1].into()),
            "length of the schedule's body",
        ),
    ]);
}

#[test]
fn sizes_of_flow_keys_and_signing_keys_are_limited_for_what_is_asked() {
    let flow = |parallelism, rate, period_ms| {
        let flow = FlowOverride {
            is_paused: false,
            parallelism,
            rate,
            period_ms,
        };
        flow_set("k", flow)
    };
    assert_out_of_bounds([
        (
            flow_set(&long(FLOW_KEY_BYTES_MAX + 1), pinned()),
            "length of the flow-control key",
        ),
        (flow(Some(0), None, None), "pinned parallelism"),
        (flow(None, Some(0), None), "pinned rate"),
        (flow(None, Some(1), Some(0)), "pinned period in ms"),
        (flow(None, Some(1), Some(u64::MAX)), "pinned period in ms"),
        (keys_set("", "a"), "length of the signing key"),
        (
            keys_set("a", &long(SIGNING_KEY_BYTES_MAX + 1)),
            "length of the signing key",
        ),
    ]);
}

/// Checks that `one_more` is refused in a state that holds as much as it may, and that `known`, which changes what is there,
/// is not.
fn assert_full(state: &ControlState, one_more: &Entry, known: &Entry, what: &str) {
    let refusal = state.check(one_more).unwrap_err();
    let told = refusal.to_string();
    assert!(told.starts_with(&format!("the {what} would be ")), "{told}");
    assert!(matches!(refusal, Refusal::TooMany { .. }), "{told}");
    assert_eq!(state.check(known), Ok(()), "{what}");
    state.clone().apply(one_more).unwrap();
}

#[test]
fn counts_are_limited_for_what_is_new() {
    let names = |count: u32| (0..count).map(|at| format!("n{at}"));
    let queues: Vec<_> = names(QUEUE_COUNT_MAX).map(|n| queue_set(&n, 1)).collect();
    let (new, known) = (queue_set("new", 1), queue_set("n0", 3));
    assert_full(&fold(&queues), &new, &known, "number of queues");

    let one = || vec![endpoint(None, "u")];
    let groups: Vec<_> = names(URL_GROUP_COUNT_MAX)
        .map(|name| group_set(&name, one()))
        .collect();
    let (new, known) = (group_set("new", one()), group_set("n0", one()));
    assert_full(&fold(&groups), &new, &known, "number of URL groups");

    let hundred = || vec![endpoint(None, "u"); URL_GROUP_ENDPOINT_COUNT_MAX as usize];
    let groups: Vec<_> = names(ENDPOINT_COUNT_MAX / URL_GROUP_ENDPOINT_COUNT_MAX)
        .map(|name| group_set(&name, hundred()))
        .collect();
    let (new, known) = (group_set("new", one()), group_set("n0", hundred()));
    assert_full(&fold(&groups), &new, &known, "number of endpoints");

    let schedules: Vec<_> = (0..)
        .zip(names(SCHEDULE_COUNT_MAX))
        .map(|(number, id)| schedule_set(&id, schedule(number)))
        .collect();
    let new = schedule_set("new", schedule(u64::from(SCHEDULE_COUNT_MAX)));
    let known = schedule_set("n0", schedule(0));
    assert_full(&fold(&schedules), &new, &known, "number of schedules");

    let flows: Vec<_> = names(FLOW_KEY_COUNT_MAX)
        .map(|key| flow_set(&key, pinned()))
        .collect();
    let (new, known) = (flow_set("new", pinned()), flow_set("n0", pinned()));
    assert_full(&fold(&flows), &new, &known, "number of flow-control keys");
}

#[test]
fn the_bytes_of_all_schedules_are_limited() {
    let body = Bytes::from(vec![7; 16 << 20]);
    let large = |number| Schedule {
        envelope: Bytes::from_static(b"e"),
        body: body.slice(1..),
        ..schedule(number)
    };
    let entries: Vec<_> = (0..4)
        .map(|number| schedule_set(&format!("s{number}"), large(number)))
        .collect();
    let state = fold(&entries);
    let new = schedule_set("new", large(4));
    assert_full(&state, &new, &entries[0], "bytes of all schedules");
}
