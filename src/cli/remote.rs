//! The commands' way to a broker: a runtime, a client, and the signals that end a command early.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::Connection;
use super::error::CliError;
use crate::client::{Client, ClientError, ClientOptions};

/// How long commands that wait for a broker wait for it: longer than a restart takes.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// How a command meets a broker that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Says so at once.
    None,
    /// Waits for as long as a restart may take.
    Restart,
}

/// Makes a client; it connects with its first request.
pub(super) fn client(connection: &Connection, patience: Patience) -> Client {
    let mut options = ClientOptions::new(connection.addr());
    options.token = Some(connection.token().to_owned());
    options.retry_for = match patience {
        Patience::None => Duration::ZERO,
        Patience::Restart => RESTART_MAX,
    };
    Client::new(options)
}

/// Makes a client that waits for its broker, and says on stderr that it does.
pub(super) async fn waiting_client(connection: &Connection) -> Result<Client, CliError> {
    let client = client(connection, Patience::Restart);
    match client.connection().await {
        Ok(_connection) => {}
        Err(error) if error.is_retryable() => {
            note(&format!(
                "{}; trying again for {} s",
                with_causes(&error),
                RESTART_MAX.as_secs()
            ));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(client)
}

/// Runs a command's future on a runtime of its own.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    run_on(Builder::new_multi_thread(), future)
}

/// Runs a command's future on this thread alone.
pub(super) fn block_on_one_thread<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    run_on(Builder::new_current_thread(), future)
}

fn run_on<T>(
    mut builder: Builder,
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|source| CliError::Io {
        action: "start a thread".to_owned(),
        source,
    })?;
    let result = runtime.block_on(future);
    // A thread may still be reading stdin.
    runtime.shutdown_background();
    result.map_err(unwrapped)
}

/// One attempt that failed is no giving up: what failed says more.
fn unwrapped(error: CliError) -> CliError {
    match error {
        CliError::Client(ClientError::GaveUp {
            attempts: 1,
            source,
        }) => CliError::Client(*source),
        other => other,
    }
}

/// Writes a line to stderr.
pub(super) fn note(text: &str) {
    // With stderr gone there is nobody left to tell.
    let _written = writeln!(io::stderr(), "{text}");
}

/// Returns what an error says with its causes.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

/// SIGTERM and Ctrl-C, from its making on.
#[derive(Debug)]
pub(super) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
    /// `None` when it is ignored, as below `nohup`.
    hangup: Option<Signal>,
}

impl StopSignal {
    /// Takes the signals over from the system, which would end the process.
    pub(super) fn new() -> Result<Self, CliError> {
        let failed = |source| CliError::Io {
            action: "handle signals".to_owned(),
            source,
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            hangup: if ignores_hangup() {
                None
            } else {
                Some(signal(SignalKind::hangup()).map_err(failed)?)
            },
        })
    }

    /// Waits for one of them. Dropping the future loses nothing.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = received(self.hangup.as_mut()) => {}
        }
    }
}

/// Ends the process at the second signal, for commands whose output may block: who writes to a pipe that nobody reads hears of none.
pub(super) fn end_at_second_signal() -> Result<(), CliError> {
    /// 128 and the number of SIGINT, as shells have it.
    const INTERRUPTED: i32 = 130;
    let mut signals = StopSignal::new()?;
    tokio::spawn(async move {
        signals.wait().await;
        signals.wait().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns whether this process was told to outlive its terminal: the lowest bit of what it ignores (proc(5)).
#[must_use]
pub fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}
