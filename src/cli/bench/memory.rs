//! `redrive bench memory`: what a broker with many partitions at rest takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::args::Connection;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::remote::{self, Patience};
use super::super::topic::DurabilityArg;
use super::LoadArgs;
use super::figures::Figures;
use super::own::{Home, Own};
use super::produce::{BenchTopic, measure};
use super::report::float;
use crate::client::connection::Connection as ClientConnection;

/// Rest before the memory is looked at: buffers are given back after a second.
const REST: Duration = Duration::from_secs(5);

/// Connections beside the idle ones: those that write the records.
const SPARE_CONNECTIONS: u32 = 16;

/// What `bench memory` makes.
#[derive(Debug, Clone, Args)]
pub struct MemoryArgs {
    /// Partitions, each with a record
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// Connections that are opened and then say nothing
    #[arg(long, default_value_t = 0)]
    pub connections: u32,
    /// Directory below which the broker's data is written and deleted again
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// Runs `redrive bench memory`.
pub(super) fn run(
    arguments: &MemoryArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), CliError> {
    let load = LoadArgs {
        records: u64::from(arguments.partitions),
        size: 1024,
        batch: 1,
        connections: 1,
        partitions: arguments.partitions,
        acks: DurabilityArg::Synced,
        window: None,
        segment_bytes: None,
    };
    let figures = remote::block_on(async {
        let home = Home::create(&arguments.data_dir)?;
        let settings = [format!(
            "limits.connections_max={}",
            arguments.connections.saturating_add(SPARE_CONNECTIONS)
        )];
        let mut own = Own::start_with(&home, connection, &settings).await?;
        let mut figures = Figures::default();
        add(&mut figures, "empty", &own);
        let client = remote::client(&own.connection, Patience::None);
        let bench = BenchTopic::create(&client, &load).await?;
        measure(&client, &load, &bench.topic).await?;
        drop(client);
        tokio::time::sleep(REST).await;
        add(&mut figures, "at_rest_after_writing", &own);
        own.kill();
        let own = Own::start_with(&home, connection, &settings).await?;
        figures.add(
            "ready_after_kill",
            "ms",
            own.ready_after.as_secs_f64() * 1000.0,
        );
        tokio::time::sleep(REST).await;
        add(&mut figures, "at_rest_after_restart", &own);
        if arguments.connections > 0 {
            let held = connections(&own, arguments.connections).await?;
            tokio::time::sleep(REST).await;
            add(&mut figures, "with_idle_connections", &own);
            drop(held);
        }
        Ok(figures)
    })?;
    let effective = json!({
        "partitions": arguments.partitions,
        "connections": arguments.connections,
        "durability": "synced",
    });
    figures.write("memory", &effective, output)
}

/// Opens connections that say nothing more than their handshake.
async fn connections(own: &Own, count: u32) -> Result<Vec<ClientConnection>, CliError> {
    let mut held = Vec::new();
    for _ in 0..count {
        let client = remote::client(&own.connection, Patience::None);
        let connection = client.connection().await.map_err(|error| {
            let message = format!(
                "the broker took {} of {count} connections ({error}): all its connections get two thirds of its open files at most, see ulimit -n",
                held.len()
            );
            CliError::failed(message, None)
        })?;
        held.push(connection);
    }
    Ok(held)
}

fn add(figures: &mut Figures, name: &'static str, own: &Own) {
    let bytes = own.resident_bytes().unwrap_or_default();
    figures.add(name, "MB", float(bytes) / 1e6);
}
