//! Peers that are slow on purpose, with the token and without: each is left on schedule, while honest ones are served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use storage::offset::Offset;

use crate::honest::{Raw, TOPIC, batch, create_topic, ended, frame, handshake, produce, round};
use crate::process::{Broker, Http, PATIENCE, TOKEN};

/// Peers of each kind.
const EACH: usize = 8;
/// Between two bytes of who drips.
const DRIP: Duration = Duration::from_millis(50);

/// How to be slow.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A byte at a time, of a request's head.
    Head,
    /// A whole head with the token, then the body a byte at a time.
    Body,
    /// The same in chunks that never end.
    Chunks,
    /// Announces a body and sends none.
    NoBody,
    /// Asks for answers and reads none.
    NeverReads,
    /// A byte at a time of the handshake.
    Handshake,
    /// The handshake announced, and nothing more.
    Announced,
    /// A byte at a time of a frame, after the handshake.
    Frame,
    /// A large frame announced after the handshake, and nothing more.
    LargeFrame,
    /// The length of a frame, in part.
    HalfLength,
    /// Asks for records and reads none.
    NeverReadsRecords,
}

const WAYS: [Way; 11] = [
    Way::Head,
    Way::Body,
    Way::Chunks,
    Way::NoBody,
    Way::NeverReads,
    Way::Handshake,
    Way::Announced,
    Way::Frame,
    Way::LargeFrame,
    Way::HalfLength,
    Way::NeverReadsRecords,
];

fn publish_head(fields: &str) -> Vec<u8> {
    format!(
        "POST /v2/publish/http://127.0.0.1:1/ HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n{fields}\r\n\r\n"
    )
    .into_bytes()
}

/// Sends bytes one at a time until the peer ends the connection; begins anew when they are over.
fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_read_timeout(Some(DRIP)).unwrap();
    let started = Instant::now();
    for byte in bytes.iter().cycle() {
        assert!(started.elapsed() < PATIENCE, "the broker waits for ever");
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        match stream.read(&mut [0; 512]) {
            // The end, or an answer that comes before one.
            Ok(0) => return,
            Ok(_) => {
                ended(stream);
                return;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Sends the same again and again without reading, until the peer ends the connection.
fn never_reads(stream: &mut TcpStream, request: &[u8]) {
    // A small window fills soon.
    socket2::SockRef::from(&*stream)
        .set_recv_buffer_size(4 << 10)
        .ok();
    stream.set_write_timeout(Some(DRIP)).unwrap();
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "the broker waits for ever");
        match stream.write(request) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

#[expect(clippy::too_many_lines, reason = "most of it is a table")]
fn be_slow(broker: &Broker, way: Way) {
    let http = || Http::connect(broker.http).stream().try_clone().unwrap();
    match way {
        Way::Head => drip(
            &mut http(),
            b"GET / HTTP/1.1\r\nhost: a\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
        ),
        Way::Body => {
            let mut stream = http();
            stream
                .write_all(&publish_head("content-length: 100000"))
                .unwrap();
            drip(&mut stream, b"a");
        }
        Way::Chunks => {
            let mut stream = http();
            stream
                .write_all(&publish_head("transfer-encoding: chunked"))
                .unwrap();
            drip(&mut stream, b"1\r\na\r\n");
        }
        Way::NoBody => {
            let mut stream = http();
            stream
                .write_all(&publish_head("content-length: 5"))
                .unwrap();
            ended(&mut stream);
        }
        Way::NeverReads => never_reads(
            &mut http(),
            b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        Way::Handshake => drip(
            &mut Raw::connect(broker.protocol).stream,
            &frame(1, &handshake())[..20],
        ),
        Way::Announced => {
            let mut raw = Raw::connect(broker.protocol);
            raw.send(&1000_u32.to_be_bytes());
            ended(&mut raw.stream);
        }
        Way::Frame => {
            let mut raw = Raw::shaken(broker.protocol);
            raw.send(&100_000_u32.to_be_bytes());
            drip(&mut raw.stream, &[0]);
        }
        Way::LargeFrame => {
            let mut raw = Raw::shaken(broker.protocol);
            raw.send(&(60_u32 << 20).to_be_bytes());
            ended(&mut raw.stream);
        }
        Way::HalfLength => {
            let mut raw = Raw::shaken(broker.protocol);
            raw.send(&[0, 0]);
            ended(&mut raw.stream);
        }
        Way::NeverReadsRecords => {
            let request = FetchRequest {
                bytes_max: 1 << 20,
                wait_ms_max: 0,
                bytes_min: 1,
                partitions: vec![FetchPartition {
                    topic: TOPIC.to_owned(),
                    partition: 0,
                    offset: Offset(0),
                    bytes_max: 1 << 20,
                }],
            };
            never_reads(
                &mut Raw::shaken(broker.protocol).stream,
                &frame(3, &request),
            );
        }
    }
}

#[test]
fn the_slow_are_left_on_schedule_and_the_honest_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [
        ("limits.handshake_ms_max", "1s"),
        ("limits.frame_ms_max", "1s"),
        ("limits.write_ms_max", "1s"),
        ("limits.http_idle_ms_max", "1s"),
        ("limits.http_body_ms_max", "1s"),
    ];
    let broker = Broker::on_loopback(dir.path(), &keys);
    create_topic(&broker);
    let mut raw = Raw::shaken(broker.protocol);
    assert!(
        raw.call(&produce(batch(&vec![7; 500 << 10])))
            .unwrap()
            .batches[0]
            .is_ok()
    );
    let before = broker.resident_bytes();
    let slow = AtomicUsize::new(WAYS.len() * EACH);
    let mut rounds = 0;
    std::thread::scope(|scope| {
        let (broker, slow) = (&broker, &slow);
        for way in WAYS {
            for _ in 0..EACH {
                scope.spawn(move || {
                    // Counted down also by who panics: the others must not wait for it.
                    let _leaving = Leaving(slow);
                    be_slow(broker, way);
                });
            }
        }
        while slow.load(Ordering::Acquire) > 0 {
            round(broker);
            rounds += 1;
        }
    });
    assert!(rounds > 0);
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes");
    broker.stop();
}

struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
