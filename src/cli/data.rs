//! `redrive verify` and `redrive repair`: the data directory, while no broker runs on it.

use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use super::output::Output;
use super::parse::{self, OffsetRange};

/// Arguments of `redrive verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads every batch, checks both checksums and the chain, rebuilds indexes, live sets and checkpoints and compares them. Exits \
1 if anything is wrong, with the file and the range of offsets. Writes nothing.")]
pub struct VerifyArgs {
    /// The data directory
    #[arg(
        long,
        default_value = "./redrive-data",
        env = "REDRIVE_DATA_DIR",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// Check this partition number alone
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<u32>,
}

/// Arguments of `redrive repair`.
#[derive(Debug, Args)]
#[command(after_help = "\
The range is given up for good: readers pass over it, and the control log keeps a note of it. `redrive verify` says which \
range is damaged.

Example:
  redrive repair --data-dir /var/lib/redrive --partition 3 --drop 1200..1310")]
pub struct RepairArgs {
    /// The data directory
    #[arg(
        long,
        default_value = "./redrive-data",
        env = "REDRIVE_DATA_DIR",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// Partition number, as `verify` names it
    #[arg(long, value_name = "NUMBER")]
    pub partition: u32,
    /// Offsets to give up, the end excluded
    #[arg(long, value_name = "FROM..TO", value_parser = parse::offset_range)]
    pub drop: OffsetRange,
}

/// Runs `redrive verify`.
pub(super) fn verify(_command: &VerifyArgs, _output: &mut Output) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "verify" })
}

/// Runs `redrive repair`.
pub(super) fn repair(_command: &RepairArgs, _output: &mut Output) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "repair" })
}
