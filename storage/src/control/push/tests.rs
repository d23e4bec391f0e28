#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::control::tests::{assert_golden, fold};
use crate::control::{ControlState, Entry, Refusal};
use crate::delivery::Envelope;
use crate::limits::*;
use crate::offset::TimestampMs;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn queue_set(name: &str, parallelism: u32) -> Entry {
    Entry::Push(PushEntry::QueueSet {
        name: name.to_owned(),
        queue: Queue {
            parallelism,
            is_paused: parallelism == 2,
            created: NOW,
            updated: NOW.saturating_add(5),
        },
    })
}

fn queue_deleted(name: &str) -> Entry {
    Entry::Push(PushEntry::QueueDeleted {
        name: name.to_owned(),
    })
}

fn endpoint(name: Option<&str>, url: &str) -> Endpoint {
    Endpoint {
        name: name.map(str::to_owned),
        url: url.to_owned(),
    }
}

fn group_set(name: &str, endpoints: Vec<Endpoint>) -> Entry {
    Entry::Push(PushEntry::UrlGroupSet {
        name: name.to_owned(),
        group: UrlGroup {
            created: NOW,
            updated: NOW,
            endpoints,
        },
    })
}

fn group_deleted(name: &str) -> Entry {
    Entry::Push(PushEntry::UrlGroupDeleted {
        name: name.to_owned(),
    })
}

fn schedule(number: u64) -> Schedule {
    let envelope = Envelope {
        method: "POST".to_owned(),
        retries: 3,
        ..Envelope::default()
    };
    Schedule {
        number,
        cron: "CRON_TZ=Europe/Berlin */5 * * * *".to_owned(),
        destination: "https://example.org/hook".to_owned(),
        created: NOW,
        since: NOW,
        is_paused: false,
        queue: Some("mail".to_owned()),
        envelope: envelope.encode().into(),
        body: Bytes::from_static(b"{\"n\":1}"),
        caller_ip: Some("127.0.0.1".to_owned()),
    }
}

fn schedule_set(id: &str, schedule: Schedule) -> Entry {
    let id = id.to_owned();
    Entry::Push(PushEntry::ScheduleSet { id, schedule })
}

fn schedule_deleted(id: &str) -> Entry {
    Entry::Push(PushEntry::ScheduleDeleted { id: id.to_owned() })
}

fn schedule_paused(id: &str, is_paused: bool, time: i64) -> Entry {
    Entry::Push(PushEntry::SchedulePaused {
        id: id.to_owned(),
        is_paused,
        time: TimestampMs(time),
    })
}

fn flow_set(key: &str, flow: FlowOverride) -> Entry {
    let key = key.to_owned();
    Entry::Push(PushEntry::FlowKeySet { key, flow })
}

fn flow_cleared(key: &str) -> Entry {
    Entry::Push(PushEntry::FlowKeyCleared {
        key: key.to_owned(),
    })
}

fn keys_set(current: &str, next: &str) -> Entry {
    Entry::Push(PushEntry::SigningKeysSet(SigningKeys {
        current: SigningKey::new(current),
        next: SigningKey::new(next),
    }))
}

fn pinned() -> FlowOverride {
    FlowOverride {
        is_paused: true,
        parallelism: Some(5),
        rate: Some(10),
        period_ms: Some(60_000),
    }
}

/// Entries that all apply in this order; the first ones add, the last ones take away.
fn samples() -> Vec<Entry> {
    vec![
        queue_set("mail", 1),
        queue_set("bulk", 2),
        group_set(
            "shops",
            vec![
                endpoint(Some("berlin"), "https://berlin.example"),
                endpoint(None, "https://other.example/a?b=c"),
            ],
        ),
        schedule_set("nightly", schedule(0)),
        schedule_set(
            "bare",
            Schedule {
                is_paused: true,
                queue: None,
                body: Bytes::new(),
                caller_ip: None,
                ..schedule(1)
            },
        ),
        flow_set("tenant 1", pinned()),
        flow_set("tenant 2", FlowOverride::default()),
        keys_set("sig_a", "sig_b"),
        schedule_paused("nightly", true, 1_700_000_000_001),
        queue_deleted("bulk"),
        group_deleted("shops"),
        schedule_deleted("bare"),
        flow_cleared("tenant 2"),
    ]
}

const ADDING: usize = 9;

#[test]
fn the_encodings_are_the_golden_ones() {
    let encoded: Vec<_> = samples().iter().map(Entry::encode).collect();
    assert_golden("control-push-v1.hex", &encoded);
    for (entry, bytes) in samples().iter().zip(&encoded) {
        assert_eq!(Entry::decode(bytes).as_ref(), Ok(entry));
    }
    let kinds: Vec<_> = encoded.iter().map(|bytes| (bytes[0], bytes[1])).collect();
    let numbers = [10, 10, 12, 14, 14, 17, 17, 19, 16, 11, 13, 15, 18];
    assert_eq!(kinds, numbers.map(|kind| (kind, 1)));
}

#[test]
fn the_states_bytes_are_the_golden_ones_and_lead_back_to_it() {
    let state = fold(&samples()[..ADDING]);
    let snapshot = state.snapshot();
    let encoded: Vec<_> = snapshot.iter().map(Entry::encode).collect();
    assert_golden("control-state-v2.hex", &encoded);
    assert_eq!(fold(&snapshot), state);
}

#[test]
fn truncated_at_every_byte_is_an_error_and_so_is_a_byte_more() {
    for entry in samples() {
        let mut bytes = entry.encode();
        for end in 0..bytes.len() {
            let decoded = Entry::decode(&bytes[..end]);
            assert!(decoded.is_err(), "{entry:?} cut at {end}");
        }
        bytes.push(0);
        assert!(Entry::decode(&bytes).is_err(), "{entry:?} with a byte more");
    }
}

#[test]
fn a_state_cut_anywhere_is_an_error() {
    let state = fold(&samples()[..ADDING]);
    let mut out = crate::control::fields::Output::default();
    state.push().encode(&mut out);
    for end in 0..out.0.len() {
        let mut fields = crate::control::fields::Fields::new("state", &out.0[..end]);
        assert!(PushState::decode(&mut fields).is_err(), "cut at {end}");
    }
}

#[test]
fn a_state_that_no_entries_lead_to_is_an_error() {
    let encode = |state: &PushState| {
        let mut out = crate::control::fields::Output::default();
        state.encode(&mut out);
        out.0
    };
    let decode = |bytes: &[u8]| {
        let mut fields = crate::control::fields::Fields::new("state", bytes);
        PushState::decode(&mut fields)
    };
    let mut used = fold(&[schedule_set("a", schedule(7))]).push().clone();
    used.next_schedule_number = 7;
    let told = decode(&encode(&used)).unwrap_err().to_string();
    assert!(told.contains("schedule number"), "{told}");

    let mut twice = encode(fold(&[queue_set("a", 1), queue_set("b", 1)]).push());
    let at = twice.iter().position(|byte| *byte == b'b').unwrap();
    twice[at] = b'a';
    let told = decode(&twice).unwrap_err().to_string();
    assert!(told.contains("queue"), "{told}");
}

#[test]
fn the_state_is_what_was_set_last() {
    let mut state = fold(&samples()[..ADDING]);
    let push = state.push();
    assert_eq!(push.queue("mail").unwrap().parallelism, 1);
    assert!(push.queue("bulk").unwrap().is_paused);
    assert_eq!(push.url_group("shops").unwrap().endpoints.len(), 2);
    assert_eq!(push.schedule("bare").unwrap().number, 1);
    assert_eq!(push.next_schedule_number(), 2);
    assert_eq!(push.flow_key("tenant 1"), Some(pinned()));
    assert_eq!(push.signing_keys().unwrap().next.expose(), "sig_b");
    let nightly = push.schedule("nightly").unwrap();
    assert!(nightly.is_paused);
    assert_eq!(nightly.since, NOW, "a pause does not move what is due");

    let resumed = NOW.saturating_add(9);
    state
        .apply(&schedule_paused("nightly", false, resumed.0))
        .unwrap();
    let nightly = state.push().schedule("nightly").unwrap();
    assert_eq!((nightly.is_paused, nightly.since), (false, resumed));

    let state = fold(&samples());
    let push = state.push();
    assert_eq!(push.queues().map(|(n, _)| n).collect::<Vec<_>>(), ["mail"]);
    assert_eq!(push.url_groups().len(), 0);
    assert_eq!(push.schedules().len(), 1);
    assert_eq!(push.next_schedule_number(), 2, "numbers stay used");
    let keys: Vec<_> = push.flow_keys().map(|(key, _)| key).collect();
    assert_eq!(keys, ["tenant 1"]);
}

#[test]
fn a_copy_of_the_state_stays_as_it_was() {
    let mut state = fold(&samples()[..ADDING]);
    let before = state.push().clone();
    let encoded = state.clone();
    for entry in &samples()[ADDING..] {
        state.apply(entry).unwrap();
    }
    assert_eq!(&before, encoded.push());
    assert_ne!(&before, state.push());
}

#[test]
fn entries_that_contradict_the_state_are_refused_and_change_nothing() {
    let mut state = fold(&samples()[..ADDING]);
    let before = state.clone();
    for (entry, told) in [
        (queue_deleted("no"), "there is no queue no"),
        (group_deleted("no"), "there is no URL group no"),
        (schedule_deleted("no"), "there is no schedule no"),
        (schedule_paused("no", true, 1), "there is no schedule no"),
        (flow_cleared("no"), "there is no flow-control key no"),
        (
            schedule_set("nightly", schedule(2)),
            "the schedule's number is 2, it must be 0 to 0",
        ),
        (
            schedule_set("new", schedule(1)),
            "the schedule's number is 1, it must be 2 to",
        ),
        (
            schedule_set("new", schedule(u64::MAX)),
            "the schedule's number is 18446744073709551615, it must be 2 to",
        ),
    ] {
        let refusal = state.apply(&entry).unwrap_err();
        assert!(refusal.to_string().starts_with(told), "{refusal}");
        assert_eq!(state.check(&entry), Err(refusal));
        assert_eq!(state, before, "after {entry:?}");
    }
}

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

#[test]
fn a_schedule_with_the_largest_body_comes_back_from_a_snapshot_in_parts() {
    let large = Schedule {
        body: Bytes::from(vec![7; RECORD_BYTES_CEILING as usize]),
        ..schedule(0)
    };
    let entry = schedule_set("large", large);
    assert_eq!(ControlState::default().check(&entry), Ok(()));
    assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
    let state = fold(&[entry]);
    let snapshot = state.snapshot();
    assert!(snapshot.len() > 32, "{}", snapshot.len());
    assert_eq!(fold(&snapshot), state);
}

#[test]
fn no_debug_output_has_a_secret() {
    let entries = [
        keys_set("sig_current", "sig_next"),
        schedule_set("s", schedule(0)),
    ];
    let state = fold(&entries);
    let text = format!("{entries:?} {state:?} {:?}", state.snapshot());
    for secret in ["sig_current", "sig_next", "{\\\"n\\\"", "115, 105, 103"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("SigningKey(..)"));
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let texts = (".{0,4}", ".{0,4}", any::<Option<bool>>());
    let bytes = prop::collection::vec(any::<u8>(), 0..4);
    let times = (any::<i64>(), any::<i64>(), any::<bool>());
    (0..12_u64, texts, times, bytes).prop_map(|(number, texts, times, bytes)| Schedule {
        number,
        cron: texts.0,
        destination: texts.1,
        created: TimestampMs(times.0),
        since: TimestampMs(times.1),
        is_paused: times.2,
        queue: texts.2.map(|is| is.to_string()),
        envelope: bytes.clone().into(),
        body: bytes.into(),
        caller_ip: texts.2.map(|_| String::new()),
    })
}

/// Any entry about few names, so that many apply.
pub(crate) fn any_push_entry() -> impl Strategy<Value = Entry> {
    let name = || "[ab\u{e9}]";
    let queue =
        (any::<u32>(), any::<bool>(), any::<i64>()).prop_map(|(parallelism, is_paused, time)| {
            Queue {
                parallelism,
                is_paused,
                created: TimestampMs(time),
                updated: TimestampMs(time),
            }
        });
    let endpoint = (any::<Option<bool>>(), ".{0,4}").prop_map(|(name, url)| Endpoint {
        name: name.map(|is| is.to_string()),
        url,
    });
    let endpoints = prop::collection::vec(endpoint, 0..3);
    let flow = (any::<bool>(), any::<Option<u32>>(), any::<Option<u64>>()).prop_map(
        |(is_paused, rate, period_ms)| FlowOverride {
            is_paused,
            parallelism: rate,
            rate,
            period_ms,
        },
    );
    let keys = ("[a-z]{0,4}", "[a-z]{0,4}").prop_map(|(current, next)| SigningKeys {
        current: SigningKey::new(current),
        next: SigningKey::new(next),
    });
    prop_oneof![
        (name(), queue).prop_map(|(name, queue)| PushEntry::QueueSet { name, queue }),
        name().prop_map(|name| PushEntry::QueueDeleted { name }),
        (name(), any::<i64>(), endpoints).prop_map(|(name, time, endpoints)| {
            let time = TimestampMs(time);
            let group = UrlGroup {
                created: time,
                updated: time,
                endpoints,
            };
            PushEntry::UrlGroupSet { name, group }
        }),
        name().prop_map(|name| PushEntry::UrlGroupDeleted { name }),
        (name(), any_schedule()).prop_map(|(id, schedule)| PushEntry::ScheduleSet { id, schedule }),
        name().prop_map(|id| PushEntry::ScheduleDeleted { id }),
        (name(), any::<bool>(), any::<i64>()).prop_map(|(id, is_paused, time)| {
            let time = TimestampMs(time);
            PushEntry::SchedulePaused {
                id,
                is_paused,
                time,
            }
        }),
        (name(), flow).prop_map(|(key, flow)| PushEntry::FlowKeySet { key, flow }),
        name().prop_map(|key| PushEntry::FlowKeyCleared { key }),
        keys.prop_map(PushEntry::SigningKeysSet),
    ]
    .prop_map(Entry::Push)
}
