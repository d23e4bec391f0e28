//! Letters and filters for tests, out of few values, so that a filter meets several letters and misses others.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::fingerprint::Fingerprint;
use super::history::{Attempt, AttemptResult, ErrorClass, History};
use super::letter::{DeadLetter, Destination, Disposition, Lineage, Receiver, Source};
use super::select::LetterFilter;
use crate::batch::Record;
use crate::log_id::PartitionNumber;
use crate::offset::{Offset, TimestampMs};

/// The values that one letter is made of.
pub(super) type Seeds = (u8, u8, u8, u8, u8, i64);

pub(super) fn attempt(number: u32, result: AttemptResult, body: &[u8]) -> Attempt {
    Attempt {
        number,
        time: TimestampMs(i64::from(number)),
        duration_ms: 12,
        result,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: Bytes::copy_from_slice(body),
        is_body_cut: false,
        are_headers_cut: false,
    }
}

/// Makes the letter that the seeds stand for.
pub(super) fn letter((who, what, result, labels, ids, died_at): Seeds) -> DeadLetter {
    // Every fourth has none; as a text, some are those of another field.
    let part = |name: &str, seed: u8| match seed % 4 {
        0 => None,
        3 => Some("group-1".to_owned()),
        other => Some(format!("{name}-{other}")),
    };
    let receiver = match who % 6 {
        0..=2 => Receiver::Group(format!("group-{}", who % 3)),
        other => Receiver::Destination(Destination {
            url: format!("https://host-{other}.example/hook"),
            method: "POST".to_owned(),
            url_group: part("url-group", who / 6),
            endpoint: part("endpoint", who / 12),
            queue: part("queue", (who / 7).wrapping_add(labels)),
            schedule: part("schedule", what / 5),
            flow_control_key: part("flow", what / 9),
        }),
    };
    let mut history = History::default();
    match result % 4 {
        0 => {}
        1 => history.push(attempt(
            1,
            AttemptResult::Error(ErrorClass::TIMEOUT),
            b"late",
        )),
        _ => history.push(attempt(
            1,
            AttemptResult::Status(500 + u16::from(result % 4)),
            b"no",
        )),
    }
    DeadLetter {
        source: Source {
            topic: "orders".to_owned(),
            partition_index: 0,
            partition: PartitionNumber(3),
            offset: Offset(u64::from(ids)),
        },
        receiver,
        record: Record::default(),
        disposition: Disposition(1 + what % 5),
        died_at: TimestampMs(died_at),
        reason: "it died".to_owned(),
        details: None,
        history,
        fingerprint: Fingerprint {
            version: 1,
            hash: u64::from(what % 3),
        },
        lineage: Lineage::default(),
        labels: (0..labels % 3)
            .map(|n| format!("label-{}", (labels / 3 + n) % 4))
            .collect(),
        message_id: ids.is_multiple_of(2).then(|| format!("msg-{}", ids % 16)),
        caller: ids.is_multiple_of(3).then(|| format!("caller-{}", ids % 2)),
        cut: 0,
    }
}

pub(super) fn seeds() -> impl Strategy<Value = Seeds> {
    let small = any::<u8>;
    (small(), small(), small(), small(), small(), -50..50_i64)
}

fn names(prefix: &'static str, count: u8) -> impl Strategy<Value = Vec<String>> {
    let name = (0..=count).prop_map(move |n| format!("{prefix}-{n}"));
    prop_oneof![3 => Just(Vec::new()), 1 => vec(name, 1..4)]
}

fn part_names(prefix: &'static str) -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        3 => (0..4_u8).prop_map(move |n| format!("{prefix}-{n}")),
        1 => Just("group-1".to_owned()),
    ];
    prop_oneof![9 => Just(Vec::new()), 1 => vec(name, 1..4)]
}

fn some<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    vec(value, 0..3)
}

/// Filters of which many ask for one or two fields.
pub(super) fn filters() -> impl Strategy<Value = LetterFilter> {
    let url = (3..7_u8).prop_map(|n| format!("https://host-{n}.example/hook"));
    let fingerprint = (0..4_u64).prop_map(|hash| Fingerprint { version: 1, hash });
    let lists = (
        names("group", 3),
        names("label", 4),
        names("msg", 15),
        names("caller", 1),
        prop_oneof![3 => Just(Vec::new()), 1 => vec(url, 1..4)],
    );
    let parts = (
        part_names("url-group"),
        part_names("endpoint"),
        part_names("queue"),
        part_names("schedule"),
        part_names("flow"),
    );
    let numbers = (
        some((1..7_u8).prop_map(Disposition)),
        some(500..505_u16),
        some(fingerprint),
    );
    let times = (option::of(-60..60_i64), option::of(-60..60_i64));
    let all = (lists, parts, numbers, times, any::<u8>());
    all.prop_map(|(lists, parts, numbers, times, keep)| {
        let (groups, labels, message_ids, callers, urls) = lists;
        let (url_groups, endpoints, queues, schedules, flow_control_keys) = parts;
        let (dispositions, statuses, fingerprints) = numbers;
        let kept = |bit: u8| keep & bit != 0;
        LetterFilter {
            groups,
            labels,
            message_ids,
            callers,
            urls,
            url_groups,
            endpoints,
            queues,
            schedules,
            flow_control_keys,
            dispositions: if kept(1) { dispositions } else { Vec::new() },
            statuses: if kept(2) { statuses } else { Vec::new() },
            fingerprints: if kept(4) { fingerprints } else { Vec::new() },
            died_from: times.0.filter(|_| kept(8)).map(TimestampMs),
            died_to: times.1.filter(|_| kept(16)).map(TimestampMs),
        }
    })
}
