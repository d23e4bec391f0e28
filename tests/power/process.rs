//! The real program as a process: started, asked to end, killed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use redrive::client::ClientOptions;
use rustix::process::{Pid, Signal};

use crate::ground::Ground;

/// Small segments: rolls and retention happen all the time.
const SETTINGS: [&str; 7] = [
    "storage.min_free_bytes=0",
    "storage.sync_threads=4",
    "delivery.partitions=2",
    "delivery.retention_ms=1s",
    "topic.segment_bytes=8KiB",
    "topic.retention_bytes=96KiB",
    "log.level=warn",
];

/// Processes that were started.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A process of the program; killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Of this process alone: its port may be another one's a moment after its death, and a client that still asks there must be
    /// refused.
    token: String,
}

/// Where a broker listens.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) token: String,
    pub(crate) protocol: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Process {
    /// Starts the program, with a lie at a named place if one is given, and does not wait for it.
    pub(crate) fn spawn(ground: &Ground, lie: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command.arg("serve").arg("--data-dir").arg(ground.data());
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REDRIVE_") {
                command.env_remove(name);
            }
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = format!("power-{}-{number}", std::process::id());
        command.env("REDRIVE_TOKEN", &token);
        if let Some(lie) = lie {
            command.env("REDRIVE_TEST_LIE", lie);
        }
        let errors = File::options()
            .create(true)
            .append(true)
            .open(ground.errors())
            .unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(errors).spawn().unwrap();
        ground.note_pid(child.id());
        Self { child, token }
    }

    /// Waits for the lines with the addresses; `None` when the process ended before it served.
    pub(crate) fn served(&mut self) -> Option<Served> {
        // Borrowed: the pipe stays open for as long as the process runs.
        let mut lines = BufReader::new(self.child.stdout.as_mut()?).lines();
        let mut address = |name: &str| {
            lines.find_map(|line| {
                let line = line.ok()?;
                let text = line.trim().strip_prefix(name)?.trim();
                text.trim_start_matches("http://").parse().ok()
            })
        };
        let http = address("http ")?;
        let protocol = address("protocol ")?;
        Some(Served {
            token: self.token.clone(),
            protocol,
            http,
        })
    }

    /// Waits for the end of one that does not serve.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to end in good order.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.pid(), Signal::TERM).ok();
    }

    /// Kills it as `kill -9` does and waits for its end. Returns what it was, if it had ended by itself.
    pub(crate) fn kill(mut self) -> Option<ExitStatus> {
        let ended = self.child.try_wait().ok().flatten();
        self.child.kill().ok();
        self.child.wait().ok();
        ended
    }
}

/// Has the program check the data directory, which no broker has.
///
/// # Errors
/// What it found.
pub(crate) fn verify(ground: &Ground) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    command.arg("verify").arg("--data-dir").arg(ground.data());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    let said = [stdout, stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("redrive verify: {}", said.concat()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Served {
    /// A client that tries once.
    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions {
            token: Some(self.token.clone()),
            retry_for: std::time::Duration::ZERO,
            ..ClientOptions::new(self.protocol.to_string())
        }
    }
}
