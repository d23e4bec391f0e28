//! A data directory with dead letters of pushed messages, made before a broker has it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use storage::address::Address;
use storage::batch::Record;
use storage::control::{ControlLog, Entry, TopicSettings};
use storage::data_dir::DataDir;
use storage::dead_letter::{
    Attempt, AttemptResult, DeadLetter, DeadLetterLog, Destination, Disposition, ErrorClass,
    Fingerprint, History, Lineage, Receiver, Source,
};
use storage::delivery::envelope::ENVELOPE_HEADER;
use storage::delivery::{Envelope, Redaction};
use storage::disk::{Disk, RealDisk};
use storage::log::LogConfig;
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use storage::partition::PartitionPlace;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// Letters that there are.
pub(crate) const COUNT: usize = 6;

/// Makes a directory with topic `_push` of two partitions, with letters in turn. Returns their ids, by time of death.
pub(crate) fn make(root: &Path) -> Vec<String> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = DataDir::open(disk.as_ref(), root, "tests", std::process::id()).unwrap();
    let (mut control, _) = ControlLog::open(Arc::clone(&disk), root, None, NOW).unwrap();
    let numbers = [PartitionNumber(1), PartitionNumber(2)];
    let created = Entry::TopicCreated {
        name: "_push".to_owned(),
        settings: TopicSettings::default(),
        partitions: numbers.to_vec(),
    };
    control.change(&created, NOW).unwrap();
    let mut ids = vec![String::new(); COUNT];
    for (index, number) in numbers.into_iter().enumerate() {
        let place = PartitionPlace {
            disk: Arc::clone(&disk),
            root: root.to_owned(),
            number,
        };
        let place = place.log(LogKind::DeadLetter);
        let (mut log, _) = DeadLetterLog::open(place, LogConfig::default(), None, NOW).unwrap();
        for n in (index..COUNT).step_by(2) {
            let offsets = log.append_letters(&[letter(n, number)], NOW).unwrap();
            ids[n] = Address::letter(number, offsets[0]).to_string();
        }
        log.log_mut().begin_sync().unwrap().run().unwrap();
    }
    drop(dir);
    ids
}

/// Message `n`: its even fellows stand in queue `even`, each third is of a group, a schedule and a key of its own.
fn letter(n: usize, partition: PartitionNumber) -> DeadLetter {
    let third = |name: &str| Some(format!("{name}-{}", n % 3));
    let number = n as u64;
    DeadLetter {
        source: Source {
            topic: "_push".to_owned(),
            partition_index: partition.0 - 1,
            partition,
            offset: Offset(number / 2),
        },
        receiver: Receiver::Destination(Destination {
            url: format!("https://host-{}.example/hook", n % 2),
            method: "PUT".to_owned(),
            url_group: third("group"),
            endpoint: third("endpoint"),
            queue: n.is_multiple_of(2).then(|| "even".to_owned()),
            schedule: third("schedule"),
            flow_control_key: third("key"),
        }),
        record: record(n),
        disposition: Disposition::RETRIES_EXHAUSTED,
        died_at: TimestampMs(1000 * (n as i64 + 1)),
        reason: "it was not taken".to_owned(),
        details: None,
        history: history(n),
        fingerprint: Fingerprint {
            version: 1,
            hash: number % 2,
        },
        lineage: Lineage {
            first_message_id: Some("first".to_owned()),
            republished: 1,
        },
        labels: vec![format!("label-{n}")],
        message_id: Some(format!("message-{n}")),
        caller: Some("10.0.0.1".to_owned()),
        cut: 0,
    }
}

/// A record of which every second one redacts its body and its authorization.
fn record(n: usize) -> Record {
    let header = |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
    let redaction = Redaction {
        body: n % 2 == 1,
        headers: false,
        header_names: vec!["authorization".to_owned(); n % 2],
    };
    let envelope = Envelope {
        url: format!("https://host-{}.example/hook", n % 2),
        method: "PUT".to_owned(),
        headers: vec![
            header("Authorization", b"secret"),
            header("X-Open", b"open"),
        ],
        redaction,
        ..Envelope::default()
    };
    Record {
        timestamp: NOW,
        key: None,
        value: Some(Bytes::from_static(b"secret")),
        headers: vec![(
            ENVELOPE_HEADER.to_owned(),
            Some(Bytes::from(envelope.encode())),
        )],
    }
}

/// First no connection, then an answer.
fn history(n: usize) -> History {
    let attempt = |number, result, body: &'static [u8]| Attempt {
        number,
        time: NOW,
        duration_ms: 12,
        result,
        headers: vec![("retry-after".to_owned(), "1".to_owned())],
        body: Bytes::from_static(body),
        is_body_cut: false,
        are_headers_cut: false,
    };
    let mut history = History::default();
    history.push(attempt(1, AttemptResult::Error(ErrorClass::CONNECT), b""));
    let status = if n < 2 { 500 } else { 503 };
    history.push(attempt(2, AttemptResult::Status(status), b"busy \x1b[31m"));
    history
}
