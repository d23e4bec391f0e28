//! One turn: a command of `redrive bench` in a process of its own, with a fresh broker if it goes to one.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::super::args::Connection;
use super::super::super::error::CliError;
use super::super::super::remote;
use super::super::own::{Home, Own};
use super::super::tail::park;

/// Where in a turn's report the broker's memory stands that is no file's, in bytes, at its largest.
pub(super) const PRIVATE_BYTES_MAX: &str = "/broker_private_bytes_max";

/// Pause between two looks at the command and at the broker's memory.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Rest behind a turn: what the next one finds is not to depend on the one before.
const REST: Duration = Duration::from_secs(2);
/// Commands that need no broker, or start their own; these take a directory.
const WITHOUT_BROKER: [&str; 3] = ["limit", "memory", "restart"];

/// Runs turns.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    program: PathBuf,
    data_dir: &'a Path,
    connection: &'a Connection,
}

impl<'a> Turns<'a> {
    pub(super) fn new(data_dir: &'a Path, connection: &'a Connection) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(failed)?;
        Ok(Self {
            program,
            data_dir,
            connection,
        })
    }

    /// Runs the command with these words. Returns its report.
    pub(super) fn run(&self, words: &[String]) -> Result<Value, CliError> {
        let mut command = Command::new(&self.program);
        command.arg("bench").args(words).arg("--json");
        let is_alone = words
            .first()
            .is_some_and(|word| WITHOUT_BROKER.contains(&word.as_str()));
        let report = if is_alone {
            command.arg("--data-dir").arg(self.data_dir);
            report(command, || None)
        } else {
            self.with_broker(command)
        };
        rustix::fs::sync();
        park(REST);
        report
    }

    fn with_broker(&self, mut command: Command) -> Result<Value, CliError> {
        let home = Home::create(self.data_dir)?;
        let own = remote::block_on(Own::start(&home, self.connection))?;
        command.args(["--addr", own.connection.addr()]);
        command.args(["--url", own.connection.url()]);
        report(command, || own.private_bytes())
    }
}

/// Runs a command to its end, and looks at a broker's memory meanwhile. Returns its report with the largest that was seen.
fn report(mut command: Command, memory: impl Fn() -> Option<u64>) -> Result<Value, CliError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut largest = None;
    let status = loop {
        largest = largest.max(memory());
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None => park(LOOK_AGAIN),
        }
    };
    let mut said = String::new();
    if let Some(stdout) = &mut child.stdout {
        // A report fits into a pipe, and nobody else has this one.
        stdout.read_to_string(&mut said).map_err(failed)?;
    }
    if !status.success() {
        return Err(CliError::failed(
            format!("the command ended with {status}"),
            None,
        ));
    }
    let mut report: Value = serde_json::from_str(&said)
        .map_err(|error| CliError::failed(format!("no report: {error}"), None))?;
    let name = PRIVATE_BYTES_MAX.trim_start_matches('/');
    if let (Some(report), Some(largest)) = (report.as_object_mut(), largest) {
        report.insert(name.to_owned(), json!(largest));
    }
    Ok(report)
}

fn failed(source: std::io::Error) -> CliError {
    CliError::Io {
        action: "run a measurement".to_owned(),
        source,
    }
}
