//! A broker that may have 64 MiB more than it takes at rest, and everything at once: producers, publishers and consumers as fast
//! as they can, and crowds that announce the largest frames and bodies and send nothing of them. It is never killed, and
//! everything that it has acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::frame::decode_answer;
use redrive::protocol::produce::{Acks, ProduceAnswer, ProduceBatch, ProduceRequest};
use redrive::protocol::settings::{Durability, SettingsChange};
use storage::batch::header::{BatchHeader, HEADER_BYTES};
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord, Records};
use storage::offset::{Offset, TimestampMs};

use crate::cage::Cage;
use crate::frames::status_bytes;
use crate::hold::Hold;
use crate::honest::{Raw, TOPIC, create_topic, frame, handshake, round};
use crate::process::{Broker, Http, TOKEN, command};

/// What the broker may have above its use at rest.
const ROOM_BYTES: u64 = 64 << 20;
const PARTITIONS: u32 = 8;
const PRODUCERS: u64 = 8;
/// Frames of each producer that are not yet answered.
const PIPELINED: usize = 4;
const PUBLISHERS: u64 = 8;
const CONSUMERS: u32 = 2;
/// Peers of each kind that announce and do not send.
const ANNOUNCERS: usize = 150;
/// How long the load lasts in the merge-sized set.
const LOAD: Duration = Duration::from_secs(4);
/// Those who work are there before the crowd.
const ALONE: Duration = Duration::from_millis(500);
const BODY_BYTES: usize = 1 << 20;

/// What was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    /// The number of the batch at each partition and offset.
    batches: Mutex<BTreeMap<(u32, u64), (u64, u64)>>,
    messages: Mutex<Vec<(String, String)>>,
    refused: AtomicU64,
    fetched_bytes: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch of records of 512 KiB; each says whose and which it is.
fn batch(producer: u64, number: u64, records: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for record in 0..records {
        let mut value = vec![number as u8; 512 << 10];
        value[..8].copy_from_slice(&producer.to_be_bytes());
        value[8..16].copy_from_slice(&number.to_be_bytes());
        value[16..24].copy_from_slice(&record.to_be_bytes());
        let record = NewRecord {
            timestamp: TimestampMs(1),
            key: None,
            value: Some(&value),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.build(BuildOptions::default()).unwrap()
}

/// Half of the producers send batches of 1 MiB, the others of 3.5 MiB.
fn records_of(producer: u64) -> u64 {
    if producer.is_multiple_of(2) { 2 } else { 7 }
}

fn produce(broker: &Broker, producer: u64, is_over: &AtomicBool, told: &Acknowledged) {
    let partition = producer as u32 % PARTITIONS;
    let mut raw = Raw::shaken(broker.protocol);
    let (mut sent, mut answered) = (0, 0);
    while answered < sent || !is_over.load(Ordering::Relaxed) {
        if sent - answered < PIPELINED as u64 && !is_over.load(Ordering::Relaxed) {
            let request = ProduceRequest {
                acks: Acks::default(),
                batches: vec![ProduceBatch {
                    topic: TOPIC.to_owned(),
                    partition,
                    batch: batch(producer, sent, records_of(producer)).into(),
                }],
            };
            raw.send(&frame(sent as u32, &request));
            sent += 1;
            continue;
        }
        let body = raw.body().expect("a producer is answered");
        let (id, answer) = decode_answer::<ProduceAnswer>(&body.into()).unwrap();
        assert_eq!(u64::from(id), answered);
        match answer.unwrap().batches.remove(0) {
            Ok(at) => {
                let key = (partition, at.base_offset.0);
                locked(&told.batches).insert(key, (producer, answered));
            }
            Err(refusal) => {
                assert!(refusal.code.is_retryable(), "{refusal}");
                told.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        answered += 1;
    }
}

fn body_of(publisher: u64, number: u64) -> String {
    let mut body = format!("{publisher} {number} ");
    body.extend(std::iter::repeat_n('b', BODY_BYTES - body.len()));
    body
}

fn publish(broker: &Broker, publisher: u64, is_over: &AtomicBool, told: &Acknowledged) {
    let mut http = Http::connect(broker.http);
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let body = body_of(publisher, number);
        let later = [("upstash-delay", "1d")];
        let answer = http.post("/v2/publish/http://127.0.0.1:1/", &later, body.as_bytes());
        if answer.status == 200 {
            let id = answer.json(200)["messageId"].as_str().unwrap().to_owned();
            let begins = format!("{publisher} {number} ");
            locked(&told.messages).push((id, begins));
        } else {
            assert!([429, 503].contains(&answer.status), "{answer:?}");
            told.refused.fetch_add(1, Ordering::Relaxed);
        }
        number += 1;
    }
}

/// Fetches from a partition, as much at once as may be.
fn fetch(raw: &mut Raw, partition: u32, offset: u64) -> Vec<u8> {
    let request = FetchRequest {
        bytes_max: 4 << 20,
        wait_ms_max: 0,
        bytes_min: 1,
        partitions: vec![FetchPartition {
            topic: TOPIC.to_owned(),
            partition,
            offset: Offset(offset),
            bytes_max: 4 << 20,
        }],
    };
    let answer = raw.call(&request).unwrap().partitions.remove(0);
    assert_eq!(answer.refusal, None);
    answer.batches.to_vec()
}

fn consume(broker: &Broker, partition: u32, is_over: &AtomicBool, told: &Acknowledged) {
    let mut raw = Raw::shaken(broker.protocol);
    let mut offset = 0;
    while !is_over.load(Ordering::Relaxed) {
        let bytes = fetch(&mut raw, partition, offset);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let header = BatchHeader::decode(rest).unwrap();
            offset = header.next_offset().0;
            rest = &rest[header.length as usize..];
        }
        told.fetched_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

/// Peers that have shown the token and announce the largest frame or body, and peers that have not. There may be more of them than
/// there are places.
fn announce(broker: &Broker) -> Vec<Raw> {
    let mut all = Vec::new();
    let head = format!(
        "POST /v2/publish/http://127.0.0.1:1/ HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\nb",
        1 << 20
    );
    for _ in 0..ANNOUNCERS {
        let mut known = Raw::connect(broker.protocol);
        known.send(&frame(1, &handshake()));
        known.send(&(8_u32 << 20).to_be_bytes());
        known.send(&[0; 8]);
        let mut stranger = Raw::connect(broker.protocol);
        stranger.send(&(64_u32 << 10).to_be_bytes());
        stranger.send(&[0; 8]);
        let mut http = Raw::connect(broker.http);
        http.send(head.as_bytes());
        all.extend([known, stranger, http]);
    }
    all
}

/// Everything acknowledged is there, each batch at its offset, each message with its body.
fn check(broker: &Broker, told: &Acknowledged) {
    let mut batches = locked(&told.batches).clone();
    let mut raw = Raw::shaken(broker.protocol);
    for partition in 0..PARTITIONS {
        let mut offset = 0;
        loop {
            let bytes = fetch(&mut raw, partition, offset);
            if bytes.is_empty() {
                break;
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let header = BatchHeader::decode(rest).unwrap();
                let (whole, behind) = rest.split_at(header.length as usize);
                rest = behind;
                offset = header.next_offset().0;
                let expected = batches.remove(&(partition, header.base_offset.0));
                let Some((producer, number)) = expected else {
                    continue;
                };
                for (at, record) in (0_u64..).zip(Records::new(&header, &whole[HEADER_BYTES..])) {
                    let value = record.unwrap().value.unwrap().to_vec();
                    let says = [producer, number, at].map(u64::to_be_bytes).concat();
                    assert_eq!(value[..24], says[..]);
                    assert!(value[24..].iter().all(|byte| *byte == number as u8));
                }
            }
        }
    }
    assert!(batches.is_empty(), "lost: {batches:?}");
    let mut http = Http::connect(broker.http);
    for (id, begins) in locked(&told.messages).iter() {
        let message = http.get(&format!("/v2/messages/{id}")).json(200);
        let body = message["body"].as_str().unwrap();
        assert!(body.len() == BODY_BYTES && body.starts_with(begins.as_str()));
    }
}

fn load(broker: &Broker, until: impl Fn() -> bool + Sync, told: &Acknowledged) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Set also when this thread panics: the others must not go on for ever.
        let over = Over(&is_over);
        let is_over = &is_over;
        for producer in 0..PRODUCERS {
            scope.spawn(move || produce(broker, producer, is_over, told));
        }
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(broker, publisher, is_over, told));
        }
        for partition in 0..CONSUMERS {
            scope.spawn(move || consume(broker, partition, is_over, told));
        }
        let (begun, mut crowd) = (Instant::now(), Vec::new());
        while !until() {
            std::thread::sleep(Duration::from_millis(50));
            if crowd.is_empty() && begun.elapsed() > ALONE {
                crowd = announce(broker);
            }
        }
        drop(over);
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn under_a_memory_limit_the_broker_is_never_killed_and_loses_nothing() {
    let mut hold = Hold::begin(
        "peers/memory::under_a_memory_limit_the_broker_is_never_killed_and_loses_nothing",
    );
    let dir = tempfile::tempdir().unwrap();
    let cage = Cage::new();
    if matches!(cage, Cage::Data) {
        eprintln!("NOT WHOLE: this user may not make a memory cgroup, a limit on data says less");
    }
    let addresses = ["127.0.0.1:0", "127.0.0.1:0"];
    let command = command(dir.path(), addresses, &[]);
    let broker = Broker::spawn(cage.around(&command, None), dir.path());
    let request = CreateTopicRequest {
        name: TOPIC.to_owned(),
        partition_count: PARTITIONS,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    Raw::shaken(broker.protocol).call(&request).unwrap();
    round(&broker);
    let idle = cage.used_bytes(broker.pid());
    broker.stop();
    cage.limit(idle + ROOM_BYTES);
    let caged = cage.around(&command, Some(idle + ROOM_BYTES));
    let mut broker = Broker::spawn(caged, dir.path());
    let told = Acknowledged::default();
    let begun = Instant::now();
    let mut first = true;
    let until = || begun.elapsed() >= LOAD;
    while first || (hold.is_long() && hold.goes_on(0, 0)) {
        first = false;
        load(&broker, until, &told);
        assert_eq!(cage.kill_count(), 0, "{}", broker.logged());
    }
    hold.count("peak_mib", broker.resident_bytes() >> 20);
    round(&broker);
    check(&broker, &told);
    broker.stop();
    let caged = cage.around(&command, Some(idle + ROOM_BYTES));
    broker = Broker::spawn(caged, dir.path());
    check(&broker, &told);
    broker.stop();
    assert_eq!(cage.kill_count(), 0);
    hold.count("batches", locked(&told.batches).len() as u64);
    hold.count("messages", locked(&told.messages).len() as u64);
    hold.count("refused", told.refused.into_inner());
    hold.count("fetched_mib", told.fetched_bytes.into_inner() >> 20);
    hold.count("idle_mib", idle >> 20);
    eprintln!("{cage:?}");
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

/// Chunks of one byte each, sent at the same time.
const TINY_CHUNKS: usize = 150_000;
const TINY_BODIES: usize = 4;
/// What such a body may take for each of its bytes, at most: its parts take more room than it has.
const PER_BYTE_MAX: u64 = 10;

#[test]
fn a_body_in_tiny_chunks_takes_the_memory_of_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[]);
    create_topic(&broker);
    round(&broker);
    let head = format!(
        "POST /v2/publish/http://127.0.0.1:1/ HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\nupstash-delay: 1d\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let request = head + &"1\r\nb\r\n".repeat(TINY_CHUNKS) + "0\r\n\r\n";
    let before = status_bytes(&broker, "VmHWM:");
    std::thread::scope(|scope| {
        for _ in 0..TINY_BODIES {
            scope.spawn(|| {
                let mut http = Http::connect(broker.http);
                http.send(request.as_bytes());
                http.answer().expect("an answer").json(200);
            });
        }
    });
    let grown = status_bytes(&broker, "VmHWM:") - before;
    let sent = (TINY_BODIES * TINY_CHUNKS) as u64;
    eprintln!("{grown} bytes for bodies of {sent}");
    assert!(
        grown <= sent * PER_BYTE_MAX,
        "{grown} bytes for bodies of {sent}"
    );
    broker.stop();
}
