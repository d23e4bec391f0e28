//! Who sees what is dialled, outside of the broker: every packet of the namespace is read from the wire, and each that opens
//! a connection is noted with the address it goes to.
//!
//! What is forbidden is written down here once more, from the IANA registries, and shares no line with the broker's table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::process::PATIENCE;

/// `AF_PACKET` and `ETH_P_ALL` of Linux.
const PACKET_DOMAIN: i32 = 17;
const ALL_PROTOCOLS: u16 = 3;
const ETHERNET_BYTES: usize = 14;
const RECEIVE_BYTES: usize = 64 << 20;

/// Every range of IPv4 that is no place on the public internet.
pub(crate) const V4: [(&str, u32); 18] = [
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("168.63.129.16", 32),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.0.2.0", 24),
    ("192.88.99.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("224.0.0.0", 4),
    ("239.0.0.0", 8),
    ("240.0.0.0", 4),
    ("255.255.255.255", 32),
];

/// Every special range of IPv6, and some of what was never given out.
pub(crate) const V6: [(&str, u32); 23] = [
    ("::", 128),
    ("::1", 128),
    ("::", 96),
    ("::ffff:0:0:0", 96),
    ("64:ff9b:1::", 48),
    ("100::", 64),
    ("100:0:0:1::", 64),
    ("400::", 8),
    ("2001::", 32),
    ("2001:2::", 48),
    ("2001:10::", 28),
    ("2001::", 23),
    ("2001:db8::", 32),
    ("2002::", 16),
    ("3fff::", 20),
    ("4000::", 3),
    ("5f00::", 16),
    ("8000::", 3),
    ("fc00::", 7),
    ("fd00:ec2::", 32),
    ("fe80::", 10),
    ("fec0::", 10),
    ("ff00::", 8),
];

/// Whether nobody's delivery may go there, unless it was opened by name.
pub(crate) fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => is_forbidden_v6(v6),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    V4.iter().any(|(first, bits)| {
        let first: Ipv4Addr = first.parse().unwrap();
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        (address.to_bits() ^ first.to_bits()) & mask == 0
    })
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    // What a translator takes for an IPv4 address is one.
    if address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_forbidden_v4(Ipv4Addr::from_bits(address.to_bits() as u32));
    }
    let is_listed = V6.iter().any(|(first, bits)| {
        let first: Ipv6Addr = first.parse().unwrap();
        (address.to_bits() ^ first.to_bits()) & (u128::MAX << (128 - bits)) == 0
    });
    is_listed || address.segments()[0] >> 13 != 1
}

/// A connection as its first packet shows it: from where, to where, and its first sequence number.
type Opening = (SocketAddr, SocketAddr, u32);

/// Reads the wire until it is dropped.
pub(crate) struct Judge {
    seen: Arc<Mutex<BTreeSet<Opening>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    pub(crate) fn start() -> Self {
        let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
        let socket = Socket::new(Domain::from(PACKET_DOMAIN), Type::RAW, Some(protocol)).unwrap();
        // As much as the system grants; `openings` tells whether it was enough.
        socket.set_recv_buffer_size(RECEIVE_BYTES).ok();
        let wait = Duration::from_millis(50);
        socket.set_read_timeout(Some(wait)).unwrap();
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (noted, over) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 256];
            while !over.load(Ordering::Acquire) {
                if let Ok(count) = (&socket).read(&mut packet) {
                    noted.lock().extend(opening(&packet[..count]));
                }
            }
        });
        Self {
            seen,
            is_over,
            thread: Some(thread),
        }
    }

    /// Returns how often each address was dialled in this network by anyone. The system counts the connections that it has
    /// begun; this waits until as many were seen, so that none has slipped by.
    pub(crate) fn openings(&self) -> BTreeMap<SocketAddr, u64> {
        let begun = active_opens();
        let started = Instant::now();
        while (self.seen.lock().len() as u64) < begun {
            let seen = self.seen.lock().len();
            assert!(
                started.elapsed() < PATIENCE,
                "{seen} of {begun} connections were seen"
            );
            std::thread::yield_now();
        }
        let mut dialled = BTreeMap::new();
        for (_, to, _) in self.seen.lock().iter() {
            *dialled.entry(*to).or_default() += 1;
        }
        dialled
    }

    /// Returns where connections went that must not be, except what `is_allowed` lets pass.
    pub(crate) fn forbidden(&self, is_allowed: impl Fn(&SocketAddr) -> bool) -> Vec<SocketAddr> {
        let dialled = self.openings();
        let wrong = |to: &&SocketAddr| is_forbidden(to.ip()) && !is_allowed(to);
        dialled.keys().filter(wrong).copied().collect()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Connections that processes of this network have begun, as the system counts them.
fn active_opens() -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "ActiveOpens");
    found.unwrap().1.parse().unwrap()
}

/// Reads a packet; something only if it begins a TCP connection.
fn opening(packet: &[u8]) -> Option<Opening> {
    let kind = u16::from_be_bytes([*packet.get(12)?, *packet.get(13)?]);
    let ip = packet.get(ETHERNET_BYTES..)?;
    let (from, to, tcp) = match kind {
        0x0800 if *ip.get(9)? == 6 => {
            let header = usize::from(ip.first()? & 0xf) * 4;
            let from: [u8; 4] = ip.get(12..16)?.try_into().ok()?;
            let to: [u8; 4] = ip.get(16..20)?.try_into().ok()?;
            (IpAddr::from(from), IpAddr::from(to), ip.get(header..)?)
        }
        0x86dd if *ip.get(6)? == 6 => {
            let from: [u8; 16] = ip.get(8..24)?.try_into().ok()?;
            let to: [u8; 16] = ip.get(24..40)?.try_into().ok()?;
            (IpAddr::from(from), IpAddr::from(to), ip.get(40..)?)
        }
        _ => return None,
    };
    let flags = *tcp.get(13)?;
    let is_first = flags & 0x02 != 0 && flags & 0x10 == 0;
    let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let opening = (
        SocketAddr::new(from, port(0)?),
        SocketAddr::new(to, port(2)?),
        sequence,
    );
    is_first.then_some(opening)
}
