//! `redrive group`: committed offsets and lag.

use clap::Subcommand;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;

/// `redrive group ...`
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups
    List,
    /// Show a group's committed offset and lag for each partition
    Describe {
        /// Name
        group: String,
    },
    /// Delete a group's committed offsets
    Delete {
        /// Name
        group: String,
    },
}

/// Runs `redrive group ...`.
pub(super) fn run(
    _command: &GroupCommand,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "group" })
}
