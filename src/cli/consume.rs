//! `redrive consume`: a value a line.

use clap::Args;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse::From;

/// Arguments of `redrive consume`.
#[derive(Debug, Args)]
#[command(after_help = "\
A group is a name for committed offsets, nothing more: partitions are not shared out among its consumers, each names its \
own. Without --partition all partitions are read, in no order between them. Without --follow reading ends at what is \
there now.

Examples:
  redrive consume flights --from earliest --count 200000 > flights.copy
  redrive consume flights --partition 3 --from @2026-01-31T12:00:00Z
  redrive consume flights --group billing --follow --json")]
pub struct ConsumeArgs {
    /// Topic
    pub topic: String,
    /// Where to begin: earliest, latest, OFFSET, or @TIME (RFC 3339 or milliseconds since 1970). With --group: where to
    /// begin when the group has no committed offset [default: the committed offset, else earliest]
    #[arg(long, value_name = "WHERE")]
    pub from: Option<From>,
    /// Read this partition alone
    #[arg(long)]
    pub partition: Option<u32>,
    /// Begin at the group's committed offset, and commit what was written
    #[arg(long)]
    pub group: Option<String>,
    /// End after this many records
    #[arg(long)]
    pub count: Option<u64>,
    /// Wait for further records instead of ending
    #[arg(long)]
    pub follow: bool,
    /// Show records that were republished for other groups as well
    #[arg(long)]
    pub all_groups: bool,
}

/// Runs `redrive consume`.
pub(super) fn run(
    _command: &ConsumeArgs,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "consume" })
}
