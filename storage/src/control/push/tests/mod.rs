//! Tests of the entries that set up pushing, and of what they add up to.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod adding_up;
mod encoding;
mod limits;
mod random;

use bytes::Bytes;

use super::*;
use crate::control::tests::fold;
use crate::control::{ControlState, Entry};
use crate::delivery::Envelope;
use crate::limits::*;
use crate::offset::TimestampMs;

pub(crate) use random::any_push_entry;

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
