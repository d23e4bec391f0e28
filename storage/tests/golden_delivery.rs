//! The bytes of envelopes, of delivery entries and of the state of deliveries on disk, as they were written first. They may only
//! change together with their version. With `REDRIVE_WRITE_GOLDEN` set, the files are written anew.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use storage::batch::Record;
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::dead_letter::{Attempt, AttemptResult, Disposition, ErrorClass, History};
use storage::delivery::{
    Arrival, Callback, DeliveryState, Entry, Envelope, FlowControl, Intent, Outcome, Owes,
    Redaction, SnapshotPart, Verdict,
};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name]
        .iter()
        .collect()
}

/// Compares named bytes with those of a file, or writes them.
fn assert_golden(name: &str, all: &[(&str, Vec<u8>)]) {
    let path = fixture(name);
    let mut text = String::new();
    for (what, bytes) in all {
        write!(text, "{what} ").unwrap();
        for byte in bytes {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    if std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name}");
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn headers() -> Vec<(String, Bytes)> {
    vec![
        ("content-type".to_owned(), Bytes::from_static(b"text/plain")),
        ("x-empty".to_owned(), Bytes::new()),
    ]
}

fn full() -> Envelope {
    Envelope {
        url: "https://example.com/orders?id=7".to_owned(),
        method: "PUT".to_owned(),
        headers: headers(),
        not_before: Some(TimestampMs(1_700_000_060_000)),
        retries: 5,
        timeout_ms: Some(30_000),
        retry_delay: text("pow(2, retried) * 1000"),
        labels: vec!["orders".to_owned(), "eu".to_owned()],
        dedup: Some([0xab; 16]),
        callback: Some(Callback {
            url: "https://example.com/done".to_owned(),
            method: text("POST"),
            headers: headers(),
            retries: Some(1),
            timeout_ms: Some(5_000),
            retry_delay: text("1000"),
            delay_ms: Some(60_000),
        }),
        failure_callback: Some(Callback {
            url: "https://example.com/failed".to_owned(),
            ..Callback::default()
        }),
        flow: Some(FlowControl {
            key: "customer-17".to_owned(),
            parallelism: Some(2),
            rate: Some(100),
            period_ms: Some(60_000),
        }),
        queue: text("orders"),
        url_group: text("everybody"),
        endpoint: text("first"),
        schedule: text("nightly"),
        redaction: Redaction {
            body: true,
            headers: false,
            header_names: vec!["authorization".to_owned()],
        },
        caller_ip: text("203.0.113.9"),
        root: Some(Offset(41)),
    }
}

fn least() -> Envelope {
    Envelope {
        url: "http://127.0.0.1:3000/".to_owned(),
        method: "POST".to_owned(),
        retries: 3,
        ..Envelope::default()
    }
}

fn attempt(number: u32, result: AttemptResult) -> Attempt {
    Attempt {
        number,
        time: TimestampMs(1_700_000_000_000 + i64::from(number)),
        duration_ms: 250,
        result,
        headers: vec![("retry-after".to_owned(), "30".to_owned())],
        body: Bytes::from_static(b"Busy: order 17"),
        is_body_cut: number == 2,
        are_headers_cut: false,
    }
}

fn outcome(message: u64, verdict: Verdict, owes: Owes, previous: Option<Offset>) -> Entry {
    Entry::Outcome(Outcome {
        message: Offset(message),
        verdict,
        owes,
        previous,
        attempt: attempt(2, AttemptResult::Status(503)),
    })
}

const NOTHING: Owes = Owes {
    callback: false,
    failure_callback: false,
};
const BOTH: Owes = Owes {
    callback: true,
    failure_callback: true,
};
const DEAD: Verdict = Verdict::Dead {
    disposition: Disposition::RETRIES_EXHAUSTED,
};

fn entries() -> Vec<(&'static str, Entry)> {
    let message = Offset(7);
    let time = TimestampMs(1_700_000_000_500);
    let mut history = History::default();
    history.push(attempt(1, AttemptResult::Error(ErrorClass::CONNECT)));
    history.push(attempt(2, AttemptResult::Status(503)));
    let intent = Intent {
        message,
        attempt: 1,
        time,
        period: None,
    };
    let retry = Verdict::Retry {
        at: TimestampMs(1_700_000_012_000),
    };
    vec![
        ("intent", Entry::Intent(intent)),
        (
            "intent-in-period",
            Entry::Intent(Intent {
                period: Some(TimestampMs(1_700_000_000_000)),
                ..intent
            }),
        ),
        ("delivered", outcome(7, Verdict::Delivered, NOTHING, None)),
        ("retry", outcome(7, retry, NOTHING, Some(Offset(9)))),
        ("dead", outcome(7, DEAD, BOTH, Some(Offset(12)))),
        ("cancelled", Entry::Cancelled { message, time }),
        (
            "letter",
            Entry::Dead {
                message,
                letter: Offset(3),
                time,
            },
        ),
        (
            "carried",
            Entry::Carried {
                message,
                append_time: time,
                record: Record {
                    timestamp: TimestampMs(1_700_000_000_000),
                    key: None,
                    value: Some(Bytes::from_static(b"{\"order\":17}")),
                    headers: vec![(
                        "redrive.envelope".to_owned(),
                        Some(Bytes::from(least().encode())),
                    )],
                },
            },
        ),
        ("history", Entry::History { message, history }),
        ("given-up", Entry::GivenUp { message, time }),
        (
            "snapshot",
            Entry::Snapshot(SnapshotPart {
                index: 1,
                count: 3,
                state_crc: 0xdead_beef,
                bytes: vec![1, 2, 3],
            }),
        ),
    ]
}

/// A state with something in every list.
fn state() -> DeliveryState {
    let mut state = DeliveryState::default();
    let time = TimestampMs(1_700_000_000_000);
    let full = full();
    let message = Envelope { root: None, ..full };
    let published = Some(Arrival::new(time, &message, None));
    let plain = Some(Arrival::new(time, &least(), None));
    let cause = Cause {
        kind: CauseKind::Schedule,
        log: LogId::CONTROL,
        offset: Offset(0),
        detail: CauseDetail {
            request_id: text("nightly"),
            due: Some(time),
            ..CauseDetail::default()
        },
    };
    let fired = Some(Arrival::new(time, &least(), Some(cause)));
    let arrivals = [
        published.clone(),
        published,
        None,
        plain.clone(),
        plain,
        fired,
    ];
    state.admit(Offset(100), time, &arrivals);
    let intent = |message: u64| {
        Entry::Intent(Intent {
            message: Offset(message),
            attempt: 1,
            time,
            period: Some(time),
        })
    };
    state.apply(Offset(0), &intent(100));
    state.apply(Offset(1), &outcome(100, Verdict::Delivered, BOTH, None));
    state.apply(Offset(2), &intent(103));
    state.apply(Offset(3), &outcome(103, DEAD, BOTH, None));
    state.apply(
        Offset(4),
        &Entry::Cancelled {
            message: Offset(105),
            time,
        },
    );
    state.apply(
        Offset(5),
        &Entry::Carried {
            message: Offset(104),
            append_time: time,
            record: Record::default(),
        },
    );
    let callback = Arrival {
        queue: text("orders"),
        root: Some(Offset(100)),
        cause: Some(Cause {
            kind: CauseKind::Callback,
            log: LogId::new(PartitionNumber(1), LogKind::Delivery),
            offset: Offset(1),
            detail: CauseDetail::default(),
        }),
        ..Arrival::default()
    };
    state.admit(Offset(106), time, &[Some(callback)]);
    state
}

#[test]
fn envelopes_are_the_golden_bytes() {
    let all = [("full", full()), ("least", least())];
    for (what, envelope) in &all {
        assert_eq!(
            Envelope::decode(&envelope.encode()).as_ref(),
            Ok(envelope),
            "{what}"
        );
    }
    assert_golden("envelope-v1.hex", &all.map(|(what, e)| (what, e.encode())));
}

#[test]
fn delivery_entries_are_the_golden_bytes() {
    let all = entries();
    for (what, entry) in &all {
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(entry), "{what}");
    }
    let all: Vec<_> = all
        .into_iter()
        .map(|(what, e)| (what, e.encode()))
        .collect();
    assert_golden("delivery-entry-v1.hex", &all);
}

#[test]
fn a_delivery_state_is_the_golden_bytes() {
    let bytes = state().encode();
    let again = DeliveryState::decode(&bytes).unwrap();
    assert_eq!(again.encode(), bytes);
    assert_eq!(again.counts(), state().counts());
    assert_golden("delivery-state-v2.hex", &[("state", bytes)]);
}

/// It ends in front of the limits of flow-control keys.
#[test]
fn a_delivery_state_of_version_1_is_still_read() {
    let golden = std::fs::read_to_string(fixture("delivery-state-v1.hex")).unwrap();
    let hex = golden.trim().strip_prefix("state ").unwrap();
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<_> = hex.as_bytes().chunks(2).map(byte).collect();
    let old = DeliveryState::decode(&bytes).unwrap();
    let new = state();
    assert_eq!(old.counts(), new.counts());
    let limits = |state: &DeliveryState| state.limits_of("customer-17");
    assert_eq!(limits(&old), None);
    assert!(limits(&new).is_some());
    let (old, new) = (old.encode(), new.encode());
    assert!(new.starts_with(&old[..old.len() - 8]), "all but the limits");
}
