//! `redrive retention`.

use clap::Subcommand;

use super::args::Connection;
use super::error::CliError;
use super::output::Output;

/// `redrive retention ...`
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Delete now what age and size no longer keep, instead of at the next turn
    Run {
        /// Topic; without it, all
        topic: Option<String>,
    },
}

/// Runs `redrive retention ...`.
pub(super) fn run(
    _command: &RetentionCommand,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt {
        command: "retention",
    })
}
