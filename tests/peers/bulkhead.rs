//! Destinations that are sick: however their answers drip, swell or hang, the messages for all others arrive, and memory stays
//! flat.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::process::{Broker, Http, PATIENCE};

/// Messages for each sick destination: more than it may have attempts at a time.
const SICK_EACH: u64 = 60;
const HEALTHY: u64 = 300;
const GROWTH_MAX: u64 = 192 << 20;

#[derive(Debug, Clone, Copy)]
enum Illness {
    /// Accepts and says nothing.
    Silent,
    /// A byte of the head at a time.
    DripsHead,
    /// A byte of the body at a time.
    DripsBody,
    /// A body without an end, as fast as it is taken.
    EndlessBody,
    /// One header after the other.
    EndlessHeaders,
    /// A chunk, and the next one never.
    UnfinishedChunks,
    /// Chunks that are all extension.
    EndlessExtension,
    /// One informational answer after the other.
    EndlessInformation,
    /// A length that is far too large, and some of it.
    AnnouncesMuch,
    /// No answer but noise.
    Noise,
    /// Trailers without an end.
    EndlessTrailers,
}

const ILLNESSES: [Illness; 11] = [
    Illness::Silent,
    Illness::DripsHead,
    Illness::DripsBody,
    Illness::EndlessBody,
    Illness::EndlessHeaders,
    Illness::UnfinishedChunks,
    Illness::EndlessExtension,
    Illness::EndlessInformation,
    Illness::AnnouncesMuch,
    Illness::Noise,
    Illness::EndlessTrailers,
];

/// Reads the head and the body of a request; `None` when the peer has gone.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = String::new();
    let mut head = String::new();
    let mut length = 0;
    while reader.read_line(&mut line).ok()? > 0 && line != "\r\n" {
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
        head.push_str(&std::mem::take(&mut line));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    (!head.is_empty()).then_some(head)
}

/// Writes the same for ever, with a pause between if it drips. Ends when the peer goes.
fn for_ever(mut stream: &TcpStream, bytes: &[u8], pause: Option<Duration>) {
    while stream.write_all(bytes).is_ok() {
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
}

fn be_ill(mut stream: &TcpStream, illness: Illness) {
    let drip = Some(Duration::from_millis(100));
    let mut begin = |text: &str| stream.write_all(text.as_bytes()).ok();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    match illness {
        Illness::Silent => {}
        Illness::DripsHead => {
            begin("HTTP/1.1 200 OK\r\nx: ");
            return for_ever(stream, b"y", drip);
        }
        Illness::DripsBody => {
            begin("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
            return for_ever(stream, b"y", drip);
        }
        Illness::EndlessBody => {
            begin("HTTP/1.1 500 Endless\r\n\r\n");
            return for_ever(stream, &[b'y'; 8192], None);
        }
        Illness::EndlessHeaders => {
            begin("HTTP/1.1 200 OK\r\n");
            return for_ever(stream, b"name: a value that goes on and on\r\n", None);
        }
        Illness::UnfinishedChunks => drop(begin(&format!("{chunked}3\r\nabc\r\n"))),
        Illness::EndlessExtension => {
            begin(&format!("{chunked}1;"));
            return for_ever(stream, &[b'e'; 4096], None);
        }
        Illness::EndlessInformation => {
            return for_ever(stream, b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n", None);
        }
        Illness::AnnouncesMuch => drop(begin(
            "HTTP/1.1 200 OK\r\ncontent-length: 9000000000000\r\n\r\nabc",
        )),
        Illness::Noise => return for_ever(stream, &[0xff, 0, 7, b'\n'], None),
        Illness::EndlessTrailers => {
            begin(&format!("{chunked}1\r\na\r\n0\r\n"));
            return for_ever(stream, b"name: a value that goes on and on\r\n", None);
        }
    }
    // Nothing more: wait until the peer goes.
    std::io::copy(&mut stream, &mut std::io::sink()).ok();
}

/// A destination that is ill in one way, until the test ends.
fn sick(illness: Illness) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                if request(&mut reader).is_some() {
                    be_ill(&stream, illness);
                }
            });
        }
    });
    address
}

/// A destination that notes the paths that it was asked for.
fn healthy() -> (SocketAddr, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let paths: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let noted = Arc::clone(&paths);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let noted = Arc::clone(&noted);
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                while let Some(head) = request(&mut reader) {
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    noted.lock().insert(path);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if (&stream).write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, paths)
}

/// Waits until so many different paths have arrived at the healthy destination.
fn wait_for_healthy(paths: &Mutex<BTreeSet<String>>, count: u64, broker: &Broker) {
    let started = Instant::now();
    while (paths.lock().len() as u64) < count {
        assert!(
            started.elapsed() < PATIENCE,
            "{} arrived; {}",
            paths.lock().len(),
            broker.metrics()
        );
        std::thread::yield_now();
    }
}

/// Attempts that outlast the test: whoever waits for one of them to end waits too long.
#[test]
fn nobody_waits_for_a_destination_that_never_answers() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[("log.level", "warn")]);
    let (healthy, paths) = healthy();
    let mut http = Http::connect(broker.http);
    let mut publish = |url: String| {
        let headers = [("upstash-retries", "0"), ("upstash-timeout", "10m")];
        http.post(&format!("/v2/publish/{url}"), &headers, b"body")
            .expect(200);
    };
    for illness in [
        Illness::Silent,
        Illness::DripsHead,
        Illness::UnfinishedChunks,
    ] {
        let address = sick(illness);
        (0..SICK_EACH).for_each(|number| publish(format!("http://{address}/{number}")));
    }
    (0..HEALTHY).for_each(|number| publish(format!("http://{healthy}/{number}")));
    wait_for_healthy(&paths, HEALTHY, &broker);
    assert_eq!(broker.messages("dead_lettered"), 0);
}

#[test]
fn sick_destinations_keep_only_their_own_places() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::on_loopback(dir.path(), &[("log.level", "warn")]);
    let sick: Vec<SocketAddr> = ILLNESSES.into_iter().map(sick).collect();
    let (healthy, paths) = healthy();
    let mut http = Http::connect(broker.http);
    let mut publish = |url: String, timeout: &str| {
        let headers = [("upstash-retries", "0"), ("upstash-timeout", timeout)];
        http.post(&format!("/v2/publish/{url}"), &headers, b"body")
            .expect(200);
    };
    publish(format!("http://{healthy}/warm"), "30s");
    let before = broker.resident_bytes();
    for address in &sick {
        for number in 0..SICK_EACH {
            publish(format!("http://{address}/{number}"), "2s");
        }
    }
    for number in 0..HEALTHY {
        publish(format!("http://{healthy}/{number}"), "30s");
    }
    wait_for_healthy(&paths, HEALTHY + 1, &broker);
    let started = Instant::now();
    // The sick ones end on schedule, one lot after the other.
    let accepted = HEALTHY + 1 + SICK_EACH * sick.len() as u64;
    let mut peak = 0;
    while broker.messages("delivered") + broker.messages("dead_lettered") < accepted {
        peak = peak.max(broker.resident_bytes());
        assert!(started.elapsed() < 2 * PATIENCE, "{}", broker.metrics());
    }
    let grown = peak.saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    // A long body of an answer is cut and counts as an answer; all others never were one.
    assert_eq!(broker.messages("pending") + broker.messages("in_flight"), 0);
    broker.stop();
}
