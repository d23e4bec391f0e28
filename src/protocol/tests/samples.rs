//! What messages are made of, with every field filled in.

use bytes::Bytes;
use storage::offset::{Offset, TimestampMs};

use crate::protocol::cursor::Text;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::group_offsets::CommittedOffset;
use crate::protocol::letter::{AttemptView, LetterView, ReceiverView};
use crate::protocol::metadata::{LetterCounts, PartitionView, TopicView};
use crate::protocol::selection::{LetterFilter, Order, Page};
use crate::protocol::settings::{Durability, Limit, SettingsChange, TopicSettings};

pub(super) fn name(text: &str) -> String {
    text.to_owned()
}

pub(super) fn refusal() -> Refusal {
    Refusal::new(ErrorCode::UnknownTopic, "no topic `flights`")
}

pub(super) fn topic() -> TopicView {
    TopicView {
        name: name("flights"),
        durability: Durability::Written,
        settings: TopicSettings {
            segment_bytes: 1,
            segment_ms: 2,
            retention_ms: Some(3),
            retention_bytes: None,
            dead_letter_retention_ms: Some(4),
            dead_letter_retention_bytes: Some(5),
            record_bytes_max: 6,
            batch_bytes_max: 7,
        },
        partitions: vec![PartitionView {
            index: 0,
            number: 9,
            log_start_offset: Offset(10),
            high_watermark: Offset(11),
            log_end_offset: Offset(12),
            letters: counts(),
        }],
    }
}

pub(super) fn counts() -> LetterCounts {
    LetterCounts {
        live: 1,
        republished: 2,
        deleted: 3,
        expired: 4,
    }
}

pub(super) fn change() -> SettingsChange {
    SettingsChange {
        segment_bytes: Some(1),
        retention_ms: Some(Limit::Unlimited),
        retention_bytes: Some(Limit::AtMost(2)),
        ..SettingsChange::default()
    }
}

pub(super) fn committed() -> CommittedOffset {
    CommittedOffset {
        topic: name("flights"),
        partition: 3,
        offset: Offset(4),
        metadata: name("m"),
    }
}

pub(super) fn filter() -> LetterFilter {
    LetterFilter {
        groups: vec![name("billing")],
        fingerprints: vec![name("010203040506070809")],
        dispositions: vec![1, 3],
        urls: vec![name("https://example.com/hook")],
        labels: vec![name("l1"), name("l2")],
        message_ids: vec![name("m1")],
        callers: vec![name("10.0.0.1")],
        statuses: vec![500, 503],
        died_from: Some(TimestampMs(-1)),
        died_to: Some(TimestampMs(2)),
        url_groups: vec![name("g1")],
        endpoints: vec![name("e1")],
        queues: vec![name("q1"), name("q2")],
        schedules: vec![name("s1")],
        flow_control_keys: vec![name("k1")],
    }
}

pub(super) fn page() -> Page {
    Page {
        order: Order::NewestFirst,
        limit: 100,
        cursor: Some(name("next")),
    }
}

pub(super) fn letter(receiver: ReceiverView) -> LetterView {
    LetterView {
        id: name("2abc"),
        topic: name("flights"),
        partition: 1,
        dead_letter_offset: Offset(2),
        source_offset: Offset(3),
        receiver,
        disposition: 3,
        reason: Text(name("late")),
        details: Some(Text(name("by a day"))),
        died_at: TimestampMs(4),
        fingerprint: name("010203040506070809"),
        first_message_id: Some(name("1abc")),
        republished: 5,
        history: vec![AttemptView {
            started_at: TimestampMs(6),
            duration_ms: 7,
            status: Some(500),
            error: Some(Text(name("reset"))),
            headers: vec![(Text(name("server")), Text(name("x")))],
            body: Bytes::from_static(b"oops"),
            is_cut: true,
            number: 2,
            error_class: Some(5),
        }],
        attempts_left_out: 8,
        labels: vec![name("l1")],
        message_id: Some(name("m1")),
        caller: Some(name("10.0.0.1")),
        record_timestamp: TimestampMs(9),
        key: Some(Bytes::from_static(b"k")),
        value: None,
        headers: vec![
            (name("h"), Some(Bytes::from_static(b"v"))),
            (name("none"), None),
        ],
    }
}
