//! `redrive bench`: a broker's speed, and the limit of the machine that it is held against.

use clap::{Args, Subcommand};

use super::args::Connection;
use super::error::CliError;
use super::output::Output;
use super::parse;
use super::topic::DurabilityArg;

/// `redrive bench ...`
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Produce to a topic of its own, and measure acknowledged records and latency
    #[command(
        after_help = "Example:\n  redrive bench produce --records 1000000 --size 1KiB --acks synced --json"
    )]
    Produce(LoadArgs),
    /// Produce, then consume from the first offset, and measure that
    Consume(LoadArgs),
    /// Measure this machine without a broker: one loopback connection, a CRC-32, one file
    Limit(LoadArgs),
}

/// The load.
#[derive(Debug, Clone, Copy, Args)]
pub struct LoadArgs {
    /// Number of records
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: u64,
    /// Size of a record's value
    #[arg(long, default_value = "1KiB", value_name = "BYTES", value_parser = parse::bytes_u32)]
    pub size: u32,
    /// Records in a batch
    #[arg(long, default_value_t = 1000, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch: u32,
    /// Connections at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// When a batch is acknowledged
    #[arg(long, value_enum, default_value_t = DurabilityArg::Synced)]
    pub acks: DurabilityArg,
}

/// Runs `redrive bench ...`.
pub(super) fn run(
    _command: &BenchCommand,
    _connection: &Connection,
    _output: &mut Output,
) -> Result<(), CliError> {
    Err(CliError::NotBuilt { command: "bench" })
}
