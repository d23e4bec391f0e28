//! `redrive reject`: dead-letters one record for a group.

use clap::Args;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;

/// Arguments of `redrive reject`.
#[derive(Debug, Args)]
#[command(after_help = "\
A group has at most one live dead letter for each record: rejecting again answers with its id. Rejecting commits nothing.

Example:
  redrive reject flights 0 17 --group billing --reason 'unknown airline' --details \"$(cat stack.txt)\"")]
pub struct RejectArgs {
    /// Topic
    pub topic: String,
    /// Partition
    pub partition: u32,
    /// Offset of the record
    pub offset: u64,
    /// Why, in one line
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Everything that helps to find the cause
    #[arg(long, value_name = "TEXT")]
    pub details: Option<String>,
    /// The group that rejects
    #[arg(long, default_value = "default")]
    pub group: String,
}

/// Runs `redrive reject`.
pub(super) fn run(
    _command: &RejectArgs,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "reject" })
}
