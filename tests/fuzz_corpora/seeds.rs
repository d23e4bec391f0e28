//! What the corpora begin with: sound examples of every format, and near misses.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use storage::address::{Address, AddressKind};
use storage::batch::{
    BatchBuilder, BrokerMark, BuildOptions, Codec, HeaderRef, NewRecord, Producer, Record,
};
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::checkpoint::LogCheckpoint;
use storage::control::push::{
    Endpoint, FlowOverride, PushEntry, Queue, Schedule, SigningKey, SigningKeys, UrlGroup,
};
use storage::control::{Commit, ControlState, Entry, Gap, TopicSettings};
use storage::dead_letter::select::{Cursor, LetterFilter, Order, PartitionRange};
use storage::dead_letter::{
    DeadLetter, Disposition, Fingerprint, History, Lineage, Marker, Receiver, Resolution, Source,
};
use storage::disk::sim::SimDisk;
use storage::index::{Extent, Index};
use storage::log::{Log, LogConfig, LogPlace};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{FilePosition, Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const ID: LogId = LogId::new(PartitionNumber(1), LogKind::Main);
/// The golden messages of each version.
const PROTOCOL: [&str; 2] = [
    include_str!("../fixtures/protocol_v1.txt"),
    include_str!("../fixtures/protocol_v2.txt"),
];

/// The golden bytes of deliveries.
const DELIVERIES: [(&str, &str); 4] = [
    (
        "envelope",
        include_str!("../../storage/tests/fixtures/envelope-v1.hex"),
    ),
    (
        "entry",
        include_str!("../../storage/tests/fixtures/delivery-entry-v1.hex"),
    ),
    (
        "state",
        include_str!("../../storage/tests/fixtures/delivery-state-v1.hex"),
    ),
    (
        "state-v2",
        include_str!("../../storage/tests/fixtures/delivery-state-v2.hex"),
    ),
];

type Seed = (&'static str, String, Vec<u8>);
type Files = fn() -> Vec<(String, Vec<u8>)>;

pub(crate) fn all() -> Vec<Seed> {
    let sources: [(&str, Files); 14] = [
        ("checkpoint", checkpoints),
        ("control_entry", control_entries),
        ("decode_batch", batches),
        ("decode_frame", frames),
        ("decode_letter", letters),
        ("delivery_entry", deliveries),
        ("destination", destinations),
        ("dlq_query", dlq_queries),
        ("log_ops", log_ops),
        ("open_index", indexes),
        ("retry_expression", retry_expressions),
        ("qstash_headers", publishes),
        ("route_http", request_heads),
        ("scan_segment", segments),
    ];
    let mut seeds = Vec::new();
    for (target, source) in sources {
        for (name, bytes) in source() {
            seeds.push((target, name, bytes));
        }
    }
    seeds
}

fn named(name: &str, bytes: Vec<u8>) -> (String, Vec<u8>) {
    (name.to_owned(), bytes)
}

fn checkpoints() -> Vec<(String, Vec<u8>)> {
    let entry = |partition, state: &[u8]| LogCheckpoint {
        id: LogId::new(PartitionNumber(partition), LogKind::DeadLetter),
        log_start: Offset(3),
        durable_end: Offset(9),
        segment_base: Offset(3),
        position: FilePosition(700),
        header_crc: 0xDEAD_BEEF,
        append_time: NOW,
        state: state.to_vec(),
    };
    let sound = storage::checkpoint::encode(7, &[entry(1, b"state"), entry(2, b"")]);
    let mut miscounted = sound.clone();
    miscounted[23] = 3;
    vec![
        named("none", storage::checkpoint::encode(1, &[])),
        named("two", sound),
        named("two-say-three", miscounted),
    ]
}

/// Envelopes, entries and a state, as their golden bytes have them: a name and hexadecimal digits in each line.
fn deliveries() -> Vec<(String, Vec<u8>)> {
    let lines = DELIVERIES
        .into_iter()
        .flat_map(|(kind, text)| text.lines().map(move |line| (kind, line)));
    lines
        .map(|(kind, line)| {
            let (name, digits) = line.split_once(' ').unwrap();
            let pairs = digits.as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            (format!("{kind}-{name}"), pairs.map(byte).collect())
        })
        .collect()
}

/// What deliveries over HTTP go by: all of it set, and then changed and taken away.
fn push_entries() -> (Vec<Entry>, Vec<Entry>) {
    let text = |text: &str| text.to_owned();
    let set = vec![
        PushEntry::QueueSet {
            name: text("mail"),
            queue: Queue {
                parallelism: 2,
                is_paused: true,
                created: NOW,
                updated: NOW,
            },
        },
        PushEntry::UrlGroupSet {
            name: text("shops"),
            group: UrlGroup {
                created: NOW,
                updated: NOW,
                endpoints: vec![Endpoint {
                    name: Some(text("berlin")),
                    url: text("https://berlin.example"),
                }],
            },
        },
        PushEntry::ScheduleSet {
            id: text("nightly"),
            schedule: Schedule {
                number: 0,
                cron: text("0 0 * * *"),
                destination: text("shops"),
                created: NOW,
                since: NOW,
                is_paused: false,
                queue: Some(text("mail")),
                envelope: Bytes::from_static(b"envelope"),
                body: Bytes::from_static(b"body"),
                caller_ip: None,
            },
        },
        PushEntry::FlowKeySet {
            key: text("tenant"),
            flow: FlowOverride {
                is_paused: false,
                parallelism: Some(1),
                rate: None,
                period_ms: Some(1000),
            },
        },
        PushEntry::SigningKeysSet(SigningKeys {
            current: SigningKey::new("sig_a"),
            next: SigningKey::new("sig_b"),
        }),
    ];
    let changed = vec![
        PushEntry::SchedulePaused {
            id: text("nightly"),
            is_paused: true,
            time: NOW,
        },
        PushEntry::QueueDeleted { name: text("mail") },
        PushEntry::UrlGroupDeleted {
            name: text("shops"),
        },
        PushEntry::ScheduleDeleted {
            id: text("nightly"),
        },
        PushEntry::FlowKeyCleared {
            key: text("tenant"),
        },
    ];
    let entries = |push: Vec<PushEntry>| push.into_iter().map(Entry::Push).collect();
    (entries(set), entries(changed))
}

fn control_entries() -> Vec<(String, Vec<u8>)> {
    let created = Entry::TopicCreated {
        name: "flights".to_owned(),
        settings: TopicSettings::default(),
        partitions: vec![PartitionNumber(1), PartitionNumber(2)],
    };
    let mut entries = vec![
        created.clone(),
        Entry::PartitionsAdded {
            name: "flights".to_owned(),
            partitions: vec![PartitionNumber(3)],
        },
        Entry::ProducerIdBlock {
            first: 0,
            count: 1000,
        },
        Entry::OffsetsCommitted {
            group: "billing".to_owned(),
            time: NOW,
            commits: vec![Commit {
                partition: PartitionNumber(3),
                offset: Offset(17),
                metadata: "m".to_owned(),
            }],
        },
        Entry::Gap(Gap {
            log: ID,
            from: Offset(4),
            to: Offset(9),
        }),
    ];
    let mut state = ControlState::default();
    for entry in &entries {
        state.apply(entry).unwrap();
    }
    entries.extend(state.snapshot());
    let (set, changed) = push_entries();
    for entry in &set {
        state.apply(entry).unwrap();
    }
    let push = [set.clone(), state.snapshot(), changed.clone()].concat();
    let mut neither = set[0].encode();
    // The truth stands before two times of 8 bytes.
    let paused = neither.len() - 17;
    neither[paused] = 2;
    entries.push(Entry::GroupDeleted {
        group: "billing".to_owned(),
    });
    entries.push(Entry::TopicDeleted {
        name: "flights".to_owned(),
    });
    let list = |entries: &[Entry]| {
        let bytes = entries.iter().map(Entry::encode);
        let framed = bytes.map(|b| [&(b.len() as u16).to_be_bytes(), b.as_slice()].concat());
        framed.collect::<Vec<_>>().concat()
    };
    let mut newer = created.encode();
    newer[1] = 2;
    vec![
        named("created", created.encode()),
        named("created-by-a-newer-program", newer),
        named("list", list(&entries)),
        named("list-push", list(&push)),
        named("push-queue-neither-paused-nor-not", neither),
        named("list-created-twice", list(&[created.clone(), created])),
    ]
}

fn batch(codec: Codec, producer: Option<Producer>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    let value = b"departure ".repeat(20);
    let headers = [HeaderRef {
        name: "trace",
        value: Some(b"abc"),
    }];
    for at in 0..3 {
        let record = NewRecord {
            timestamp: NOW.saturating_add(at),
            key: (at > 0).then_some(b"LH441".as_slice()),
            value: (at != 1).then_some(value.as_slice()),
            headers: if at == 2 { &headers } else { &[] },
        };
        builder.push(&record).unwrap();
    }
    let options = BuildOptions {
        producer,
        broker: BrokerMark::Client,
    };
    builder.build(options).unwrap()
}

fn batches() -> Vec<(String, Vec<u8>)> {
    let producer = Producer {
        id: 5,
        epoch: 1,
        base_sequence: u32::MAX - 2,
    };
    let mut miscounted = batch(Codec::None, None);
    (miscounted[27], miscounted[31]) = (3, 4);
    vec![
        named("unpacked", batch(Codec::None, None)),
        named("unpacked-say-four", miscounted),
        named("from-a-producer", batch(Codec::None, Some(producer))),
        named("lz4", batch(Codec::Lz4, None)),
        named("zstd", batch(Codec::Zstd, None)),
    ]
}

/// The golden messages of the protocol as frames: requests as they are, answers behind a request's header.
fn frames() -> Vec<(String, Vec<u8>)> {
    let [old, new] = PROTOCOL.map(str::lines);
    let new = new.map(|line| (2, line));
    let mut frames = Vec::new();
    for (version, line) in old.map(|line| (1, line)).chain(new) {
        let (name, hex) = line.split_once(' ').unwrap_or((line, ""));
        let Some((api, kind)) = name.split_once('.') else {
            continue;
        };
        let keys = redrive::protocol::api_key::ApiKey::ALL;
        let Some(key) = keys.iter().find(|key| key.name() == api) else {
            continue;
        };
        if version > key.version() {
            continue;
        }
        let header = [
            &key.number().to_be_bytes(),
            &[0, version as u8, 0, 0, 0, 9][..],
        ]
        .concat();
        let payload: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
            .collect();
        // A correlation id, the error code 0 and an empty message.
        let lead: &[u8] = if kind == "answer" { &[0; 8] } else { &[] };
        let body = [&header, lead, &payload].concat();
        let frame = [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat();
        let name = match version {
            1 => name.to_owned(),
            newer => format!("{name}.v{newer}"),
        };
        frames.push((name, frame));
    }
    assert!(frames.len() > 30);
    frames
}

fn letters() -> Vec<(String, Vec<u8>)> {
    let fingerprint: Fingerprint = "010203040506070809".parse().unwrap();
    let letter = DeadLetter {
        source: Source {
            topic: "flights".to_owned(),
            partition_index: 0,
            partition: PartitionNumber(1),
            offset: Offset(17),
        },
        receiver: Receiver::Group("billing".to_owned()),
        record: Record {
            timestamp: NOW,
            key: Some(Bytes::from_static(b"LH441")),
            value: Some(Bytes::from_static(b"departure")),
            headers: vec![("trace".to_owned(), None)],
        },
        disposition: Disposition::NOT_RETRYABLE,
        died_at: NOW,
        reason: "no such airport".to_owned(),
        details: None,
        history: History::default(),
        fingerprint,
        lineage: Lineage::default(),
        labels: vec!["eu".to_owned()],
        message_id: Some("m1".to_owned()),
        caller: None,
        cut: 0,
    };
    let mut marker = Vec::new();
    let republished = Marker {
        letter: Offset(4),
        resolution: Resolution::Republished {
            partition: PartitionNumber(1),
            offset: Offset(90),
        },
        request_id: Some("r1".to_owned()),
        time: NOW,
        who: "admin".to_owned(),
    };
    republished.encode(&mut marker);
    let cause = Cause {
        kind: CauseKind::Republish,
        log: LogId::new(PartitionNumber(1), LogKind::DeadLetter),
        offset: Offset(4),
        detail: CauseDetail {
            request_id: Some("r1".to_owned()),
            ..CauseDetail::default()
        },
    };
    let address = Address {
        kind: AddressKind::Letter,
        partition: PartitionNumber(1),
        offset: Offset(4),
    };
    let mut mistyped = address.to_string().into_bytes();
    mistyped.swap(20, 21);
    vec![
        named("letter", letter.encode()),
        named("marker", marker),
        named("cause", cause.encode()),
        named("address", address.to_string().into_bytes()),
        named("address-mistyped", mistyped),
        named("fingerprint", b"010203040506070809".to_vec()),
    ]
}

fn destinations() -> Vec<(String, Vec<u8>)> {
    let mapped = [[0; 10].as_slice(), &[0xff, 0xff, 127, 0, 0, 1]].concat();
    let translated = [&[0, 0x64, 0xff, 0x9b], [0; 8].as_slice(), &[10, 0, 0, 1]].concat();
    vec![
        named(
            "url",
            "https://Api.Example.:8443//a/../b?x=y&z=%20#part".into(),
        ),
        named("url-of-nothing-but-a-host", "http://localhost".into()),
        named("url-with-a-query-alone", "https://a.example?x=1".into()),
        named("url-of-an-odd-address", "http://0x7f.0.01:00080/".into()),
        named("url-of-ipv6", "http://[::ffff:7f00:1]:81/a".into()),
        named("url-with-credentials", "https://a@b.example/".into()),
        named("network", "10.1.0.0/16".into()),
        named("network-mapped", "::ffff:10.0.0.0/104".into()),
        named("address-mapped", mapped),
        named("address-translated", translated),
        named(
            "address-public",
            b"\x20\x01\x48\x60\x48\x60\0\0\0\0\0\0\0\0\x88\x88".to_vec(),
        ),
    ]
}

/// Texts that name letters behind a 0; filters and segments behind a 1.
fn dlq_queries() -> Vec<(String, Vec<u8>)> {
    let text = |text: &str| [&[0], text.as_bytes()].concat();
    let ranges = [PartitionRange {
        partition: PartitionNumber(1),
        from: Offset(4),
        to: Offset(900),
    }];
    let none = LetterFilter::default();
    let cursor = Cursor::new(Order::NewestFirst, &none, &ranges).unwrap();
    let query = "group=billing&disposition=rejected&status=503&label=eu%20west\
        &died_from=2026-01-31T12:00:00Z&died_to=9&order=newest_first&limit=10";
    let push_query =
        "queue=q&url_group=g&endpoint=e&schedule=s&flow_control_key=k&queue=r&order=newest_first";
    let push_body = r#"{"queues": ["q", "r"], "url_groups": ["g"], "endpoints": ["e"], "schedules": ["s"],
        "flow_control_keys": ["k"], "order": "newest_first"}"#;
    let body = r#"{"groups": ["billing"], "dispositions": ["rejected", 2], "statuses": [503],
        "died_from": "2026-01-31T12:00:00Z", "died_to": 9, "order": "newest_first", "limit": 10}"#;
    // The filter's fields and values, then letters (a gap and six bytes) and markers (a 0 and a letter).
    let letters: Vec<u8> = (0..20)
        .flat_map(|n| [1 + n % 3, n, n * 7, n, n * 3, n * 5, n * 9])
        .collect();
    let segment = |filter: &[u8]| [&[1], filter, &letters, &[0, 12, 0, 12]].concat();
    vec![
        named("query", text(query)),
        named("body", text(body)),
        named("query-of-push", text(push_query)),
        named("body-of-push", text(push_body)),
        named(
            "body-of-ids",
            text(r#"{"ids": ["a", "b"], "request_id": "r"}"#),
        ),
        named("cursor", text(&cursor.to_string())),
        named("segment-all", segment(&[0, 0])),
        named("segment-by-group", segment(&[0, 1, 17])),
        named("segment-by-three", segment(&[1, 0x64, 10, 20, 30, 40])),
        named("segment-by-death", segment(&[3, 0, 20, 90])),
        named("segment-by-texts", segment(&[0, 0x1c, 9, 18, 0])),
        named("segment-by-queue", segment(&[0x10, 0, 10])),
        named(
            "segment-by-destination",
            segment(&[0x7c, 0, 0, 9, 18, 27, 36]),
        ),
    ]
}

fn retry_expressions() -> Vec<(String, Vec<u8>)> {
    let text = |name, text: &str| named(name, text.into());
    vec![
        text("linear", "1000 * (1 + retried)"),
        text("exponential", "max(1000, pow(2, retried) * 100)"),
        text(
            "every-function",
            "min(abs(-floor(1.5)), ceil(.5)) + round(sqrt(exp(retried))) / 2",
        ),
        text("not-a-number", "0 / retried - 1"),
        text("unclosed", "pow(2, retried"),
        text("unknown-name", "1000 * retries"),
        text("three-arguments", "min(1, 2, 3)"),
        text("nested", &format!("{}1{}", "(-".repeat(15), ")".repeat(15))),
    ]
}

/// Publishes as the clients send them, and what is wrong with some.
fn publishes() -> Vec<(String, Vec<u8>)> {
    let all = "POST /v2/publish/https://example.com//a?b=c&qstash_token=t\nUpstash-Method:PUT\nUpstash-Retries:3\n\
        Upstash-Retry-Delay:pow(2, retried) * 1000\nUpstash-Delay:1d10h30m\nUpstash-Not-Before:1700000001\n\
        Upstash-Timeout:30s\nUpstash-Label:a,b\nUpstash-Callback:https://c\nUpstash-Callback-Forward-X:hunter2\n\
        Upstash-Failure-Callback-Y:1\nUpstash-Flow-Control-Key:k\n\
        Upstash-Flow-Control-Value:parallelism=5, rate=10, period=1m\nUpstash-Redact-Fields:body,header[A]\n\
        Upstash-Content-Based-Deduplication:True\nUpstash-Forward-Authorization:hunter2\nContent-Type:a/b";
    let schedule = "POST /v2/schedules/group\nUpstash-Cron:CRON_TZ=Europe/Berlin */5 * * * *\nUpstash-Schedule-Id:s\n\
        Upstash-Queue-Name:q";
    let hostile = "POST /v2/enqueue/q/http://h/%0d%0a\nUpstash-Forward-A:hunter2\rEvil: 1\nUpstash-Forward-Host:h\n\
        Upstash-Callback-:x\nUpstash-Retries:-1";
    let select = "DELETE /v2/dlq?label=a,b&url=https://a,https://b&dlqIds=x&fromDate=1&count=5&responseStatus=500";
    let batch = r#"[{"destination": "https://a", "queue": null, "body": null, "headers": {"Upstash-Retries": 3}}]"#;
    [
        ("all", all),
        ("schedule", schedule),
        ("hostile", hostile),
        ("select", select),
        ("batch", batch),
    ]
    .map(|(name, text)| named(name, text.into()))
    .to_vec()
}

fn request_heads() -> Vec<(String, Vec<u8>)> {
    let list = "GET /admin/v1/topics/a%20b/dead-letters?group=x+y&status=503&qstash_token=s3cret\n\
        Host: 127.0.0.1:7734\nOrigin: http://localhost:3000\nSec-Fetch-Site: same-origin";
    let retry =
        "POST /admin/v1/dead-letters/0123/retry\nhost: localhost\nauthorization: Bearer s3cret";
    let rebound = "GET /metrics\nhost: evil.example:80\nauthorization: Bearer wrong";
    vec![
        named("list", list.into()),
        named("retry", retry.into()),
        named("rebound", rebound.into()),
        named("open", "HEAD /readyz\nhost: [::1]:80".into()),
        named(
            "absolute",
            "GET http://localhost/openapi.json\nhost: localhost".into(),
        ),
        named(
            "other-method",
            "PUT /admin/v1/topics\nhost: a.localhost".into(),
        ),
    ]
}

fn log_ops() -> Vec<(String, Vec<u8>)> {
    // Appends (0 synced, 1 not) name a fill byte and a size; 7 is a power cut, 5 a restart, 6 a cut some operations later.
    let rolls = [[0, 7, 200].repeat(6), vec![3, 2, 4, 5, 7, 0]].concat();
    let unsynced = [
        [1, 9, 20].repeat(4),
        vec![7, 0],
        [1, 3, 50].repeat(4),
        vec![7, 77],
    ]
    .concat();
    let cut = [vec![6, 9], [0, 4, 100].repeat(9), vec![2, 4, 4, 7, 1]].concat();
    vec![
        named("rolls-and-deletes", rolls),
        named("unsynced-is-lost", unsynced),
        named("cut-in-between", cut),
    ]
}

fn indexes() -> Vec<(String, Vec<u8>)> {
    let mut index = Index::default();
    for at in 0..5u64 {
        let time = NOW.saturating_add(i64::try_from(at).unwrap());
        let position = FilePosition(32 + at * 70_000);
        index.note(Offset(10), Offset(10 + at * 3), position, time);
    }
    let extent = Extent {
        base_offset: Offset(10),
        end_offset: Offset(25),
        end: FilePosition(350_032),
        first_append_time: NOW,
        last_append_time: NOW,
        last_header_crc: 9,
    };
    let sound = index.encode(ID, &extent);
    let mut longer = sound.clone();
    longer.extend_from_slice(&[0; 16]);
    vec![
        named("five", sound),
        named("none", Index::default().encode(ID, &extent)),
        named("six-say-five", longer),
    ]
}

fn segments() -> Vec<(String, Vec<u8>)> {
    let disk = SimDisk::new(1);
    disk.write_file(Path::new("/data/format"), b"1").unwrap();
    let root = Path::new("/data").to_path_buf();
    let place = LogPlace {
        disk: Arc::new(disk.clone()),
        dir: root.join("0000000001/main"),
        root,
        id: ID,
    };
    let (mut log, _) = Log::open(place, LogConfig::default(), None, NOW).unwrap();
    for codec in [Codec::None, Codec::Lz4] {
        log.append_synced(&mut batch(codec, None), NOW).unwrap();
    }
    let path = Path::new("/data/0000000001/main/00000000000000000000.log");
    let mut bytes = disk.read_file(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(used);
    let raw = |bytes: &[u8]| [&[0], bytes].concat();
    let mut torn = bytes.clone();
    let last = torn.len() - 1;
    torn[last] ^= 0x10;
    let mut damaged = bytes.clone();
    damaged[32 + 100] ^= 0x10;
    // Three batches, then a byte changed in the second.
    let changed = [1, 3, 1, 5, 20, 2, 6, 20, 3, 7, 20, 1, 0, 0xFF];
    vec![
        named("two-batches", raw(&bytes)),
        named("torn", raw(&torn)),
        named("damaged", raw(&damaged)),
        named("empty", vec![0]),
        named("changed", changed.to_vec()),
    ]
}
