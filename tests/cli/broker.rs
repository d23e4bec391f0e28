//! A broker as a process of its own, and commands against it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The token that is known to everyone, in force on loopback when nothing else is said.
const TOKEN: &str = "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=";
/// Longest that any process may take.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Runs until it is dropped.
pub(crate) struct Broker {
    pub(crate) directory: TempDir,
    pub(crate) protocol: String,
    pub(crate) http: String,
    child: Child,
}

impl Broker {
    /// Starts a broker on free ports and waits for its start-up text.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts a broker with more flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), flags)
    }

    /// Starts a broker on what stands in `data` of a directory.
    pub(crate) fn start_in(directory: TempDir) -> Self {
        Self::start_on(directory, &[])
    }

    fn start_on(directory: TempDir, flags: &[&str]) -> Self {
        let (child, http, protocol) = serve(&directory, ["127.0.0.1:0"; 2], flags);
        Self {
            directory,
            protocol,
            http,
            child,
        }
    }

    /// Starts it again after a stop, on the same directory and ports.
    pub(crate) fn restart(&mut self) {
        let (child, _, _) = serve(&self.directory, [&self.http, &self.protocol], &[]);
        self.child = child;
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(&mut self, signal: &str) -> ExitStatus {
        self::signal(self.child.id(), signal);
        self.ended()
    }

    /// Sends a request over HTTP, without a body; the answer must be a success. Returns its body.
    pub(crate) fn ask(&self, method_and_target: &str) -> String {
        let (head, body) = self.answer(method_and_target);
        assert!(head.starts_with("HTTP/1.1 2"), "{head}: {body}");
        body
    }

    /// Sends a request over HTTP, without a body. Returns the head and the body of the answer.
    pub(crate) fn answer(&self, method_and_target: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let head = format!(
            "{method_and_target} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.http
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for(self.child.id(), || self.child.wait().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns a command that finds the broker.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = redrive();
        command
            .args(arguments)
            .env("REDRIVE_ADDR", &self.protocol)
            .env("REDRIVE_URL", format!("http://{}", self.http));
        command
    }

    /// Runs a command with `input` on its stdin; it must succeed.
    pub(crate) fn pipe(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = wait(child);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        output
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn redrive() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    // What the caller has set up for itself must not reach the tests.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REDRIVE_")) {
        command.env_remove(name);
    }
    command
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(sent.success());
}

fn serve(
    directory: &TempDir,
    [http, protocol]: [&str; 2],
    flags: &[&str],
) -> (Child, String, String) {
    let mut child = redrive()
        .args(["serve", "--http", http, "--listen", protocol, "--data-dir"])
        .arg(directory.path().join("data"))
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let reader = BufReader::new(child.stdout.take().unwrap());
    let (http, protocol) = wait_for(child.id(), move || {
        let mut http = None;
        for line in reader.lines() {
            let line = line.unwrap();
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("http"), Some(url)) => {
                    http = Some(url.trim_start_matches("http://").to_owned());
                }
                (Some("protocol"), Some(address)) => return (http.unwrap(), address.to_owned()),
                _ => {}
            }
        }
        panic!("the broker ended before it served")
    });
    (child, http, protocol)
}

/// Waits for something that a process does; kills the process when that takes too long.
pub(crate) fn wait_for<T>(pid: u32, what: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        if is_done.recv_timeout(WAIT_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status()
                .unwrap();
        }
    });
    let result = what();
    drop(done);
    guard.join().unwrap();
    result
}

/// Waits for a process and takes its output.
pub(crate) fn wait(child: Child) -> Output {
    wait_for(child.id(), || child.wait_with_output().unwrap())
}

/// Runs a command to its end, without stdin.
pub(crate) fn run(mut command: Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait(child)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns stdout of a command that must have succeeded, as JSON.
pub(crate) fn json(output: &Output) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}
