//! The command tree: what `redrive --help` shows. Each group's own arguments stand in its file.

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::error::CliError;
use super::output::Output;
use super::{bench, config, consume, data, dlq, group, produce, reject, retention, serve, topic};
use crate::config::development;

const EXAMPLES: &str = "\
Examples:
  redrive serve
  redrive produce flights flights.ndjson
  redrive consume flights --from earliest --count 10
  redrive reject flights 0 17 --reason 'no airline' --group billing
  redrive dlq list flights --group billing
  redrive dlq retry flights --all

Exit codes: 0 done, 1 failed, 2 wrong usage.";

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
        env = "REDRIVE_ADDR",
        default_value = "127.0.0.1:7733",
        value_name = "HOST:PORT"
    )]
    pub addr: String,

    /// Broker's address, HTTP
    #[arg(
        long,
        help_heading = "Broker",
        global = true,
        env = "REDRIVE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub url: String,

    /// Token to show, or for `serve` to ask for [default: the public development token]
    #[arg(
        long,
        help_heading = "Broker",
        global = true,
        env = "REDRIVE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
}

impl Connection {
    /// Returns the token to show.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or(development::TOKEN)
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
    /// Give up a damaged range of offsets; no broker may run on the directory
    Repair(data::RepairArgs),
    /// Print, check and document the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Writes the completion script for `shell`.
pub(super) fn completions(shell: Shell, output: &mut Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "redrive", &mut script);
    output.bytes(&script)
}
