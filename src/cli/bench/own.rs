//! A broker of the measurement's own: a child process in a directory of its own, that ends with its value.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::http;
use super::limit::TemporaryDirectory;

/// Pause between two questions whether the broker is ready.
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// Longest time that a broker may take until it is ready.
const READY_WAIT_MAX: Duration = Duration::from_mins(5);

/// A directory for a broker, deleted with what is in it.
pub(super) struct Home(TemporaryDirectory);

impl Home {
    /// Makes one below `parent`.
    pub(super) fn create(parent: &Path) -> Result<Self, CliError> {
        let created = TemporaryDirectory::create(parent);
        created.map(Self).map_err(|source| CliError::Io {
            action: format!("create a directory below {}", parent.display()),
            source,
        })
    }

    fn path(&self) -> PathBuf {
        self.0.0.join("broker")
    }
}

/// A running broker.
pub(super) struct Own {
    child: Child,
    /// How to reach it.
    pub(super) connection: Connection,
    /// From the start of its process to its first word that it is ready.
    pub(super) ready_after: Duration,
}

impl Own {
    /// Starts the broker, and waits until it is ready.
    pub(super) async fn start(home: &Home, token: &Connection) -> Result<Self, CliError> {
        Self::start_with(home, token, &[]).await
    }

    /// As [`Own::start`], with settings (`key=value`).
    pub(super) async fn start_with(
        home: &Home,
        token: &Connection,
        settings: &[String],
    ) -> Result<Self, CliError> {
        let failed = |source| CliError::Io {
            action: "start a broker".to_owned(),
            source,
        };
        let begun = Instant::now();
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["serve", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .args(["--set", "log.level=error", "--data-dir"])
            .arg(home.path())
            .args(
                settings
                    .iter()
                    .flat_map(|setting| ["--set", setting.as_str()]),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let addresses = child.stdout.take().and_then(addresses);
        let mut own = Self {
            child,
            connection: token.clone(),
            ready_after: Duration::ZERO,
        };
        let Some((http, protocol)) = addresses else {
            return Err(CliError::failed("the broker did not start", None));
        };
        (own.connection.url, own.connection.addr) = (Some(http), Some(protocol));
        while http::get(&own.connection, "/readyz").await.is_err() {
            if begun.elapsed() > READY_WAIT_MAX {
                return Err(CliError::failed("the broker is not ready", None));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        own.ready_after = begun.elapsed();
        Ok(own)
    }

    /// Ends the broker as a crash does.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself; either way it is gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Returns the memory that the broker has resident, in bytes, from what the system says of its process.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.status_bytes("VmRSS:")
    }

    /// As [`Own::resident_bytes`], without what is mapped from files.
    pub(super) fn private_bytes(&self) -> Option<u64> {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads the addresses of both surfaces from the start-up text.
fn addresses(stdout: std::process::ChildStdout) -> Option<(String, String)> {
    let (mut http, mut protocol) = (None, None);
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("http"), Some(url)) => http = Some(url.to_owned()),
            (Some("protocol"), Some(address)) => protocol = Some(address.to_owned()),
            _ => {}
        }
        if protocol.is_some() {
            break;
        }
    }
    http.zip(protocol)
}
