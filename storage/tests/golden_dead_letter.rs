//! The bytes of dead letters on disk and in cursors, as they were written first. They may only change together with their
//! version. With `REDRIVE_WRITE_GOLDEN` set, the files are written anew.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use storage::batch::Record;
use storage::dead_letter::facets::{Facets, FacetsBuilder};
use storage::dead_letter::fingerprint::Fingerprint;
use storage::dead_letter::history::{Attempt, AttemptResult, ErrorClass, History};
use storage::dead_letter::letter::{
    DeadLetter, Destination, Disposition, Lineage, Receiver, Source,
};
use storage::dead_letter::live::LiveSet;
use storage::dead_letter::marker::{Marker, Resolution};
use storage::dead_letter::select::{Cursor, LetterFilter, Order, PartitionRange};
use storage::disk::MappedBytes;
use storage::error::Corruption;
use storage::log_id::PartitionNumber;
use storage::offset::{Offset, TimestampMs};

/// Compares lines with those of a file, or writes them.
fn assert_golden(name: &str, lines: &[String]) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name]
        .iter()
        .collect();
    let text: String = lines
        .iter()
        .flat_map(|line| [line.as_str(), "\n"])
        .collect();
    if std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name}");
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where an option is asked for"
)]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn history() -> History {
    let attempt = |number, result, body: &'static [u8]| Attempt {
        number,
        time: TimestampMs(1_700_000_000_000 + i64::from(number)),
        duration_ms: 250,
        result,
        headers: vec![("retry-after".to_owned(), "30".to_owned())],
        body: Bytes::from_static(body),
        is_body_cut: number == 2,
        are_headers_cut: false,
    };
    let mut history = History::default();
    history.push(attempt(
        1,
        AttemptResult::Error(ErrorClass::CONNECT),
        b"refused",
    ));
    history.push(attempt(2, AttemptResult::Status(503), b"Busy: order 17"));
    history
}

fn pushed() -> DeadLetter {
    let mut letter = DeadLetter {
        source: Source {
            topic: "orders".to_owned(),
            partition_index: 1,
            partition: PartitionNumber(7),
            offset: Offset(4_294_967_297),
        },
        receiver: Receiver::Destination(Destination {
            url: "https://example.com/hook".to_owned(),
            method: "POST".to_owned(),
            url_group: text("shops"),
            endpoint: text("berlin"),
            queue: text("mail"),
            schedule: text("nightly"),
            flow_control_key: text("tenant-1"),
        }),
        record: Record {
            timestamp: TimestampMs(1_699_999_999_000),
            key: Some(Bytes::from_static(b"order-17")),
            value: Some(Bytes::from_static(b"{\"total\":3}")),
            headers: vec![
                ("trace".to_owned(), Some(Bytes::from_static(b"abc"))),
                ("null".to_owned(), None),
            ],
        },
        disposition: Disposition::RETRIES_EXHAUSTED,
        died_at: TimestampMs(1_700_000_001_000),
        reason: "retries exhausted".to_owned(),
        details: text("3 of 3"),
        history: history(),
        fingerprint: Fingerprint {
            version: 1,
            hash: 0,
        },
        lineage: Lineage {
            first_message_id: text("msg-1"),
            republished: 1,
        },
        labels: vec!["eu".to_owned(), "paid".to_owned()],
        message_id: text("msg-2"),
        caller: text("ada"),
        cut: 0,
    };
    letter.fingerprint = letter.compute_fingerprint();
    letter
}

fn rejected() -> DeadLetter {
    let mut letter = DeadLetter {
        receiver: Receiver::Group("billing".to_owned()),
        record: Record::default(),
        disposition: Disposition::REJECTED,
        died_at: TimestampMs(1_700_000_000_500),
        reason: "bad total".to_owned(),
        details: None,
        history: History::default(),
        lineage: Lineage::default(),
        labels: Vec::new(),
        message_id: None,
        caller: None,
        cut: 1 << 6,
        ..pushed()
    };
    letter.fingerprint = letter.compute_fingerprint();
    letter
}

fn facets() -> Vec<u8> {
    let mut builder = FacetsBuilder::new(Offset(500));
    builder.add_letter(0, &pushed());
    builder.add_letter(1, &rejected());
    builder.add_marker(2, Offset(501));
    builder.add_letter(5, &pushed());
    builder.finish()
}

#[test]
fn letters() {
    let letters = [pushed(), rejected()];
    let encoded = letters.each_ref().map(|letter| hex(&letter.encode()));
    assert_golden("letter-v1.hex", &encoded);
}

#[test]
fn markers() {
    let republished = Marker {
        letter: Offset(501),
        resolution: Resolution::Republished {
            partition: PartitionNumber(7),
            offset: Offset(4_294_967_299),
        },
        request_id: text("req-1"),
        time: TimestampMs(1_700_000_002_000),
        who: "ada".to_owned(),
    };
    let deleted = Marker {
        resolution: Resolution::Deleted,
        request_id: None,
        ..republished.clone()
    };
    let encoded = [republished, deleted].map(|marker| {
        let mut bytes = Vec::new();
        marker.encode(&mut bytes);
        hex(&bytes)
    });
    assert_golden("marker-v1.hex", &encoded);
}

#[test]
fn facet_files() {
    assert_golden("facets-v2.hex", &[hex(&facets())]);
    let opened = Facets::open(MappedBytes::Owned(facets())).unwrap();
    assert_eq!(opened.marker_of(Offset(501)), Some(2));
    let filter = LetterFilter {
        urls: vec!["https://example.com/hook".to_owned()],
        ..Default::default()
    };
    assert_eq!(
        opened.candidates(&filter).bitmap.iter().collect::<Vec<_>>(),
        [0, 5]
    );
}

/// It is a hint: what an earlier program has written is made again.
#[test]
fn facet_files_of_the_first_version_are_refused() {
    let bytes = include_str!("fixtures/facets-v1.hex").trim();
    let bytes = (0..bytes.len() / 2)
        .map(|at| u8::from_str_radix(bytes.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
        .collect();
    let refused = Facets::open(MappedBytes::Owned(bytes)).unwrap_err();
    let expected = Corruption::Field {
        field: "facets version",
        value: 1,
    };
    assert_eq!(refused, expected);
}

#[test]
fn live_sets() {
    let mut live = LiveSet::default();
    live.begin_segment(Offset(0));
    live.begin_segment(Offset(500));
    for offset in [1, 500, 501, 505] {
        live.insert(Offset(offset));
    }
    live.resolve(Offset(501), Resolution::Deleted);
    live.expire_below(Offset(500));
    assert_golden("live-set-v1.hex", &[hex(&live.encode())]);
}

#[test]
fn cursors() {
    let range = |partition, from, to| PartitionRange {
        partition: PartitionNumber(partition),
        from: Offset(from),
        to: Offset(to),
    };
    let filter = LetterFilter {
        groups: vec!["billing".to_owned()],
        fingerprints: vec![pushed().fingerprint],
        dispositions: vec![Disposition::REJECTED],
        statuses: vec![503],
        urls: vec!["https://example.com/hook".to_owned()],
        labels: vec!["paid".to_owned(), "eu".to_owned()],
        message_ids: vec!["msg-2".to_owned()],
        callers: vec!["ada".to_owned()],
        died_from: Some(TimestampMs(-1)),
        died_to: Some(TimestampMs(1_700_000_001_000)),
        ..LetterFilter::default()
    };
    let ranges = [range(7, 500, 506), range(300, 0, 1 << 40)];
    let some = Cursor::new(Order::NewestFirst, &filter, &ranges).unwrap();
    let none = Cursor::new(Order::OldestFirst, &LetterFilter::default(), &[]).unwrap();
    assert_golden("cursor-v1.txt", &[some.to_string(), none.to_string()]);
    // The same layout; only the filter says more.
    let pushed = LetterFilter {
        url_groups: vec!["group".to_owned()],
        endpoints: vec!["endpoint".to_owned()],
        queues: vec!["queue".to_owned()],
        schedules: vec!["schedule".to_owned()],
        flow_control_keys: vec!["key".to_owned()],
        ..filter
    };
    let pushed = Cursor::new(Order::NewestFirst, &pushed, &ranges).unwrap();
    assert_golden("cursor-of-push-v1.txt", &[pushed.to_string()]);
}
