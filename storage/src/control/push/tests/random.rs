//! Any entry about few names, for tests of what holds for all of them.

use proptest::prelude::*;

use super::*;

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
