//! The real program as a process of its own, and plain HTTP to it, byte for byte: what a well-behaved client library would
//! refuse to send is sent as it stands.

#![allow(dead_code, reason = "each binary uses its part of it")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// No test waits longer than this for anything: it is what makes a hang a failure.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The token of every broker here.
pub(crate) const TOKEN: &str = "t0ken-of-the-test";

/// A running `redrive serve`; killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) protocol: SocketAddr,
    /// What it writes to stderr.
    pub(crate) log: PathBuf,
}

impl Broker {
    /// Starts the program on a directory, with `--set` for each of `keys`, and waits for its addresses.
    pub(crate) fn start(dir: &Path, addresses: [&str; 2], keys: &[(&str, &str)]) -> Self {
        Self::spawn(command(dir, addresses, keys), dir)
    }

    /// Starts it on free ports of loopback.
    pub(crate) fn on_loopback(dir: &Path, keys: &[(&str, &str)]) -> Self {
        Self::start(dir, ["127.0.0.1:0", "127.0.0.1:0"], keys)
    }

    /// Runs a command that serves.
    pub(crate) fn spawn(mut command: Command, dir: &Path) -> Self {
        let log = dir.join("stderr.txt");
        let stderr = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(stderr).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut found = |word: &str| -> Option<SocketAddr> {
            lines.find_map(|line| {
                let line = line.ok()?;
                let rest = line.trim().strip_prefix(word)?.trim().to_owned();
                rest.trim_start_matches("http://").parse().ok()
            })
        };
        let (http, protocol) = (found("http"), found("protocol"));
        let (Some(http), Some(protocol)) = (http, protocol) else {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            child.kill().ok();
            panic!("the broker did not start: {:?} {log}", child.wait());
        };
        // What it prints later goes nowhere, but the pipe stays open.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            http,
            protocol,
            log,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged until now.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Its memory that is really there, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: u64 = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kib << 10
    }

    /// Processor time that it has used, in clock ticks (a hundredth of a second).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = rest.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// A metric without labels, or with the labels in `name`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .trim()
            .parse()
            .unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        Http::connect(self.http).get("/metrics").expect(200)
    }

    /// How many messages are in a state.
    pub(crate) fn messages(&self, state: &str) -> u64 {
        self.metric(&format!("redrive_messages{{state=\"{state}\"}}"))
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.logged());
        assert!(!self.logged().contains("panicked"), "{}", self.logged());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The command that serves a directory.
pub(crate) fn command(dir: &Path, [http, protocol]: [&str; 2], keys: &[(&str, &str)]) -> Command {
    let mut command = program();
    command.args(["serve", "--http", http, "--listen", protocol]);
    command.args(["--data-dir", dir.join("data").to_str().unwrap()]);
    command.env("REDRIVE_TOKEN", TOKEN);
    let always = [
        ("storage.min_free_bytes", "0"),
        ("storage.sync_threads", "4"),
    ];
    for (key, value) in always.iter().chain(keys) {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
}

/// The program, without what the caller has set up for itself.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REDRIVE_") {
            command.env_remove(name);
        }
    }
    command
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answered {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    #[track_caller]
    pub(crate) fn json(self, status: u16) -> Value {
        let body = self.expect(status);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

/// A connection that speaks HTTP/1.1 and sends what it is told to.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    token: String,
    stream: BufReader<TcpStream>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::with_token(address, TOKEN)
    }

    pub(crate) fn with_token(address: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            address,
            token: token.to_owned(),
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn get(&mut self, target: &str) -> Answered {
        self.request("GET", target, &[], b"")
    }

    pub(crate) fn post(&mut self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        self.request("POST", target, headers, body)
    }

    /// Sends a request with the token unless a header has another, on a fresh connection if the broker has ended this one.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answered {
        let mut text = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        if headers.iter().all(|(name, _)| *name != "authorization") {
            write!(text, "authorization: Bearer {}\r\n", self.token).unwrap();
        }
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes);
        let answer = self.answer().expect("the broker answers");
        if answer
            .head
            .to_ascii_lowercase()
            .contains("connection: close")
        {
            *self = Self::with_token(self.address, &self.token);
        }
        answer
    }

    /// Sends bytes as they are. A peer that has closed takes none.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).ok();
    }

    /// Reads one answer; none when the connection ends first.
    pub(crate) fn answer(&mut self) -> Option<Answered> {
        let mut head = String::new();
        loop {
            match self.stream.read_line(&mut head) {
                Ok(0) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no whole answer: {error}: {head}"),
                Ok(_) if head.ends_with("\r\n\r\n") => break,
                Ok(_) => {}
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).unwrap();
        Some(Answered {
            status,
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// Whether the broker ends the connection and sends nothing more before.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }
}

/// A small generator: the seed is printed, so that a failure can be run again.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
