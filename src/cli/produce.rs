//! `redrive produce`: a record a line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse;

/// How batches are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionArg {
    /// Not at all
    None,
    /// Fast
    Lz4,
    /// Small
    Zstd,
}

/// Arguments of `redrive produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
A missing topic is created with one partition, and stderr says so. Records are sent again across a restart of the broker, \
and stored once.

Examples:
  redrive produce flights flights.ndjson --key-field flight
  tail -f app.log | redrive produce logs --linger-ms 100")]
pub struct ProduceArgs {
    /// Topic
    pub topic: String,
    /// File to read; without it, stdin
    pub file: Option<PathBuf>,
    /// Field of each JSON line whose value is the record's key
    #[arg(long, value_name = "FIELD")]
    pub key_field: Option<String>,
    /// Send to this partition instead of choosing by key
    #[arg(long, conflicts_with = "key_field")]
    pub partition: Option<u32>,
    /// Largest number of records in a batch
    #[arg(long, default_value_t = 1000, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch: u32,
    /// Largest size of a batch
    #[arg(long, default_value = "1MiB", value_name = "SIZE", value_parser = parse::bytes_u32)]
    pub batch_bytes: u32,
    /// Longest wait for a batch to fill, in milliseconds
    #[arg(long, default_value_t = 5, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub linger_ms: u64,
    /// How batches are packed
    #[arg(long, value_enum, default_value_t = CompressionArg::None)]
    pub compression: CompressionArg,
}

/// Runs `redrive produce`.
pub(super) fn run(
    _command: &ProduceArgs,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "produce" })
}
