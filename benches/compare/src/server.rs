//! A server as a child process, that ends with its value.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// Longest time that a server may take to serve.
const START_MAX: Duration = Duration::from_secs(20);

/// A child process; killed when dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts a program that writes what it says to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let out = std::fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self(child))
    }

    /// Asks until there is an answer.
    pub async fn wait<T>(
        &mut self,
        log: &Path,
        mut ask: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return Ok(answer);
            }
            if let Some(status) = self.0.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("the server ended with {status}: {said}").into());
            }
            if begun.elapsed() > START_MAX {
                return Err("the server does not serve".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Returns a port that was free a moment ago, for servers that choose none themselves.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
