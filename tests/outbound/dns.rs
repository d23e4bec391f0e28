//! A name server that lies: what a name says is what it answers.
//!
//! The first label of a name under `.test` says how: `plain-N` answers the forbidden address N alone; `flip-N` answers a public
//! and a forbidden one in turn, beginning with the public one for an even N; `mixed-N` answers both at once, in either order;
//! `split-N` a public IPv4 and a forbidden IPv6 address, or the other way round; `chain-N` is a chain of other names that ends
//! in `flip-N`; `hang-N` has no answer until `release`; `public-N` is public, always; `named` is private. All others are unknown.
//! Nothing may be kept: the time to live is 0.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::judge::is_forbidden;
use crate::namespace::NAME_SERVER;
use crate::targets;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const CHAIN_LENGTH: usize = 6;

/// What `named.test` is.
pub(crate) const NAMED: [u8; 4] = [192, 168, 7, 7];

/// A name server at work until the process ends.
pub(crate) struct Dns {
    shared: Arc<Shared>,
    socket: UdpSocket,
}

struct Shared {
    forbidden: Vec<IpAddr>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often each name was asked for, by type.
    asked: HashMap<(String, u16), usize>,
    /// Questions that hang: from whom, and what they were.
    hanging: Vec<(SocketAddr, Vec<u8>)>,
    answer_count: u64,
}

struct Question {
    name: String,
    kind: u16,
    /// Where it ends in the message.
    end: usize,
}

impl Dns {
    pub(crate) fn start(forbidden: Vec<IpAddr>) -> Self {
        let socket = UdpSocket::bind((NAME_SERVER, 53)).unwrap();
        let shared = Arc::new(Shared {
            forbidden,
            state: Mutex::default(),
        });
        let (serving, work) = (socket.try_clone().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            loop {
                let (count, from) = serving.recv_from(&mut buffer).unwrap();
                let message = buffer[..count].to_vec();
                if let Some(answer) = work.answer(from, message) {
                    serving.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { shared, socket }
    }

    pub(crate) fn answer_count(&self) -> u64 {
        self.shared.state.lock().answer_count
    }

    /// How many questions hang.
    pub(crate) fn hanging_count(&self) -> usize {
        self.shared.state.lock().hanging.len()
    }

    /// Answers what hangs: there is no such name.
    pub(crate) fn release(&self) {
        let hanging = std::mem::take(&mut self.shared.state.lock().hanging);
        for (from, message) in hanging {
            let question = question(&message).unwrap();
            self.socket
                .send_to(&reply(&message, &question, &[]), from)
                .unwrap();
        }
    }
}

impl Shared {
    fn answer(&self, from: SocketAddr, message: Vec<u8>) -> Option<Vec<u8>> {
        let question = question(&message)?;
        let mut state = self.state.lock();
        let label = question
            .name
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let (how, number) = label.split_once('-').unwrap_or((&label, "0"));
        if how == "hang" {
            state.hanging.push((from, message));
            return None;
        }
        state.answer_count += 1;
        let key = (question.name.clone(), question.kind);
        let turn = state.asked.entry(key).or_default();
        *turn += 1;
        let number = number.parse().unwrap_or(0);
        let records = self.records(how, number, *turn - 1, question.kind);
        Some(reply(&message, &question, &records))
    }

    /// Two forbidden addresses of a family.
    fn of_family(&self, is_v4: bool, number: usize) -> Vec<IpAddr> {
        let all = self
            .forbidden
            .iter()
            .filter(|address| address.is_ipv4() == is_v4);
        all.skip(number % 40).take(2).copied().collect()
    }

    /// What a name answers when it is asked for the `turn`-th time. Addresses of the other family are not answered to the question.
    fn records(&self, how: &str, number: usize, turn: usize, kind: u16) -> Vec<Record> {
        let forbidden = self.forbidden[number % self.forbidden.len()];
        let is_v4 = kind == A;
        let public = targets::public(2 * number + usize::from(!is_v4));
        let mut addresses = match how {
            "plain" => vec![forbidden],
            "named" => vec![IpAddr::from(NAMED)],
            "flip" | "chain" => vec![if (number + turn).is_multiple_of(2) {
                public
            } else {
                forbidden
            }],
            "mixed" if number.is_multiple_of(2) => vec![public, forbidden],
            "mixed" => vec![forbidden, public],
            // One family is public, the other is whatever of it is forbidden.
            "split" if is_v4 != number.is_multiple_of(2) => self.of_family(is_v4, number),
            "public" | "split" => vec![public],
            _ => Vec::new(),
        };
        addresses.retain(|address| address.is_ipv4() == is_v4);
        let mut records = Vec::new();
        if how == "chain" {
            let name = |step: usize| format!("step-{step}.of.chain-{number}.test");
            records.extend((0..CHAIN_LENGTH).map(|step| Record::Alias(name(step))));
        }
        records.extend(addresses.into_iter().map(Record::Address));
        records
    }
}

enum Record {
    /// The name before is this one.
    Alias(String),
    Address(IpAddr),
}

fn question(message: &[u8]) -> Option<Question> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    Some(Question {
        name: labels.join("."),
        kind: u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]),
        end: at + 4,
    })
}

/// Writes an answer. Each alias takes over the name of what follows.
fn reply(message: &[u8], question: &Question, records: &[Record]) -> Vec<u8> {
    let is_known = !records.is_empty() || question.name.contains('-');
    let mut bytes = message[..2].to_vec();
    // An answer that is the server's own, with recursion; NXDOMAIN for what is unknown.
    bytes.extend([0x85, if is_known { 0x80 } else { 0x83 }, 0, 1]);
    bytes.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(&message[12..question.end]);
    let mut owner = encoded(&question.name);
    for record in records {
        let (kind, data) = match record {
            Record::Alias(name) => (CNAME, encoded(name)),
            Record::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
            Record::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
        };
        bytes.extend(&owner);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0]);
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(&data);
        if kind == CNAME {
            owner = data;
        }
    }
    bytes
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The addresses that a name server may answer with: connections to them can be seen.
pub(crate) fn dialable(all: Vec<IpAddr>) -> Vec<IpAddr> {
    all.into_iter()
        .filter(|address| is_forbidden(*address))
        .collect()
}
