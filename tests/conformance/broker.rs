//! The real program as a process of its own on free ports, plain requests to it, and its commands.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// The development token, which everyone knows.
pub(crate) const TOKEN: &str =
    "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=";

/// Longest that an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// Runs until it is dropped.
pub(crate) struct Broker {
    directory: TempDir,
    pub(crate) http: String,
    protocol: String,
    child: Child,
}

impl Broker {
    /// Starts it, and waits until it serves. Attempts end soon: generated destinations lead nowhere.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stderr = File::create(directory.path().join("stderr")).unwrap();
        let mut child = redrive()
            .args(["serve", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .args(["--set", "storage.min_free_bytes=0"])
            .args(["--set", "delivery.timeout_ms=2000", "--data-dir"])
            .arg(directory.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(|line| {
                    let (found, address) = line.trim().split_once(' ')?;
                    let address = address.trim().trim_start_matches("http://");
                    (found == name).then(|| address.to_owned())
                })
                .unwrap_or_else(|| panic!("the broker did not start: {}", log(&directory)))
        };
        let (http, protocol) = (address("http"), address("protocol"));
        // The pipe stays open.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            directory,
            http,
            protocol,
            child,
        }
    }

    /// Makes a request and returns the status and the body.
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).unwrap();
        let lines = headers
            .iter()
            .map(|(name, value)| [name, ": ", value, "\r\n"].concat());
        let headers: String = lines.collect();
        write!(
            stream,
            "{method} {target} HTTP/1.0\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            self.http,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Makes a request that must succeed; no body is null.
    pub(crate) fn ok(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Value {
        let (status, text) = self.request(method, target, headers, body);
        assert!((200..300).contains(&status), "{method} {target}: {text}");
        if text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn get(&self, target: &str) -> Value {
        self.ok("GET", target, &[], "")
    }

    /// Runs a command of the program against the broker, with `input` on its stdin.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) {
        let mut child = redrive()
            .args(arguments)
            .env("REDRIVE_ADDR", &self.protocol)
            .env("REDRIVE_URL", format!("http://{}", self.http))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// Fails if the broker has ended, is not ready, or has met a mistake of its own.
    pub(crate) fn assert_sound(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the broker has ended");
        let (status, text) = self.request("GET", "/readyz", &[], "");
        assert_eq!(status, 200, "{text}");
        let log = log(&self.directory);
        let wrong: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("panicked") || line.contains("ERROR"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = log(&self.directory);
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the broker wrote last, latest first:\n{}", last.join("\n"));
        }
    }
}

fn log(directory: &TempDir) -> String {
    fs::read_to_string(directory.path().join("stderr")).unwrap_or_default()
}

fn redrive() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    // What the caller has set up for itself must not reach the tests.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REDRIVE_") {
            command.env_remove(name);
        }
    }
    command
}
