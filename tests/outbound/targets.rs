//! Hostile targets: every special range, some addresses of each, in every spelling that some reader takes for the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::judge::{V4, V6};
use crate::process::Random;

/// Addresses taken out of each range besides its ends.
const INSIDE_COUNT: usize = 3;

const PORTS: [&str; 8] = ["", ":80", ":8080", ":22", ":25", ":6379", ":443", ":65535"];

/// URLs that lead to addresses that are forbidden, or nowhere.
pub(crate) fn all(random: &mut Random) -> Vec<String> {
    let mut hosts = Vec::new();
    for address in v4(random) {
        hosts.extend(spelled_v4(address));
    }
    for address in v6(random) {
        hosts.extend(spelled_v6(address));
    }
    let mut urls: Vec<String> = hosts.iter().map(|host| url(host, random)).collect();
    urls.extend(words(random));
    urls
}

fn url(host: &str, random: &mut Random) -> String {
    let port = PORTS[usize::try_from(random.below(PORTS.len() as u64)).unwrap()];
    let scheme = ["http", "http", "http", "https", "HTTP", "hTTps"];
    let scheme = scheme[usize::try_from(random.below(6)).unwrap()];
    format!("{scheme}://{host}{port}/")
}

/// The ends of each range, and some addresses inside.
pub(crate) fn v4(random: &mut Random) -> Vec<Ipv4Addr> {
    let mut all = Vec::new();
    for (first, bits) in V4 {
        let first = first.parse::<Ipv4Addr>().unwrap().to_bits();
        let host = u32::MAX.checked_shr(bits).unwrap_or(0);
        all.extend([first, first | host]);
        let inside = (0..INSIDE_COUNT).map(|_| first | (random.next() as u32 & host));
        all.extend(inside);
    }
    let metadata = [[169, 254, 169, 254], [100, 100, 100, 200], [127, 0, 0, 1]];
    all.extend(metadata.map(u32::from_be_bytes));
    all.dedup();
    all.into_iter().map(Ipv4Addr::from_bits).collect()
}

/// As [`v4`].
pub(crate) fn v6(random: &mut Random) -> Vec<Ipv6Addr> {
    let mut all = Vec::new();
    for (first, bits) in V6 {
        let first = first.parse::<Ipv6Addr>().unwrap().to_bits();
        let host = u128::MAX.checked_shr(bits).unwrap_or(0);
        all.extend([first, first | host]);
        let more = || u128::from(random.next()) << 64 | u128::from(random.next());
        let inside: Vec<u128> = std::iter::repeat_with(more).take(INSIDE_COUNT).collect();
        all.extend(inside.into_iter().map(|more| first | (more & host)));
    }
    all.dedup();
    all.into_iter().map(Ipv6Addr::from_bits).collect()
}

fn spelled_v4(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    let (low, lower) = (bits & 0xff_ffff, bits & 0xffff);
    let (high, under) = (bits >> 16, bits & 0xffff);
    let flipped = !bits;
    vec![
        format!("{address}"),
        format!("{address}."),
        format!("{bits}"),
        format!("{bits:#x}"),
        format!("0X{bits:X}"),
        format!("0x00000000{bits:08x}"),
        format!("0{bits:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0{a:04o}.{b}.{c:#x}.{d}"),
        format!("{a:03}.{b:03}.{c:03}.{d:03}"),
        format!("{a}.{low}"),
        format!("{a}.{low:#x}"),
        format!("{a}.{b}.{lower}"),
        format!("{a}.{b}.0{lower:o}"),
        format!("%3{}{}", a / 100, address.to_string().get(1..).unwrap()),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
        format!("{}", u64::from(bits) + (1 << 32)),
        format!("public.test@{address}"),
        format!("{address}:80@public.test"),
        format!("{address}%00.public.test"),
        format!("{address}\\@public.test"),
        format!("[::ffff:{address}]"),
        format!("[::FFFF:{high:x}:{under:x}]"),
        format!("[0:0:0:0:0:ffff:{high:04X}:{under:04x}]"),
        format!("[::{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[64:ff9b::{high:x}:{under:x}]"),
        format!("[64:ff9b:1::{address}]"),
        format!("[2002:{high:x}:{under:x}::1]"),
        format!(
            "[2001:0:5ef5:79fb::{:x}:{:x}]",
            flipped >> 16,
            flipped & 0xffff
        ),
        format!("[::ffff:0:{address}]"),
        format!("[::ffff:{address}%25lo]"),
    ]
}

fn spelled_v6(address: Ipv6Addr) -> Vec<String> {
    let long: Vec<String> = address.segments().map(|part| format!("{part:04X}")).into();
    vec![
        format!("[{address}]"),
        format!("[{}]", long.join(":")),
        format!("[{address}%25lo]"),
        format!("[{address}%lo]"),
        format!("[{address}]."),
        format!("{address}"),
        format!("user@[{address}]"),
        format!("%5B{address}%5D"),
    ]
}

/// Names and texts that are no address but lead to one for some readers.
#[expect(clippy::too_many_lines, reason = "most of it is a table")]
fn words(random: &mut Random) -> Vec<String> {
    let hosts = [
        "0",
        "0x",
        "00",
        "0.0",
        "0x0.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost..",
        "localhost.localdomain",
        "ip6-localhost",
        "machine",
        "in-hosts.test",
        "in-hosts.test.",
        "127.0.0.1.nip.test",
        "a@localhost",
        "public.test@localhost",
        "public.test:80@localhost",
        "public.test#@localhost",
        "public.test?@localhost",
        "localhost#@public.test/",
        "localhost\\.public.test",
        "localhost%20",
        "localhost%00",
        "localhost%2f",
        "xn--lcalhost-54a",
        "l\u{3bf}calhost",
        "\u{24db}ocalhost",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "[::1",
        "::1]",
        "[]",
        "[::1]]",
        "[[::1]]",
        "[::1]:",
        "[v1.::1]",
        "[fe80::1%25eth0]",
        "[fe80::1%251]",
        "127.0.0.1:80:80",
        "127.0.0.1:080",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:+80",
        "127.0.0.1:%38%30",
        " 127.0.0.1",
        "127.0.0.1 ",
        "127.0.0.1\t",
        "1",
        "127",
        "127.1",
        "127.0.1",
        "127.0.0.1.1",
        "127.0.0.1..",
        "0177.1",
        "0x7f.1",
        "08.0.0.1",
        "metadata",
        "metadata.test",
        "169.254.169.254.xip.test",
        "-",
        "_",
        "*",
        "127.0.0.*",
    ];
    let mut all: Vec<String> = hosts.iter().map(|host| url(host, random)).collect();
    for scheme in [
        "ftp",
        "file",
        "gopher",
        "unix",
        "ws",
        "dict",
        "ldap",
        "http+unix",
        "jar:http",
        "javascript",
        "",
    ] {
        all.push(format!("{scheme}://127.0.0.1/"));
    }
    for rest in [
        "//127.0.0.1/",
        "http:127.0.0.1",
        "http:/127.0.0.1",
        "http:///127.0.0.1",
        "http:////127.0.0.1",
        "http:\\\\127.0.0.1\\",
    ] {
        all.push(rest.to_owned());
    }
    all
}

/// An address of the public internet, for the DNS to mix in.
pub(crate) fn public(number: usize) -> IpAddr {
    let low = u8::try_from(number % 200).unwrap() + 1;
    if number.is_multiple_of(2) {
        IpAddr::from([9, 9, 9, low])
    } else {
        IpAddr::from([0x2606, 0x4700, 0, 0, 0, 0, 0, u16::from(low)])
    }
}
