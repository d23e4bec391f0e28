//! The command tree: what `redrive --help` shows. Each group's own arguments stand in its file.

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::error::CliError;
use super::output::Output;
use super::{
    bench, config, consume, data, dlq, group, produce, reject, repair, retention, serve, topic,
};
use crate::config::development;

const ADDR_DEFAULT: &str = "127.0.0.1:7733";
const URL_DEFAULT: &str = "http://127.0.0.1:8080";

const EXAMPLES: &str = "\
Examples:
  redrive serve
  redrive produce flights flights.ndjson
  redrive consume flights --from earliest --count 10
  redrive reject flights 0 17 --reason 'no airline' --group billing
  redrive dlq list flights --group billing
  redrive dlq retry flights --all

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 ended by a second signal.";

/// A log-structured message broker whose dead letters come back.
#[derive(Debug, Parser)]
#[command(name = "redrive", version, after_help = EXAMPLES, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// How to reach the broker.
    #[command(flatten)]
    pub connection: Connection,

    /// Write JSON for scripts instead of a table for people
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the broker.
#[derive(Clone, Args)]
pub struct Connection {
    /// Broker's address, binary protocol
    #[arg(
        long,
        help_heading = "Broker",
        global = true,
        value_name = "HOST:PORT",
        help = "Broker's address, binary protocol [env: REDRIVE_ADDR] [default: 127.0.0.1:7733]"
    )]
    pub addr: Option<String>,

    /// Broker's address, HTTP
    #[arg(
        long,
        help_heading = "Broker",
        global = true,
        help = "Broker's address, HTTP, for `retention`, `topic describe --segments` and `bench push` \
                [env: REDRIVE_URL] [default: http://127.0.0.1:8080]"
    )]
    pub url: Option<String>,

    /// Token to show, or for `serve` to ask for
    #[arg(
        long,
        help_heading = "Broker",
        global = true,
        value_name = "TOKEN",
        help = "Token to show, or for `serve` to ask for [env: REDRIVE_TOKEN] [default: the public development token]"
    )]
    token: Option<String>,
}

impl Connection {
    /// Takes from the environment what no flag gives. The parser does not: it would name in each of its errors what is set
    /// there, as if it were asked for.
    #[must_use]
    pub fn over(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        self.addr = self.addr.or_else(|| set("REDRIVE_ADDR"));
        self.url = self.url.or_else(|| set("REDRIVE_URL"));
        self.token = self.token.or_else(|| set("REDRIVE_TOKEN"));
        self
    }

    /// Returns where the binary protocol is.
    pub fn addr(&self) -> &str {
        self.addr.as_deref().unwrap_or(ADDR_DEFAULT)
    }

    /// Returns where HTTP is, without a slash at its end.
    pub fn url(&self) -> &str {
        let url = self.url.as_deref().unwrap_or(URL_DEFAULT);
        url.trim_end_matches('/')
    }

    /// Returns the token to show.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or(development::TOKEN)
    }

    /// Checks that the protocol's address is one.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn check_addr(&self) -> Result<(), CliError> {
        let addr = self.addr();
        let is_address = addr.rsplit_once(':').is_some_and(|(host, port)| {
            let is_bracketed = host.starts_with('[') && host.ends_with(']');
            let is_host = !host.is_empty() && (is_bracketed || !host.contains([':', '/']));
            is_host && port.parse::<u16>().is_ok()
        });
        if is_address {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "{addr:?} is no address: --addr or REDRIVE_ADDR takes HOST:PORT, as in {ADDR_DEFAULT}"
        )))
    }

    /// Checks that what goes to HTTP does not go to another broker than the one whose other address was given.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn check_url(&self) -> Result<(), CliError> {
        match (&self.addr, &self.url) {
            (Some(addr), None) => Err(CliError::usage(format!(
                "this goes to the broker's HTTP address, and only --addr {addr} (or REDRIVE_ADDR) was given: give the \
                 same broker's --url (or REDRIVE_URL) too"
            ))),
            _ => Ok(()),
        }
    }

    /// As [`Connection::check_url`], of what goes to both addresses.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn check_pair(&self) -> Result<(), CliError> {
        match (&self.addr, &self.url) {
            (None, Some(url)) => Err(CliError::usage(format!(
                "this goes to the broker's protocol address as well, and only --url {url} (or REDRIVE_URL) was given: give \
                 the same broker's --addr (or REDRIVE_ADDR) too"
            ))),
            _ => self.check_url(),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("addr", &self.addr)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one, and there is no list of them"
)]
pub enum Command {
    /// Run the broker
    Serve(serve::ServeArgs),
    /// Create, list, describe, alter and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Send records, one a line, from a file or stdin
    Produce(produce::ProduceArgs),
    /// Read records, one value a line
    Consume(consume::ConsumeArgs),
    /// Dead-letter a record that a group cannot process
    Reject(reject::RejectArgs),
    /// List, get, retry, delete and count dead letters
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Show groups, their committed offsets and their lag
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Delete what retention no longer keeps
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// Measure a broker, and the limit of this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Check a data directory, byte for byte
    Verify(data::VerifyArgs),
    /// Mend damaged segment headers, or give up a damaged range; no broker may run on the directory
    Repair(repair::RepairArgs),
    /// Print, check and document the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Returns whether it speaks to a broker.
    pub(super) fn has_peer(&self) -> bool {
        match self {
            Self::Topic(_)
            | Self::Produce(_)
            | Self::Consume(_)
            | Self::Reject(_)
            | Self::Dlq(_)
            | Self::Group(_)
            | Self::Retention(_)
            | Self::Bench(_) => true,
            Self::Serve(_)
            | Self::Verify(_)
            | Self::Repair(_)
            | Self::Config(_)
            | Self::Completions { .. } => false,
        }
    }
}

/// Writes the completion script for `shell`.
pub(super) fn completions(shell: Shell, output: &mut Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "redrive", &mut script);
    output.bytes(&script)
}
