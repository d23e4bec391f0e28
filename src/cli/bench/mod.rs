//! `redrive bench`: a broker's speed, and the limit of the machine that it is held against.
//!
//! Both sides send batches that were encoded before the clock was started, so that the client's work is not what is
//! measured: `bench produce` puts them straight on its connections, without a producer id. Bytes are those of the values.
//! `bench push` is about deliveries and has a yardstick of its own; `bench memory` and `bench restart` start brokers of
//! their own, because they end them. `bench table` runs all the others, in rounds.

mod consume;
mod destination;
mod figures;
mod letters;
mod limit;
mod load;
mod memory;
mod own;
mod post;
mod produce;
mod push;
mod read_limit;
mod report;
mod restart;
mod spread;
mod table;
mod tail;

use std::path::PathBuf;

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
    #[command(after_help = "\
The yardstick for `bench produce`: what a broker cannot be faster than. The same batches go through one connection on \
loopback, get a CRC-32 and are written to one file. Written: without a sync. Synced: a second thread syncs every 8 MiB, \
with at most 64 MiB that are not synced. With --read it is the yardstick for `bench consume`: the file, in the page cache, is \
read batch by batch, sent, received and checked. With --window 1 there is no connection: each batch is appended, and synced, \
before the next.")]
    Limit(LimitArgs),
    /// Produce and consume at the same time, and measure from a batch's sending to its reader, at half the speed
    #[command(
        after_help = "Example:\n  redrive bench tail --acks written --batch 100 --records 2000000"
    )]
    Tail(tail::TailArgs),
    /// Make dead letters, then measure pages of a filter, and republishing all of them
    #[command(after_help = "\
The letters are those of rejected records, of a topic of its own. With --urls they are messages that were published, and \
refused by a destination at so many URLs of this process: pages of filters over three fields are measured, and deleting all.")]
    Letters(letters::LettersArgs),
    /// Start a broker with many partitions, and look at its memory when it rests
    Memory(memory::MemoryArgs),
    /// Kill a broker at full rate, and measure from its next start to its word that it is ready
    Restart(restart::RestartArgs),
    /// Measure all of it, each beside its yardstick, in rounds, with brokers of its own
    #[command(after_help = table::AFTER_HELP)]
    Table(table::TableArgs),
    /// Publish to destinations of its own, and measure deliveries beside a bare HTTP client
    #[command(after_help = "\
The bare client posts the same bodies straight to the same destination over --connections kept-alive connections; it and \
the broker take turns. Everything that is published must arrive exactly once. With --isolation there are a hundred \
destinations; in every other run one of them takes requests and answers none, and only the others are measured.")]
    Push(push::PushArgs),
}

/// The load of `bench limit`, and where its file goes.
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// The load; one connection, one file.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Directory below which the file is written and deleted again; it should be on the broker's disk
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Measure reading from the page cache instead of writing
    #[arg(long)]
    pub read: bool,
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
    /// Batches of one connection that wait for their acknowledgement [default: as many as 16 MiB hold, 4 to 128]
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub window: Option<u32>,
    /// Size at which the topic's segments are full [default: the broker's]
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    pub segment_bytes: Option<u64>,
}

/// Runs `redrive bench ...`.
pub(super) fn run(
    command: &BenchCommand,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    match command {
        BenchCommand::Produce(load) => produce::run(load, connection, output),
        BenchCommand::Consume(load) => consume::run(load, connection, output),
        BenchCommand::Limit(arguments) => limit::run(arguments, output),
        BenchCommand::Tail(arguments) => tail::run(arguments, connection, output),
        BenchCommand::Letters(arguments) => letters::run(arguments, connection, output),
        BenchCommand::Memory(arguments) => memory::run(arguments, connection, output),
        BenchCommand::Restart(arguments) => restart::run(arguments, connection, output),
        BenchCommand::Table(arguments) => table::run(arguments, connection, output),
        BenchCommand::Push(arguments) => push::run(arguments, connection, output),
    }
}
