//! `redrive serve`: the configuration from its three sources, and the text that the broker starts with.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use super::error::CliError;
use super::output::Output;
use super::parse;
use super::remote::StopSignal;
use crate::config::{
    ConfigError, FileText, FlagValue, LogFormat, LogLevel, LoggingConfig, ServeConfig, Settings,
    Source, development,
};
use crate::limits::ATTEMPT_DRAIN_WAIT_MAX;
use crate::run::{Addresses, RunError};
use crate::shutdown::Shutdown;

/// How long a broker may take to drain. Whoever stops it waits for ten seconds.
const DRAIN_MAX: Duration = Duration::from_secs(9);

const EXAMPLES: &str = "\
Without arguments: loopback only, data under ./redrive-data, and the development credentials that the QStash SDKs \
know. `redrive config reference` lists every key; those without a flag of their own are set by --set KEY=VALUE.

Once it serves, it says where on stdout. With --json that is one line, an object: version, data_dir, http (a URL), protocol \
(an address), token_source (where the token was set, never the token), is_development, \
allows_private (whether deliveries may go to every private address, and not to destinations.allowed alone), and environment (the \
QSTASH_* variables while the public development credentials are in force, else empty).

Examples:
  redrive serve
  redrive serve --data-dir /var/lib/redrive --config /etc/redrive.toml
  REDRIVE_TOKEN=... redrive serve --http 0.0.0.0:8080 --plaintext     TLS ends in front of the broker
  redrive serve --segment-bytes 1MiB --set topic.durability=written";

/// Arguments of `redrive serve`, and of `redrive config print`. Values are checked with those of the file and the
/// environment, so that an error is the same wherever a value stands.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "REDRIVE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Directory that holds all data [default: ./redrive-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Address of the HTTP surface [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// Address of the binary protocol [default: 127.0.0.1:7733]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Token that clients must show (better by `REDRIVE_TOKEN`: other users see the flags of a process)
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// Confirm that an address off loopback is served without TLS
    #[arg(long)]
    plaintext: bool,

    /// Size at which a segment is sealed [default: 128MiB]
    #[arg(long, value_name = "SIZE")]
    segment_bytes: Option<String>,

    /// Age from which sealed segments are deleted [default: 7d]
    #[arg(long, value_name = "DURATION")]
    retention_ms: Option<String>,

    /// Size above which a partition's oldest segments are deleted [default: none]
    #[arg(long, value_name = "SIZE")]
    retention_bytes: Option<String>,

    /// Set any other key of the configuration
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::assignment)]
    set: Vec<(String, String)>,
}

impl std::fmt::Debug for ServeArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is among the fields.
        f.debug_struct("ServeArgs")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl ServeArgs {
    /// Reads the file and lays the process's environment and the flags over it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        // A variable that is not UTF-8 is no address, size or word; as U+FFFD its check refuses it by name.
        self.settings_over(std::env::vars_os().map(|(name, value)| (lossy(&name), lossy(&value))))
    }

    /// Reads the file and lays `environment` and the flags over it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn settings_over(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, ConfigError> {
        let text = self.config.as_deref().map(read_file).transpose()?;
        let file = self.config.as_deref().zip(text.as_deref());
        let file = file.map(|(path, text)| FileText { path, text });
        Settings::resolve(file, environment, &self.flags())
    }

    fn flags(&self) -> Vec<FlagValue> {
        let plaintext = self.plaintext.then(|| "true".to_owned());
        let own = [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--http", "http", &self.http),
            ("--listen", "listen", &self.listen),
            ("--token", "token", &self.token),
            ("--plaintext", "plaintext", &plaintext),
            (
                "--segment-bytes",
                "topic.segment_bytes",
                &self.segment_bytes,
            ),
            ("--retention-ms", "topic.retention_ms", &self.retention_ms),
            (
                "--retention-bytes",
                "topic.retention_bytes",
                &self.retention_bytes,
            ),
        ];
        let own = own.into_iter().filter_map(|(flag, key, value)| {
            let value = value.clone()?;
            Some(FlagValue {
                flag: flag.to_owned(),
                key: key.to_owned(),
                value,
            })
        });
        let set = self.set.iter().map(|(key, value)| FlagValue {
            flag: "--set".to_owned(),
            key: key.clone(),
            value: value.clone(),
        });
        own.chain(set).collect()
    }
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// Reads a configuration file.
pub(super) fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What the start-up text tells.
#[derive(Debug, Clone, Copy)]
pub struct StartUp<'a> {
    /// Where HTTP is served, with the port that was given.
    pub http: SocketAddr,
    /// Where the binary protocol is served.
    pub protocol: SocketAddr,
    /// The data directory.
    pub data_dir: &'a Path,
    /// Where the token was configured; never the token.
    pub token_source: &'a str,
    /// Whether the development credentials are in force.
    pub is_development: bool,
    /// Whether deliveries may go to every private address, and not to those alone that are named.
    pub allows_private: bool,
}

impl StartUp<'_> {
    /// Returns what an SDK reads from its environment while the credentials are the public ones; else nothing.
    fn environment(&self) -> Vec<(&'static str, String)> {
        if !self.is_development {
            return Vec::new();
        }
        vec![
            ("QSTASH_URL", format!("http://{}", self.http)),
            ("QSTASH_TOKEN", development::TOKEN.to_owned()),
            (
                "QSTASH_CURRENT_SIGNING_KEY",
                development::CURRENT_SIGNING_KEY.to_owned(),
            ),
            (
                "QSTASH_NEXT_SIGNING_KEY",
                development::NEXT_SIGNING_KEY.to_owned(),
            ),
        ]
    }
}

/// Returns the text that a broker prints once it serves. The last lines are ready for a shell or an `.env` file; they stand
/// there only while the credentials are the public ones.
pub fn startup_text(start: &StartUp<'_>) -> String {
    let mut text = format!(
        "redrive {} serves {}\n  http      http://{}\n  protocol  {}\n",
        env!("CARGO_PKG_VERSION"),
        start.data_dir.display(),
        start.http,
        start.protocol,
    );
    if !start.allows_private {
        text.push_str(
            "\nDeliveries to private addresses are forbidden, but for destinations.allowed: it opens single hosts and \
             networks, destinations.allow_private all.\n",
        );
    }
    if start.is_development {
        text.push_str(
            "\nDevelopment credentials are in force: known to everyone, accepted on loopback only.\n",
        );
    }
    for (name, value) in start.environment() {
        // Writing to a string does not fail.
        let _ok = writeln!(text, "{name}={value}");
    }
    text
}

/// Returns the same for a program: one object, with the public credentials under `environment` while they are in force.
pub fn startup_json(start: &StartUp<'_>) -> Value {
    let environment = start.environment().into_iter();
    let environment = environment.map(|(name, value)| (name.to_owned(), Value::String(value)));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "data_dir": start.data_dir.to_string_lossy(),
        "http": format!("http://{}", start.http),
        "protocol": start.protocol.to_string(),
        "token_source": start.token_source,
        "is_development": start.is_development,
        "allows_private": start.allows_private,
        "environment": environment.collect::<serde_json::Map<_, _>>(),
    })
}

/// Runs the broker until SIGTERM, SIGHUP or Ctrl-C.
pub(super) fn run(command: &ServeArgs, output: &mut Output) -> Result<(), CliError> {
    let settings = command.settings()?;
    let config = ServeConfig::from_settings(&settings)?;
    log_to_stderr(config.logging);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Thread)?;
    let token_source = settings.source("token").map(Source::to_string);
    let result = runtime.block_on(serve(config, token_source.unwrap_or_default(), output));
    // What is still blocked after the drain has nothing left that was accepted.
    runtime.shutdown_background();
    result.map_err(|error| error.placed(&settings))
}

async fn serve(
    config: ServeConfig,
    token_source: String,
    output: &mut Output,
) -> Result<(), CliError> {
    let data_dir = config.data_dir.clone();
    let is_development = config.access.is_development;
    let allows_private = config.destinations.allow_private;
    let shutdown = Shutdown::new();
    let mut stop_signal = StopSignal::new()?;
    let started = |addresses: Addresses| {
        let start = StartUp {
            http: addresses.http,
            protocol: addresses.protocol,
            data_dir: &data_dir,
            token_source: &token_source,
            is_development,
            allows_private,
        };
        let written = if output.is_json() {
            output.json(&startup_json(&start))
        } else {
            output.bytes(startup_text(&start).as_bytes())
        };
        // A broker whose stdout nobody reads serves all the same.
        if let Err(error) = written.and_then(|()| output.finish()) {
            tracing::warn!(%error, "the start-up text was not written");
        }
    };
    let running = crate::run::run(config, shutdown.clone(), started);
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => return result.map_err(CliError::from),
        () = stop_signal.wait() => {}
    }
    tracing::info!(
        "stopping: attempts under way have {} s to end; a second signal ends at once",
        ATTEMPT_DRAIN_WAIT_MAX.as_secs()
    );
    shutdown.trigger();
    let late = format!("the broker did not drain within {} s", DRAIN_MAX.as_secs());
    let failure = tokio::select! {
        drained = tokio::time::timeout(DRAIN_MAX, running) => match drained {
            Ok(result) => return result.map_err(CliError::from),
            Err(_elapsed) => late,
        },
        () = stop_signal.wait() => "the broker was stopped before it had drained".to_owned(),
    };
    Err(CliError::failed(
        failure,
        Some("nothing that was acknowledged is lost; the next start recovers"),
    ))
}

fn log_to_stderr(logging: LoggingConfig) {
    let level = match logging.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match logging.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // Only a second broker in one process finds one installed, and logs to that.
    installed.ok();
}
