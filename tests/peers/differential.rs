//! Streams of HTTP requests that are put together to be misread, taken by the broker, by a reader that does what the RFC allows, and
//! by two other servers' parsers (Node.js and h11). The broker must see what the strict reader sees, or refuse and end the
//! connection; and whoever stands before it must not see other requests where it sees one.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use serde_json::Value;

use crate::hold::Hold;
use crate::honest::{create_topic, round};
use crate::install;
use crate::process::{Answered, Broker, Http, Random};
use crate::reading::{Reading, Seen, strict};
use crate::streams::{Stream, generate};

/// Streams at a time: some are waited for until the broker has had enough.
const AT_ONCE: usize = 48;
const ROUND_STREAMS: u64 = 480;
const MERGE_ROUNDS: u64 = 5;

/// What the broker makes of a stream: what it has carried out, `None` for what it took for a request and refused; and its last
/// answer, if that is a refusal, of a request or of the stream. It ends the connection always.
fn carried_out(broker: &Broker, stream: &Stream) -> (Vec<Option<Seen>>, Option<Answered>) {
    let mut http = Http::connect(broker.http);
    http.send(&stream.bytes);
    let mut answers = Vec::new();
    while let Some(answer) = http.answer() {
        answers.push(answer);
    }
    let refusal = answers.pop_if(|last| last.status != 200);
    let carried_out = |answer: Answered| {
        let told = (answer.status == 200).then_some(answer.body)?;
        let told: Value = serde_json::from_str(&told).unwrap();
        Some(match told["messageId"].as_str() {
            None => Seen {
                method: "GET".to_owned(),
                target: "/healthz".to_owned(),
                body: Vec::new(),
            },
            Some(id) => published(broker, id),
        })
    };
    (answers.into_iter().map(carried_out).collect(), refusal)
}

fn published(broker: &Broker, id: &str) -> Seen {
    let mut http = Http::connect(broker.http);
    let message = http.get(&format!("/v2/messages/{id}")).json(200);
    let body = match (message["body"].as_str(), message["bodyBase64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap(),
        (None, None) => Vec::new(),
    };
    Seen {
        method: "POST".to_owned(),
        target: format!("/v2/publish/{}", message["url"].as_str().unwrap()),
        body,
    }
}

/// Whether requests are those that the broker has seen, as far as both go. Of a health check the broker tells no more than that
/// there was one, and of what it has refused nothing.
fn agree(requests: &[Seen], seen: &[Option<Seen>]) -> bool {
    let is_same = |(one, seen): (&Seen, &Option<Seen>)| match seen {
        Some(seen) if seen.target == "/healthz" => {
            (&one.method, &one.target) == (&seen.method, &seen.target)
        }
        Some(seen) => one == seen,
        None => true,
    };
    requests.iter().zip(seen).all(is_same)
}

/// Another parser, in an interpreter of its own that ends with its stdin.
struct Other {
    name: &'static str,
    child: Child,
    answers: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(name: &'static str, mut command: Command, script: &str) -> Self {
        let path = format!(
            "{}/tests/peers/readers/{script}",
            env!("CARGO_MANIFEST_DIR")
        );
        command
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            name,
            child,
            answers,
        }
    }

    fn read(&mut self, stream: &[u8]) -> Reading {
        let mut line = String::new();
        for byte in stream {
            write!(line, "{byte:02x}").unwrap();
        }
        line.push('\n');
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
        let answer = self.answers.next().expect("the reader answers").unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let requests = answer["requests"].as_array().unwrap().iter();
        Reading {
            requests: requests
                .map(|one| Seen {
                    method: text(&one[0]),
                    target: text(&one[1]),
                    body: bytes_of(one[2].as_str().unwrap()),
                })
                .collect(),
            goes_on: answer["goes_on"].as_bool().unwrap(),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Says what is wrong with what the broker has carried out, if the strict reader reads otherwise.
fn against_strict(stream: &Stream, seen: &[Option<Seen>]) -> Result<(), String> {
    let readings = [false, true].map(|is_lenient| strict(&stream.bytes, is_lenient));
    let is_allowed =
        |reading: &Reading| reading.requests.len() >= seen.len() && agree(&reading.requests, seen);
    if readings.iter().any(is_allowed) {
        return Ok(());
    }
    Err(format!("the strict reader reads {readings:?}"))
}

/// Says what is wrong, if another reader would pass on as a part of one request what the broker takes for another.
fn against_other(other: &Reading, seen: &[Option<Seen>]) -> Result<(), String> {
    let theirs = &other.requests;
    if !agree(theirs, seen) {
        return Err(format!("it reads {theirs:?}"));
    }
    // It takes what the broker has carried out for the beginning of something longer.
    if seen.len() > theirs.len() && other.goes_on {
        return Err(format!("it reads {theirs:?}, and waits for more"));
    }
    Ok(())
}

#[test]
fn no_stream_is_read_as_other_requests_than_a_strict_reader_sees() {
    let mut hold = Hold::begin(
        "peers/differential::no_stream_is_read_as_other_requests_than_a_strict_reader_sees",
    );
    let dir = tempfile::tempdir().unwrap();
    let keys = [
        ("limits.http_idle_ms_max", "1s"),
        ("limits.http_body_ms_max", "1s"),
    ];
    let broker = Broker::on_loopback(dir.path(), &keys);
    create_topic(&broker);
    let mut others = [
        Other::start("h11", Command::new(install::python()), "by_h11.py"),
        Other::start("Node.js", Command::new("node"), "by_node.cjs"),
    ];
    let mut random = Random::new(hold.seed());
    let mut done = 0;
    while hold.goes_on(done, MERGE_ROUNDS) {
        let streams: Vec<_> = (0..ROUND_STREAMS)
            .map(|at| generate(&mut random, done * ROUND_STREAMS + at))
            .collect();
        let next = AtomicU64::new(0);
        let taken = std::thread::scope(|scope| {
            let work = || {
                let mut mine = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(stream) = streams.get(at) else {
                        return mine;
                    };
                    mine.push((stream, carried_out(&broker, stream)));
                }
            };
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let all = threads.into_iter().flat_map(|one| one.join().unwrap());
            all.collect::<Vec<_>>()
        });
        for (stream, (seen, refusal)) in taken {
            let text = String::from_utf8_lossy(&stream.bytes);
            let replay = hold.replay(hold.seed());
            let judge = |name: &str, held: Result<(), String>| {
                let number = stream.number;
                held.unwrap_or_else(|wrong| {
                    panic!("{name}: {wrong}\nthe broker {seen:?} {refusal:?}\nof {number}: {text:?}\n{replay}")
                });
            };
            judge("strict", against_strict(stream, &seen));
            for other in &mut others {
                let reading = other.read(&stream.bytes);
                judge(other.name, against_other(&reading, &seen));
            }
            hold.count("streams", 1);
            hold.count("requests", seen.len() as u64);
            hold.count("refused", u64::from(refusal.is_some()));
        }
        done += 1;
    }
    round(&broker);
    broker.stop();
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}
