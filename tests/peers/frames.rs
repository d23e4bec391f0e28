//! Frames of the binary protocol that come in pieces, end early, or lie about what they hold.

use std::time::Duration;

use redrive::protocol::group_offsets::ListGroupsRequest;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord};
use storage::checksum::crc32;
use storage::offset::TimestampMs;

use crate::hold::Hold;
use crate::honest::{Raw, batch, create_topic, frame, produce, round};
use crate::process::{Broker, Random};

/// Bytes of a frame before its payload: length, key, version, id.
const HEAD_BYTES: usize = 12;
/// Memory that requests may take whose lengths and counts lie: room for threads, and for none of the numbers they say.
const LIE_BYTES_MAX: u64 = 160 << 20;
/// Peak of memory that bombs may cost.
const BOMB_BYTES_MAX: u64 = 256 << 20;

/// One request of every kind, and a produce request that is taken.
fn requests() -> Vec<Vec<u8>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/decode_frame");
    let paths = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.to_string_lossy().contains(".request"))
        .collect();
    paths.sort();
    let mut all: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert!(all.len() >= 19, "{paths:?}");
    // A handshake comes once, and its own is split below.
    all.retain(|bytes| bytes[4..6] != [0, 1]);
    all.push(frame(5, &produce(batch(b"split"))));
    // Splitting must not wait for records that do not come.
    all.retain(|bytes| bytes.len() < 400);
    all
}

#[test]
fn every_frame_may_come_in_two_parts_and_may_end_anywhere() {
    let mut hold =
        Hold::begin("peers/frames::every_frame_may_come_in_two_parts_and_may_end_anywhere");
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[]);
    create_topic(&broker);
    for request in requests() {
        let mut raw = Raw::shaken(broker.protocol);
        raw.send(&request);
        // Some change what there is, and are refused the second time; some end the connection.
        let is_understood = raw.body().is_some();
        for at in 1..request.len() {
            if is_understood {
                raw.send(&request[..at]);
                raw.send(&request[at..]);
                assert!(raw.body().is_some(), "split at {at}: {request:02x?}");
                hold.count("splits", 1);
            }
            let mut cut = Raw::shaken(broker.protocol);
            cut.send(&request[..at]);
            if at % 2 == 0 {
                // A reset, not an end.
                let linger = socket2::SockRef::from(&cut.stream);
                linger.set_linger(Some(Duration::ZERO)).unwrap();
            }
            hold.count("cuts", 1);
        }
    }
    round(&broker);
    broker.stop();
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

/// Lets a broker take so many bytes of memory more, touched or not; one that asks for more of them ends.
fn limit_data(broker: &Broker, more: u64) {
    let taken = status_bytes(broker, "VmData:");
    let pid = Pid::from_raw(broker.pid().cast_signed());
    let limit = Rlimit {
        current: Some(taken + more),
        maximum: None,
    };
    prlimit(pid, Resource::Data, limit).unwrap();
}

/// Sends a request in which the four bytes at a place are a number of which nothing is true.
fn lie(broker: &Broker, request: &[u8], at: usize, number: u32) {
    let mut bytes = request.to_vec();
    for (place, byte) in bytes.iter_mut().skip(at).zip(number.to_be_bytes()) {
        *place = byte;
    }
    let mut raw = Raw::shaken(broker.protocol);
    raw.send(&bytes);
    // It is answered, or the connection ends; waiting for more is answered too when nothing comes.
    let _answered = raw.body();
}

#[test]
fn lengths_and_counts_that_lie_take_no_memory() {
    let mut hold = Hold::begin("peers/frames::lengths_and_counts_that_lie_take_no_memory");
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[("limits.frame_ms_max", "1s")]);
    create_topic(&broker);
    let requests = requests();
    let mut random = Random::new(hold.seed());
    // Also what is taken and not touched counts: a buffer for a large number ends the broker.
    limit_data(&broker, LIE_BYTES_MAX);
    let before = broker.resident_bytes();
    // Each place once, then any.
    for request in &requests {
        for at in HEAD_BYTES..request.len() {
            lie(&broker, request, at, u32::MAX >> (1 + random.below(4)));
            hold.count("lies", 1);
        }
    }
    let mut round_count = 0;
    while hold.goes_on(round_count, 4) {
        for request in &requests {
            let room = (request.len() - HEAD_BYTES).saturating_sub(3).max(1) as u64;
            let at = HEAD_BYTES + random.below(room) as usize;
            let number = if random.below(2) == 0 {
                u32::MAX >> random.below(8)
            } else {
                random.next() as u32
            };
            lie(&broker, request, at, number);
            hold.count("lies", 1);
        }
        round_count += 1;
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "{grown} bytes; {}",
        hold.replay(hold.seed())
    );
    round(&broker);
    broker.stop();
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

/// A number of what the system says of the broker's process, which it gives in KiB.
pub(crate) fn status_bytes(broker: &Broker, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

fn peak_bytes(broker: &Broker) -> u64 {
    status_bytes(broker, "VmHWM:")
}

/// A batch whose records unpack to thousands of times its size, which says that it holds `declared` bytes.
fn bomb(codec: Codec, declared: Option<u32>) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut builder = BatchBuilder::new(codec);
    let record = NewRecord {
        timestamp: TimestampMs(1),
        key: None,
        value: Some(&zeros),
        headers: &[],
    };
    while builder.push(&record).is_ok() {}
    assert!(builder.unpacked_bytes() > 8 * (2 << 20));
    let mut bytes = builder.build(BuildOptions::default()).unwrap();
    if let Some(declared) = declared {
        bytes[32..36].copy_from_slice(&declared.to_be_bytes());
        let body = crc32(&bytes[96..]).to_be_bytes();
        bytes[52..56].copy_from_slice(&body);
        let header = crc32(&bytes[..92]).to_be_bytes();
        bytes[92..96].copy_from_slice(&header);
    }
    bytes
}

#[test]
fn bombs_are_refused_and_memory_stays_flat() {
    let dir = tempfile::tempdir().unwrap();
    let narrow = [
        ("topic.batch_bytes_max", "2MiB"),
        ("topic.record_bytes_max", "1MiB"),
    ];
    let broker = Broker::on_loopback(dir.path(), &narrow);
    create_topic(&broker);
    round(&broker);
    let before = peak_bytes(&broker);
    for codec in [Codec::Lz4, Codec::Zstd] {
        for declared in [None, Some(10), Some(1 << 20), Some(u32::MAX)] {
            let bomb = bomb(codec, declared);
            assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
            let request = frame(3, &produce(bomb));
            // Some at the same moment.
            let mut raws: Vec<Raw> = (0..8).map(|_| Raw::shaken(broker.protocol)).collect();
            for raw in &mut raws {
                raw.send(&request);
            }
            for raw in &mut raws {
                let body = raw.body().expect("a bomb is answered");
                let answer = redrive::protocol::frame::decode_answer::<
                    redrive::protocol::produce::ProduceAnswer,
                >(&body.into());
                let (_, answer) = answer.unwrap();
                // Also the one that says how large it is: a topic takes eight times its largest batch, unpacked.
                let is_taken = answer.unwrap().batches[0].is_ok();
                assert!(!is_taken, "{codec:?} {declared:?}");
            }
        }
    }
    let grown = peak_bytes(&broker).saturating_sub(before);
    assert!(grown < BOMB_BYTES_MAX, "{grown} bytes at the peak");
    Raw::shaken(broker.protocol)
        .call(&ListGroupsRequest {})
        .unwrap();
    broker.stop();
}
