//! Strangers in great numbers: who says nothing, or half of something, costs little, is left in time, and holds up nobody.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::hold::Hold;
use crate::honest::{Raw, create_topic, ended, frame, handshake, round};
use crate::process::{Broker, PATIENCE};

/// Strangers on each surface.
const STRANGER_COUNT: u64 = 1_500;
/// Most memory that one may cost, of the broker's own.
const STRANGER_BYTES_MAX: u64 = 64 << 10;

/// Takes as many open files as the system lets the test have. Returns how many these are.
fn open_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    maximum.unwrap_or(u64::MAX)
}

/// What a stranger says before it falls silent.
fn beginnings(surface: &str) -> Vec<Vec<u8>> {
    let whole = match surface {
        "http" => {
            b"POST /v2/publish/http://a/ HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n".to_vec()
        }
        _ => frame(1, &handshake()),
    };
    let cuts = [0, 1, 3, 4, 5, whole.len() / 2, whole.len() - 1];
    cuts.iter().map(|cut| whole[..*cut].to_vec()).collect()
}

fn strangers(broker: &Broker, count: u64) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for (surface, address) in [("http", broker.http), ("protocol", broker.protocol)] {
        let beginnings = beginnings(surface);
        for number in 0..count {
            let mut raw = Raw::connect(address);
            raw.send(&beginnings[number as usize % beginnings.len()]);
            all.push(raw.stream);
        }
    }
    all
}

fn open_connections(broker: &Broker) -> u64 {
    let of = |surface| broker.metric(&format!("redrive_connections{{surface=\"{surface}\"}}"));
    of("http") + of("protocol")
}

/// Whether there comes a time in which the broker rests: a loop that waits for nothing takes a processor always.
fn comes_to_rest(broker: &Broker) {
    let started = Instant::now();
    loop {
        let (ticks, began) = (broker.cpu_ticks(), Instant::now());
        std::thread::sleep(Duration::from_millis(200));
        // A tick is a hundredth of a second.
        let used = (broker.cpu_ticks() - ticks) * 10;
        if u128::from(used) * 4 < began.elapsed().as_millis() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the broker never rests");
    }
}

#[test]
fn strangers_cost_little_and_hold_up_nobody() {
    let mut hold = Hold::begin("peers/idle::strangers_cost_little_and_hold_up_nobody");
    let count = STRANGER_COUNT.min(open_files() / 4);
    let dir = tempfile::tempdir().unwrap();
    let keys = [
        ("limits.connections_max", "100000"),
        ("limits.http_connections_max", "100000"),
        ("limits.handshake_ms_max", "1d"),
        ("limits.frame_ms_max", "1d"),
        ("limits.http_idle_ms_max", "1d"),
    ];
    let broker = Broker::on_loopback(dir.path(), &keys);
    create_topic(&broker);
    round(&broker);
    let before = broker.resident_bytes();
    let crowd = strangers(&broker, count);
    let started = Instant::now();
    while open_connections(&broker) < 2 * count {
        assert!(started.elapsed() < PATIENCE, "{}", broker.metrics());
    }
    for _ in 0..10 {
        round(&broker);
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    let each = grown / crowd.len() as u64;
    assert!(
        each <= STRANGER_BYTES_MAX,
        "{each} bytes for each of {}",
        crowd.len()
    );
    comes_to_rest(&broker);
    hold.count("strangers", crowd.len() as u64);
    hold.count("bytes_each", each);
    drop(crowd);
    broker.stop();
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

#[test]
fn strangers_are_left_in_time() {
    open_files();
    let dir = tempfile::tempdir().unwrap();
    let keys = [
        ("limits.handshake_ms_max", "1s"),
        ("limits.http_idle_ms_max", "1s"),
    ];
    let broker = Broker::on_loopback(dir.path(), &keys);
    for mut stream in strangers(&broker, 100) {
        ended(&mut stream);
    }
    broker.stop();
}

#[test]
fn strangers_that_take_every_place_lock_nobody_out() {
    open_files();
    let dir = tempfile::tempdir().unwrap();
    // Nobody is left for being slow: only the places count.
    let keys = [
        ("limits.connections_max", "50"),
        ("limits.http_connections_max", "50"),
        ("limits.in_flight_bytes_max", "1MiB"),
        ("limits.handshake_ms_max", "1d"),
        ("limits.frame_ms_max", "1d"),
        ("limits.http_idle_ms_max", "1d"),
    ];
    let broker = Broker::on_loopback(dir.path(), &keys);
    create_topic(&broker);
    let mut known = Raw::shaken(broker.protocol);
    for _ in 0..5 {
        let held = strangers(&broker, 60);
        round(&broker);
        drop(held);
    }
    // Who announces much before it shows the token takes no room from requests.
    let large = [&(64_u32 << 10).to_be_bytes()[..], &[0; 8]].concat();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut raw = Raw::connect(broker.protocol);
        raw.send(&large);
        held.push(raw);
    }
    round(&broker);
    // Who has shown the token keeps its place.
    known
        .call(&redrive::protocol::group_offsets::ListGroupsRequest {})
        .unwrap();
    broker.stop();
}
