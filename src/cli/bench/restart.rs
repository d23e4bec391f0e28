//! `redrive bench restart`: from the start of a broker that was killed at full rate to its word that it is ready.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::parse;
use super::super::remote::{self, Patience};
use super::super::topic::DurabilityArg;
use super::LoadArgs;
use super::figures::Figures;
use super::letters;
use super::own::{Home, Own};
use super::produce::{BenchTopic, measure};
use super::push;
use super::report::float;
use crate::client::Client;

/// Size of a record.
const RECORD_BYTES: u32 = 1024;
/// Time for which the broker takes records again before it is killed.
const UNDER_LOAD: Duration = Duration::from_millis(500);

/// Time after which pending messages are due.
const PENDING_FOR: Duration = Duration::from_hours(1);

/// What the broker has when it is killed.
#[derive(Debug, Clone, Args)]
pub struct RestartArgs {
    /// Bytes of records of 1 KiB
    #[arg(long, default_value = "2GiB", value_name = "BYTES", value_parser = parse::bytes)]
    pub bytes: u64,
    /// Partitions of the topic
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// Dead letters besides, each of a record of 100 bytes
    #[arg(long, default_value_t = 0)]
    pub letters: u64,
    /// Messages of 1 KiB besides, published and due an hour later
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 31))]
    pub pending: u64,
    /// Times that the broker is killed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub runs: u32,
    /// Directory below which the broker's data is written and deleted again
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Runs `redrive bench restart`.
pub(super) fn run(
    arguments: &RestartArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let figures = remote::block_on(measure_all(arguments, connection))?;
    let effective = json!({
        "bytes": arguments.bytes,
        "partitions": arguments.partitions,
        "letters": arguments.letters,
        "pending": arguments.pending,
        "durability": "synced",
    });
    figures.write("restart", &effective, output)
}

async fn measure_all(
    arguments: &RestartArgs,
    connection: &Connection,
) -> Result<Figures, CliError> {
    let load = LoadArgs {
        records: arguments.bytes.div_ceil(u64::from(RECORD_BYTES)).max(1),
        size: RECORD_BYTES,
        batch: 1000,
        connections: 1,
        partitions: arguments.partitions,
        acks: DurabilityArg::Synced,
        window: None,
        segment_bytes: None,
    };
    let home = Home::create(&arguments.data_dir)?;
    let mut own = Own::start(&home, connection).await?;
    let client = remote::client(&own.connection, Patience::None);
    let bench = BenchTopic::create(&client, &load).await?;
    measure(&client, &load, &bench.topic).await?;
    if arguments.letters > 0 {
        letters::rejected::make(&client, arguments.letters, 100, 1).await?;
    }
    if arguments.pending > 0 {
        push::publish_delayed(arguments.pending, PENDING_FOR, &own.connection).await?;
    }
    let mut client = client;
    let mut figures = Figures::default();
    for _ in 0..arguments.runs {
        kill_under_load(&client, &load, &bench, &mut own).await?;
        own = Own::start(&home, connection).await?;
        client = remote::client(&own.connection, Patience::None);
        let ready_ms = own.ready_after.as_secs_f64() * 1000.0;
        figures.add("ready", "ms", ready_ms);
    }
    let resident = own.resident_bytes().unwrap_or_default();
    figures.add("resident_after_the_last", "MB", float(resident) / 1e6);
    Ok(figures)
}

/// Kills the broker while it takes records as fast as it can.
async fn kill_under_load(
    client: &Client,
    load: &LoadArgs,
    bench: &BenchTopic,
    own: &mut Own,
) -> Result<(), CliError> {
    let endless = LoadArgs {
        records: u64::from(u32::MAX),
        ..*load
    };
    let producing = measure(client, &endless, &bench.topic);
    tokio::select! {
        ended = producing => ended.map(|_| ()),
        () = tokio::time::sleep(UNDER_LOAD) => {
            own.kill();
            Ok(())
        }
    }
}
