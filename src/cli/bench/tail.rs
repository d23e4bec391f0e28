//! `redrive bench tail`: from a batch's sending to a consumer that has caught up, at full speed and at half of it.
//!
//! One partition, one producer, one consumer: what is read comes in the order in which it was sent, so that the time of
//! sending need not stand in the records.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::super::args::Connection as Address;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::remote::{self, Patience};
use super::LoadArgs;
use super::figures::Figures;
use super::load::Batches;
use super::produce::{BenchTopic, settle};
use super::report::{Latencies, float};
use crate::client::{Client, Connection, Consumer, ConsumerOptions, Start};
use crate::protocol::produce::{Acks, ProduceBatch, ProduceRequest};

/// Longest time between two moments at which batches are due.
const TICK: Duration = Duration::from_micros(200);
/// Batches that may be due and not sent.
const DUE_MAX: usize = 1 << 20;

/// The load of `bench tail`.
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// The load; one connection, one partition.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Records per second of the paced run [default: half of what the run at full speed gives]
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// Runs `redrive bench tail`.
pub(super) fn run(
    arguments: &TailArgs,
    address: &Address,
    output: &mut Output,
) -> Result<(), CliError> {
    let load = &arguments.load;
    if load.connections != 1 || load.partitions != 1 {
        return Err(CliError::usage(
            "one connection writes and one reads one partition: leave out --connections and --partitions",
        ));
    }
    let (effective, figures) = remote::block_on(async {
        let client = remote::client(address, Patience::None);
        let mut figures = Figures::default();
        let (_, full, _) = turn(&client, load, None).await?;
        figures.add("full_speed", "records/s", full);
        let rate = arguments.rate.map_or(full / 2.0, f64::from);
        let (effective, paced, seen) = turn(&client, load, Some(rate)).await?;
        figures.add("paced", "records/s", paced);
        let names = ["paced_p50", "paced_p99", "paced_p999", "paced_max"];
        figures.add_latencies(names, &seen);
        Ok((effective, figures))
    })?;
    figures.write("tail", &effective, output)
}

/// When each batch that was not read yet was due or sent.
type Sent = Arc<Mutex<VecDeque<Instant>>>;

/// One run, on a topic of its own. Returns its settings, records per second, and the latencies.
async fn turn(
    client: &Client,
    load: &LoadArgs,
    rate: Option<f64>,
) -> Result<(serde_json::Value, f64, Latencies), CliError> {
    let bench = BenchTopic::create(client, load).await?;
    let effective = bench.effective(load);
    let measured = measure(client, load, &bench, rate).await;
    bench.delete(client).await?;
    let (elapsed, latencies) = measured?;
    let speed = float(load.records) / elapsed.as_secs_f64().max(1e-9);
    Ok((effective, speed, latencies))
}

async fn measure(
    client: &Client,
    load: &LoadArgs,
    bench: &BenchTopic,
    rate: Option<f64>,
) -> Result<(Duration, Latencies), CliError> {
    let topic = bench.topic.name.clone();
    let options = ConsumerOptions {
        start: Start::Latest,
        ..ConsumerOptions::default()
    };
    let consumer = Consumer::open(client, &topic, options).await?;
    let connection = Connection::open(client.options()).await?;
    let batches = Batches::encode(load, load.records)?;
    let sent = Sent::default();
    let begun = Instant::now();
    let reading = tokio::spawn(read(consumer, load.records, Arc::clone(&sent)));
    send(&connection, load, &batches, &topic, rate, &sent).await?;
    let latencies = reading
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok((begun.elapsed(), latencies))
}

async fn read(mut consumer: Consumer, records: u64, sent: Sent) -> Result<Latencies, CliError> {
    let mut latencies = Latencies::new()?;
    let mut left = records;
    while left > 0 {
        let Some((_, batch)) = consumer.next_batch().await? else {
            break;
        };
        if let Some(sent_at) = sent.lock().pop_front() {
            latencies.record(sent_at.elapsed());
        }
        left = left.saturating_sub(u64::from(batch.header().record_count));
    }
    Ok(latencies)
}

async fn send(
    connection: &Connection,
    load: &LoadArgs,
    batches: &Batches,
    topic: &str,
    rate: Option<f64>,
    sent: &Sent,
) -> Result<(), CliError> {
    let window = batches.window(load);
    let mut due = rate.map(|rate| pace(rate / f64::from(load.batch), batches.iter().count()));
    let mut in_flight = VecDeque::new();
    let mut acknowledged = Latencies::new()?;
    for batch in batches.iter() {
        if in_flight.len() >= window {
            settle(&mut in_flight, &mut acknowledged).await?;
        }
        let due_at = match &mut due {
            Some(due) => due.recv().await,
            None => None,
        };
        let request = ProduceRequest {
            acks: Acks::TopicDefault,
            batches: vec![ProduceBatch {
                topic: topic.to_owned(),
                partition: 0,
                batch,
            }],
        };
        // A sender that is held up counts: the clock runs from when the batch was due.
        let sent_at = due_at.unwrap_or_else(Instant::now);
        sent.lock().push_back(sent_at);
        let answer = connection.submit(&request, Duration::ZERO).await?;
        in_flight.push_back((sent_at, answer));
    }
    while !in_flight.is_empty() {
        settle(&mut in_flight, &mut acknowledged).await?;
    }
    Ok(())
}

/// Says on a thread of its own when batches are due: a runtime's timers are too coarse. What a late wakeup of that thread
/// costs is not counted.
fn pace(per_second: f64, count: usize) -> mpsc::Receiver<Instant> {
    let (sender, due) = mpsc::channel(DUE_MAX);
    std::thread::spawn(move || {
        let begun = Instant::now();
        let mut given = 0_u32;
        while usize::try_from(given).is_ok_and(|given| given < count) {
            park(TICK);
            let now = Instant::now();
            while f64::from(given) < now.duration_since(begun).as_secs_f64() * per_second {
                if sender.blocking_send(now).is_err() {
                    return;
                }
                given = given.saturating_add(1);
            }
        }
    });
    due
}

/// Rests for a while; nobody wakes this thread.
pub(super) fn park(time: Duration) {
    std::thread::park_timeout(time);
}
