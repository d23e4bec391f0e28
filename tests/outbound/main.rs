//! What the broker dials, judged from outside of it: the real program in a network where every address answers, while strangers
//! name every address that deliveries must not go to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests may panic and say what they did"
)]

mod dns;
#[path = "../support/hold.rs"]
mod hold;
mod judge;
mod namespace;
#[path = "../support/process.rs"]
mod process;
mod publisher;
mod sink;
mod targets;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use dns::{Dns, NAMED};
use hold::Hold;
use judge::{Judge, is_forbidden};
use process::{Broker, PATIENCE, Random};
use publisher::{As, Publisher};
use sink::Sink;

/// Hosts of each kind that the name server lies about.
const NAME_COUNT: usize = 60;
/// What the configuration opens, and what is dialled of it.
const ALLOWED: &str = "10.77.0.0/16,named.test";
const ALLOWED_URLS: [&str; 2] = ["http://10.77.1.1/", "http://named.test:6379/"];

fn opened(address: &SocketAddr) -> bool {
    let listed = [
        SocketAddr::from(([10, 77, 1, 1], 80)),
        SocketAddr::from((NAMED, 6379)),
    ];
    listed.contains(&SocketAddr::new(
        address.ip().to_canonical(),
        address.port(),
    ))
}

/// Starts a broker off loopback, with proxies in its environment that lead to forbidden addresses.
fn broker(dir: &std::path::Path, keys: &[(&str, &str)]) -> Broker {
    let mut all = vec![("plaintext", "true"), ("log.level", "warn")];
    all.extend(keys);
    let mut command = process::command(dir, ["8.8.8.8:8080", "8.8.8.8:7733"], &all);
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env(name, "http://10.66.66.66:3128");
    }
    command.env("REDRIVE_DESTINATIONS_ALLOWED", ALLOWED);
    Broker::spawn(command, dir)
}

/// Waits until every message has come to its end.
fn wait_for_the_end(broker: &Broker, accepted: u64) {
    let started = Instant::now();
    loop {
        let ended = ["delivered", "dead_lettered", "cancelled"].map(|state| broker.messages(state));
        let ended: u64 = ended.iter().sum();
        if ended == accepted && broker.messages("accepted") == accepted {
            return;
        }
        let text = broker.metrics();
        assert!(
            started.elapsed() < PATIENCE,
            "{ended} of {accepted} have ended: {text}"
        );
    }
}

#[test]
fn hostile_targets_are_never_dialled() {
    namespace::inside("hostile_targets_are_never_dialled", || {
        let mut hold = Hold::begin("outbound/hostile_targets_are_never_dialled");
        let mut random = Random::new(hold.seed());
        let forbidden: Vec<IpAddr> = addresses(&mut random);
        let (judge, sink, dns) = (Judge::start(), Sink::start(), Dns::start(forbidden));
        let mut round = 0;
        while hold.goes_on(round, 1) {
            hostile_round(&mut hold, &mut random, &sink);
            let wrong = judge.forbidden(opened);
            assert_eq!(wrong, [], "dialled; {}", hold.replay(hold.seed()));
            round += 1;
        }
        // The judge sees: what is open was dialled, and without the opening it would be held against the broker.
        let seen: Vec<_> = judge.forbidden(|_| false);
        assert_eq!(seen.len(), ALLOWED_URLS.len(), "{seen:?}");
        let publicly = judge
            .openings()
            .into_iter()
            .filter(|(to, _)| !is_forbidden(to.ip()));
        hold.count("public_connections", publicly.map(|(_, count)| count).sum());
        hold.count("lookups", dns.answer_count());
        hold.end(env!("CARGO_TARGET_TMPDIR"));
    });
}

fn addresses(random: &mut Random) -> Vec<IpAddr> {
    let v4 = targets::v4(random).into_iter().map(IpAddr::from);
    let v6 = targets::v6(random).into_iter().map(IpAddr::from);
    let mut all = dns::dialable(v4.chain(v6).collect());
    // Both families and all ranges among the first, however few names there are.
    for at in (1..all.len()).rev() {
        all.swap(at, random.below(at as u64 + 1) as usize);
    }
    all
}

fn hostile_round(hold: &mut Hold, random: &mut Random, sink: &Sink) {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), &[]);
    let publisher = Publisher::new(broker.http);
    let urls = targets::all(random);
    hold.count("targets", urls.len() as u64);
    assert!(urls.len() >= 2_000, "{}", urls.len());
    let mut accepted = publisher.all(&urls, As::Destination);
    // Each is a destination; every third is a callback as well, and every third a failure callback.
    let every_third = |from: usize| {
        urls.iter()
            .skip(from)
            .step_by(3)
            .cloned()
            .collect::<Vec<_>>()
    };
    accepted += publisher.all(&every_third(0), As::Callback);
    accepted += publisher.all(&every_third(1), As::FailureCallback);
    accepted += publisher.all(&redirects(&urls), As::Destination);
    let before = sink.total();
    let names = names();
    for _ in 0..4 {
        accepted += publisher.all(&names, As::Destination);
    }
    accepted += publisher.all(&names, As::Callback);
    let publics = (0..NAME_COUNT).map(|number| format!("http://public-{number}.test/"));
    let publics: Vec<String> = publics.collect();
    accepted += publisher.all(&publics, As::Destination);
    let open = ALLOWED_URLS.map(str::to_owned);
    accepted += publisher.all(&open, As::Destination);
    // The address behind an open name is not open itself.
    accepted += publisher.all(&["http://192.168.7.7:25/".to_owned()], As::Destination);
    wait_for_the_end(&broker, accepted);
    hold.count("messages", accepted);
    hold.count("dead", broker.messages("dead_lettered"));
    assert!(sink.total() > before + publics.len() as u64);
    for number in 0..NAME_COUNT {
        let ways = [2 * number, 2 * number + 1].map(targets::public);
        assert!(
            ways.iter().any(|way| sink.requests(*way) > 0),
            "{ways:?} was not dialled"
        );
    }
    for address in [IpAddr::from([10, 77, 1, 1]), IpAddr::from(NAMED)] {
        assert!(
            sink.requests(address) > 0,
            "{address} is open and was not dialled"
        );
    }
    broker.stop();
}

fn redirects(urls: &[String]) -> Vec<String> {
    let some = urls.iter().step_by(10);
    let is_plain = |url: &&String| {
        url.bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    };
    some.filter(is_plain)
        .map(|url| format!("http://9.9.9.9/to/{url}"))
        .collect()
}

fn names() -> Vec<String> {
    let mut names = Vec::new();
    for number in 0..NAME_COUNT {
        for how in ["plain", "flip", "mixed", "split", "chain"] {
            names.push(format!("http://{how}-{number}.test/"));
        }
    }
    names
}

#[test]
fn schedules_never_dial_hostile_targets() {
    namespace::inside("schedules_never_dial_hostile_targets", || {
        let mut random = Random::new(1);
        let (judge, sink) = (Judge::start(), Sink::start());
        let _dns = Dns::start(addresses(&mut random));
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path(), &[]);
        let publisher = Publisher::new(broker.http);
        let mut urls: Vec<String> = targets::all(&mut random).into_iter().step_by(9).collect();
        urls.extend(names().into_iter().step_by(5));
        urls.push("http://public-1.test/".to_owned());
        let created = publisher.all(&urls, As::Schedule);
        assert!(created > 100, "{created} schedules");
        // They fire at the next full minute.
        let started = Instant::now();
        while broker.metric("redrive_schedule_firings_total") < created {
            assert!(started.elapsed() < 2 * PATIENCE, "{}", broker.metrics());
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        wait_for_the_end(&broker, created);
        assert_eq!(judge.forbidden(opened), []);
        let ways = [2, 3].map(targets::public);
        assert!(
            ways.iter().any(|way| sink.requests(*way) > 0),
            "nothing was dialled"
        );
        broker.stop();
    });
}

#[test]
fn names_that_hang_leave_lookups_to_the_others() {
    namespace::inside("names_that_hang_leave_lookups_to_the_others", || {
        let (_judge, sink) = (Judge::start(), Sink::start());
        let dns = Dns::start(vec![IpAddr::from([10, 0, 0, 1])]);
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path(), &[]);
        let publisher = Publisher::new(broker.http);
        // More attempts at a time than there are lookups, to two names.
        let hanging: Vec<String> = (0..96)
            .map(|at| format!("http://hang-{}.test/{at}", at % 2))
            .collect();
        let mut accepted = publisher.all(&hanging, As::Destination);
        let started = Instant::now();
        while broker.messages("in_flight") < accepted {
            assert!(started.elapsed() < PATIENCE, "{}", broker.metrics());
        }
        accepted += publisher.all(&["http://public-0.test/".to_owned()], As::Destination);
        let ways = [0, 1].map(targets::public);
        while ways.iter().all(|way| sink.requests(*way) == 0) {
            // A lookup that took the place of one that was given up comes too late.
            assert_eq!(
                broker.messages("dead_lettered"),
                0,
                "the others wait for names that hang"
            );
            assert!(started.elapsed() < PATIENCE, "{}", broker.metrics());
        }
        assert!(dns.hanging_count() > 0);
        while broker.messages("delivered") + broker.messages("dead_lettered") < accepted {
            assert!(started.elapsed() < 2 * PATIENCE, "{}", broker.metrics());
            dns.release();
        }
        assert_eq!(broker.messages("delivered"), 1);
        broker.stop();
    });
}
