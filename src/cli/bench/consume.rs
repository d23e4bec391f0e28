//! `redrive bench consume`.

use std::time::{Duration, Instant};

use super::super::args::Connection as Address;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::remote::{self, Patience};
use super::LoadArgs;
use super::produce::{BenchTopic, block_on, measure as produce};
use super::report::{Latencies, Report};
use crate::client::{Client, Consumer, ConsumerOptions};

/// Runs `redrive bench consume`.
pub(super) fn run(load: &LoadArgs, address: &Address, output: &mut Output) -> Result<(), CliError> {
    if load.connections > load.partitions {
        return Err(CliError::usage(format!(
            "{} connections share out {} partitions: give at least as many --partitions",
            load.connections, load.partitions
        )));
    }
    let report = block_on(load, async {
        let client = remote::client(address, Patience::None);
        let bench = BenchTopic::create(&client, load).await?;
        let measured = match produce(&client, load, &bench.topic).await {
            Ok(_produced) => measure(&client, load, &bench.topic.name).await,
            Err(error) => Err(error),
        };
        bench.delete(&client).await?;
        let (elapsed, latencies) = measured?;
        Ok(Report {
            what: "consume",
            latency_of: "wait for a batch",
            elapsed,
            latencies,
            effective: bench.effective(load),
        })
    })?;
    report.write(load, output)
}

async fn measure(
    client: &Client,
    load: &LoadArgs,
    topic: &str,
) -> Result<(Duration, Latencies), CliError> {
    let mut consumers = Vec::new();
    let start = Instant::now();
    for index in 0..load.connections {
        let of_connection = |partition: &u32| partition % load.connections == index;
        let options = ConsumerOptions {
            partitions: Some((0..load.partitions).filter(of_connection).collect()),
            stops_at_end: true,
            ..ConsumerOptions::default()
        };
        consumers.push(Consumer::open(client, topic, options).await?);
    }
    let running: Vec<_> = consumers
        .into_iter()
        .map(|consumer| tokio::spawn(read_all(consumer)))
        .collect();
    let mut latencies = Latencies::new()?;
    let mut records = 0_u64;
    for task in running {
        let (count, found) = task
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        records = records.saturating_add(count);
        latencies.add(&found);
    }
    let elapsed = start.elapsed();
    if records != load.records {
        return Err(CliError::failed(
            format!("{} records were produced and {records} read", load.records),
            None,
        ));
    }
    Ok((elapsed, latencies))
}

async fn read_all(mut consumer: Consumer) -> Result<(u64, Latencies), CliError> {
    let mut latencies = Latencies::new()?;
    let mut records = 0_u64;
    let mut asked_at = Instant::now();
    while let Some((_, batch)) = consumer.next_batch().await? {
        latencies.record(asked_at.elapsed());
        records = records.saturating_add(u64::from(batch.header().record_count));
        asked_at = Instant::now();
    }
    Ok((records, latencies))
}
