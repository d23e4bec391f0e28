//! `redrive bench produce`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use storage::limits::BATCH_BYTES_CEILING;

use super::super::args::Connection as Address;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::remote::{self, Patience};
use super::super::topic::DurabilityArg;
use super::super::view;
use super::LoadArgs;
use super::load::{Batches, share};
use super::report::{Latencies, Report};
use crate::client::backoff::random;
use crate::client::connection::PendingAnswer;
use crate::client::{Client, ClientError, Connection};
use crate::protocol::api_key::ApiKey;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::metadata::TopicView;
use crate::protocol::produce::{Acks, ProduceAnswer, ProduceBatch, ProduceRequest};
use crate::protocol::settings::{Durability, SettingsChange};

/// Runs `redrive bench produce`.
pub(super) fn run(load: &LoadArgs, address: &Address, output: &mut Output) -> Result<(), CliError> {
    let report = block_on(load, async {
        let client = remote::client(address, Patience::None);
        let bench = BenchTopic::create(&client, load).await?;
        let measured = measure(&client, load, &bench.topic).await;
        bench.delete(&client).await?;
        let (elapsed, latencies) = measured?;
        Ok(Report {
            what: "produce",
            latency_of: "from a batch's sending to its acknowledgement",
            elapsed,
            latencies,
            effective: bench.effective(load),
        })
    })?;
    report.write(load, output)
}

/// One connection is best driven by one thread; with more of them there is something to share out.
pub(super) fn block_on<T>(
    load: &LoadArgs,
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    if load.connections > 1 {
        return remote::block_on(future);
    }
    remote::block_on_one_thread(future)
}

/// A topic for one measurement.
#[derive(Debug)]
pub(super) struct BenchTopic {
    pub(super) topic: TopicView,
}

impl BenchTopic {
    /// Creates the topic and makes sure that it has the durability that is to be measured.
    pub(super) async fn create(client: &Client, load: &LoadArgs) -> Result<Self, CliError> {
        let durability = Durability::from(load.acks);
        let request = CreateTopicRequest {
            name: format!("bench-{:016x}", random()),
            partition_count: load.partitions,
            durability,
            change: SettingsChange {
                batch_bytes_max: Some(u64::from(BATCH_BYTES_CEILING)),
                segment_bytes: load.segment_bytes,
                ..SettingsChange::default()
            },
        };
        client.create_topic(&request).await?;
        // What the broker says now, not what was asked for.
        let topic = client.topic(&request.name).await?;
        if topic.durability != durability {
            return Err(CliError::failed(
                format!(
                    "topic {} is acknowledged when {}, not when {}",
                    topic.name,
                    view::durability(topic.durability),
                    view::durability(durability)
                ),
                None,
            ));
        }
        Ok(Self { topic })
    }

    pub(super) async fn delete(&self, client: &Client) -> Result<(), CliError> {
        client.delete_topic(&self.topic.name, true).await?;
        Ok(())
    }

    pub(super) fn effective(&self, load: &LoadArgs) -> Value {
        json!({
            "durability": view::durability(self.topic.durability),
            "acks": match load.acks {
                DurabilityArg::Synced => "synced",
                DurabilityArg::Written => "written",
            },
            "partitions": self.topic.partitions.len(),
            "segment_bytes": self.topic.settings.segment_bytes,
            "is_idempotent": false,
        })
    }
}

/// Produces the load; returns how long that took and the latencies of the batches.
pub(super) async fn measure(
    client: &Client,
    load: &LoadArgs,
    topic: &TopicView,
) -> Result<(Duration, Latencies), CliError> {
    let mut lanes = Vec::new();
    for index in 0..load.connections {
        lanes.push(Lane {
            connection: Connection::open(client.options()).await?,
            batches: Batches::encode(load, share(load, index))?,
            topic: topic.name.clone(),
            partitions: load.partitions,
            first_partition: index % load.partitions,
            step: load.connections.min(load.partitions),
        });
    }
    let start = Instant::now();
    let mut running = Vec::new();
    for lane in lanes {
        let window = lane.batches.window(load);
        running.push(tokio::spawn(lane.run(window)));
    }
    let mut latencies = Latencies::new()?;
    for lane in running {
        let found = lane
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        latencies.add(&found);
    }
    Ok((start.elapsed(), latencies))
}

/// One connection and what it sends.
struct Lane {
    connection: Connection,
    batches: Batches,
    topic: String,
    partitions: u32,
    first_partition: u32,
    /// From one batch's partition to the next one's: connections have partitions of their own while there are enough.
    step: u32,
}

impl Lane {
    async fn run(self, window: usize) -> Result<Latencies, CliError> {
        let mut latencies = Latencies::new()?;
        let mut in_flight: VecDeque<(Instant, PendingAnswer<ProduceAnswer>)> = VecDeque::new();
        let mut partition = self.first_partition;
        for batch in self.batches.iter() {
            if in_flight.len() >= window {
                settle(&mut in_flight, &mut latencies).await?;
            }
            let request = ProduceRequest {
                acks: Acks::TopicDefault,
                batches: vec![ProduceBatch {
                    topic: self.topic.clone(),
                    partition,
                    batch,
                }],
            };
            let next = partition.saturating_add(self.step);
            partition = if next < self.partitions {
                next
            } else {
                self.first_partition
            };
            let sent_at = Instant::now();
            let answer = self.connection.submit(&request, Duration::ZERO).await?;
            in_flight.push_back((sent_at, answer));
        }
        while !in_flight.is_empty() {
            settle(&mut in_flight, &mut latencies).await?;
        }
        Ok(latencies)
    }
}

pub(super) async fn settle(
    in_flight: &mut VecDeque<(Instant, PendingAnswer<ProduceAnswer>)>,
    latencies: &mut Latencies,
) -> Result<(), CliError> {
    let Some((sent_at, answer)) = in_flight.pop_front() else {
        return Ok(());
    };
    for appended in answer.answer().await?.batches {
        appended.map_err(|refusal| {
            CliError::Client(ClientError::Refused {
                doing: ApiKey::Produce.doing(),
                refusal,
            })
        })?;
    }
    latencies.record(sent_at.elapsed());
    Ok(())
}
