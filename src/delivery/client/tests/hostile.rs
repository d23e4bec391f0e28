//! Destinations that must never be dialled, in every spelling. The judge is the dialler, which stands outside the guard, and
//! a list of ranges that is not the guard's own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;
use storage::dead_letter::{AttemptResult, ErrorClass};

use super::harness::*;
use crate::delivery::destination::Destination;
use crate::delivery::guard::GuardLimits;

/// What must not be reached, as the IANA registries have it.
const FORBIDDEN_V4: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "169.254.169.254/32",
    "127.0.0.1/32",
    "168.63.129.16/32",
];
const FORBIDDEN_V6: [&str; 18] = [
    "::/128",
    "::1/128",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "4000::/2",
    "8000::/2",
];

fn network(text: &str) -> (IpAddr, u32) {
    let (address, bits) = text.split_once('/').unwrap();
    (address.parse().unwrap(), bits.parse().unwrap())
}

fn low_bits(count: u32) -> u128 {
    1_u128.checked_shl(count).map_or(u128::MAX, |bit| bit - 1)
}

/// Judges an address that was dialled, without the guard's code.
fn is_forbidden(address: IpAddr) -> bool {
    let is_in = |text: &&str, bits: u128, width: u32| {
        let (base, prefix) = network(text);
        let base = match base {
            IpAddr::V4(base) => u128::from(base.to_bits()),
            IpAddr::V6(base) => base.to_bits(),
        };
        (base ^ bits) & low_bits(width) & !low_bits(width - prefix) == 0
    };
    let v4 = |bits: u32| FORBIDDEN_V4.iter().any(|text| is_in(text, bits.into(), 32));
    match address {
        IpAddr::V4(address) => v4(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            // Mapped (::ffff/96) and translated (64:ff9b::/96) addresses are what they hold.
            let holds_v4 = [0xffff, 0x64_ff9b << 64].contains(&(bits >> 32));
            let inner = (bits & 0xffff_ffff) as u32;
            FORBIDDEN_V6.iter().any(|text| is_in(text, bits, 128)) || holds_v4 && v4(inner)
        }
    }
}

/// The ends of a network, and some of what lies between.
fn members(text: &str) -> Vec<IpAddr> {
    let (base, prefix) = network(text);
    match base {
        IpAddr::V4(base) => {
            let room = low_bits(32 - prefix) as u32;
            let inside = [0, room, room / 3, room / 7 * 5, room >> 1, room.min(1)];
            inside
                .map(|n| Ipv4Addr::from_bits(base.to_bits() | n).into())
                .to_vec()
        }
        IpAddr::V6(base) => {
            let room = low_bits(128 - prefix);
            let inside = [0, room, room / 3, room / 7 * 5, room >> 1, room.min(1)];
            inside
                .map(|n| Ipv6Addr::from_bits(base.to_bits() | n).into())
                .to_vec()
        }
    }
}

/// Every way to write an IPv4 address that some reader of URLs takes for it.
fn spellings_v4(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    let (low24, low16) = (bits & 0xff_ffff, bits & 0xffff);
    let [high, low] = [bits >> 16, low16];
    let mut all = vec![
        format!("{address}"),
        format!("{address}."),
        format!("{bits}"),
        format!("{bits}."),
        format!("0x{bits:x}"),
        format!("0X{bits:08X}"),
        format!("0{bits:o}"),
        format!("000{bits:o}"),
        format!("{a}.{low24}"),
        format!("{a}.{b}.{low16}"),
        format!("0x{a:x}.{low24}"),
        format!("0x{a:x}.0x{low24:x}"),
        format!("0{a:o}.0{low24:o}"),
        format!("{a}.0x{b:x}.0{low16:o}"),
        format!("0x{a:02x}.0x{b:02x}.0x{c:02x}.0x{d:02x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("00{a:o}.{b}.0X{c:X}.{d}"),
    ];
    let v6 = [
        format!("::ffff:{address}"),
        format!("::FFFF:{high:x}:{low:x}"),
        format!("0:0:0:0:0:ffff:{high:04x}:{low:04x}"),
        format!("::{address}"),
        format!("::ffff:0:{address}"),
        format!("64:ff9b::{address}"),
        format!("64:ff9b:1::{address}"),
        format!("2002:{high:x}:{low:x}::"),
        format!("2002:{high:x}:{low:x}::1"),
        format!("2001:0:{high:x}:{low:x}::1"),
        format!("2001:0:1::{:x}:{:x}", !high & 0xffff, !low & 0xffff),
    ];
    all.extend(v6.into_iter().map(|text| format!("[{text}]")));
    all
}

fn spellings_v6(address: Ipv6Addr) -> [String; 3] {
    let segments = address.segments();
    let long = segments.map(|segment| format!("{segment:04X}")).join(":");
    let short = segments.map(|segment| format!("{segment:x}")).join(":");
    [
        format!("[{address}]"),
        format!("[{long}]"),
        format!("[{short}]"),
    ]
}

fn hostile_hosts() -> BTreeSet<String> {
    let v4 = FORBIDDEN_V4.iter().flat_map(|text| members(text));
    let v6 = FORBIDDEN_V6.iter().flat_map(|text| members(text));
    v4.chain(v6)
        .flat_map(|address| match address {
            IpAddr::V4(address) => spellings_v4(address),
            IpAddr::V6(address) => spellings_v6(address).to_vec(),
        })
        .collect()
}

/// What a reader of URLs might take for another host than the one it names.
const TRICKS: [&str; 16] = [
    "http://1.1.1.1@127.0.0.1/",
    "http://127.0.0.1@1.1.1.1/",
    "http://1.1.1.1\\@127.0.0.1/",
    "http://1.1.1.1#@127.0.0.1/x@",
    "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/",
    "http://127.0.0.1%2f@a.example/",
    "http://127.0.0.1%00.a.example/",
    "http://127.0.0.1\t/",
    "http://\u{2460}27.0.0.1/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
    "http://[::ffff:7f00:0001%0]/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1 /",
    "http:127.0.0.1/",
    "http://0x7f.0.0.1.2/",
];

#[tokio::test]
async fn no_spelling_of_a_forbidden_address_is_dialled() {
    let dialler = Arc::new(FakeDial::default());
    let resolver = FakeResolver::saying(&[&["1.1.1.1"]]);
    let limits = GuardLimits::default();
    let client = client(
        rules(false, &[]),
        limits,
        Arc::clone(&resolver) as _,
        Arc::clone(&dialler) as _,
    );
    let hosts = hostile_hosts();
    assert!(hosts.len() >= 2_000, "only {} spellings", hosts.len());
    for (at, host) in hosts.iter().enumerate() {
        let scheme = ["http", "https"][at % 2];
        let port = ["", ":80", ":6379", ":443"][at % 4];
        let url = format!("{scheme}://{host}{port}/latest/meta-data?x=1");
        let answer = attempt(&client, &url).await;
        let expected = AttemptResult::Error(ErrorClass::FORBIDDEN);
        assert_eq!(answer.result, expected, "{url}: {}", text(&answer));
    }
    for url in TRICKS {
        if Destination::parse(url).is_ok() {
            attempt(&client, url).await;
        }
    }
    let reached = std::mem::take(&mut *dialler.dialled.lock());
    // One trick is none: the fragment ends the host.
    assert_eq!(reached, ["1.1.1.1:80".parse().unwrap()], "{reached:?}");
    assert_eq!(*resolver.asked.lock(), [""; 0], "an address was looked up");
}

#[tokio::test]
async fn a_public_address_is_dialled_in_every_spelling() {
    for host in spellings_v4(Ipv4Addr::new(1, 2, 3, 4)).iter().take(17) {
        let dialler = Arc::new(FakeDial::default());
        let limits = GuardLimits::default();
        let client = client(
            rules(false, &[]),
            limits,
            FakeResolver::saying(&[]),
            Arc::clone(&dialler) as _,
        );
        attempt(&client, &format!("http://{host}/")).await;
        assert_eq!(
            *dialler.dialled.lock(),
            ["1.2.3.4:80".parse().unwrap()],
            "{host}"
        );
    }
}

#[tokio::test]
async fn names_that_flip_between_lookups_lead_to_public_addresses_only() {
    let public = ["1.1.1.1", "2606:4700::1111"];
    let mut reached_count = 0;
    let members = FORBIDDEN_V4
        .iter()
        .chain(&FORBIDDEN_V6)
        .flat_map(|text| members(text));
    for address in members {
        let hostile = address.to_string();
        let mapped = match address {
            IpAddr::V4(address) => format!("::ffff:{address}"),
            IpAddr::V6(_) => hostile.clone(),
        };
        let resolver = FakeResolver::saying(&[
            &[public[0]],
            &[&hostile],
            &[&mapped, public[1]],
            &[public[0], &hostile, &mapped],
            &[&hostile, &mapped],
        ]);
        let dialler = Arc::new(FakeDial::default());
        let limits = GuardLimits::default();
        let client = client(
            rules(false, &[]),
            limits,
            Arc::clone(&resolver) as _,
            Arc::clone(&dialler) as _,
        );
        for _ in 0..10 {
            attempt(&client, "http://rebind.example/").await;
        }
        // One lookup for each connection: what was checked is what is dialled.
        assert_eq!(resolver.asked.lock().len(), 10);
        let reached = dialler.dialled.lock();
        let wrong: Vec<_> = reached
            .iter()
            .filter(|address| is_forbidden(address.ip()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?} dialled for {hostile}");
        reached_count += reached.len();
    }
    assert_eq!(
        reached_count,
        6 * 6 * (FORBIDDEN_V4.len() + FORBIDDEN_V6.len())
    );
}

#[tokio::test]
async fn a_connection_that_leads_elsewhere_carries_nothing() {
    let server = Server::start(|mut stream| async move {
        assert_eq!(read_request(&mut stream).await?, None, "something was sent");
        Ok(())
    })
    .await;
    let dialler = Arc::new(FakeDial {
        target: Some(server.address),
        ..FakeDial::default()
    });
    let resolver = FakeResolver::saying(&[&["1.1.1.1", "1.1.1.2"]]);
    let limits = GuardLimits::default();
    let client = client(
        rules(false, &[]),
        limits,
        resolver,
        Arc::clone(&dialler) as _,
    );
    let answer = attempt(&client, "http://a.example/").await;
    let part = format!("the connection to 1.1.1.1:80 leads to {}", server.address);
    assert_error(&answer, ErrorClass::FORBIDDEN, &part);
    server.ended().await;
    assert_eq!(dialler.dialled.lock().len(), 1);
}

#[tokio::test]
async fn an_allowed_host_is_dialled_and_its_neighbours_are_not() {
    let rules = || rules(false, &["api.internal", "10.1.0.0/16"]);
    let try_one = async |url: &str, found: &str| {
        let dialler = Arc::new(FakeDial::default());
        let resolver = FakeResolver::saying(&[&[found]]);
        let limits = GuardLimits::default();
        let client = client(rules(), limits, resolver, Arc::clone(&dialler) as _);
        attempt(&client, url).await;
        let reached: Vec<SocketAddr> = dialler.dialled.lock().clone();
        reached.len()
    };
    assert_eq!(try_one("http://api.internal/", "192.168.0.9").await, 1);
    assert_eq!(
        try_one("http://API.Internal.:8080/", "192.168.0.9").await,
        1
    );
    assert_eq!(
        try_one("http://api.internal.example/", "192.168.0.9").await,
        0
    );
    assert_eq!(try_one("http://192.168.0.9/", "192.168.0.9").await, 0);
    assert_eq!(try_one("http://10.1.2.3/", "1.1.1.1").await, 1);
    assert_eq!(try_one("http://0xa.0x10203/", "1.1.1.1").await, 1);
    assert_eq!(try_one("http://10.2.2.3/", "1.1.1.1").await, 0);
    // Nothing opens what no server has.
    assert_eq!(try_one("http://api.internal/", "0.0.0.0").await, 0);
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    // A random address seldom falls into a range of many leading bits.
    let ranges = prop::sample::select([FORBIDDEN_V4.as_slice(), FORBIDDEN_V6.as_slice()].concat());
    let near = (ranges, any::<u128>()).prop_map(|(text, noise)| {
        let (base, prefix) = network(text);
        match base {
            IpAddr::V4(base) => {
                let noise = noise & low_bits(33 - prefix);
                IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() ^ noise as u32))
            }
            IpAddr::V6(base) => {
                let noise = noise & low_bits((129 - prefix).min(128));
                IpAddr::V6(Ipv6Addr::from_bits(base.to_bits() ^ noise))
            }
        }
    });
    let holding = (
        any::<u32>(),
        prop::sample::select(vec![0xffff_u128, 0x64_ff9b << 64, 0]),
    )
        .prop_map(|(inner, lead)| Ipv6Addr::from_bits(lead << 32 | u128::from(inner)).into());
    prop_oneof![v4, v6, near, holding]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_rules_say_what_the_registries_say(address in addresses()) {
        let host = crate::delivery::host::Host::Name("a.example".to_owned());
        let is_refused = rules(false, &[]).check(&host, address).is_err();
        // Of IPv6 the guard lets only the public part pass; the registries leave the rest of it unassigned.
        let is_outside = match address.to_canonical() {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.segments()[0] >> 13 != 1 && v6.to_bits() >> 32 != 0x64_ff9b << 64,
        };
        prop_assert_eq!(is_refused, is_forbidden(address) || is_outside, "{}", address);
    }
}
