//! Redrive through its Rust client: the producer batches with its defaults, except where nothing is to wait.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hdrhistogram::Histogram;
use redrive::client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Producer, ProducerOptions,
};
use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::settings::{Durability, SettingsChange};
use serde_json::{Value, json};
use storage::batch::NewRecord;
use storage::offset::TimestampMs;

use crate::Result;
use crate::feed::{Feed, age_ns};
use crate::server::Server;
use crate::turn::Peer;

/// A broker and a client of it.
pub struct Redrive {
    client: Client,
    durability: Durability,
    _server: Server,
}

impl Redrive {
    /// Starts a broker.
    pub async fn start(data: &Path, is_synced: bool) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "redrive",
            "serve",
            "--http",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
        ]);
        command.arg("--data-dir").arg(data.join("broker"));
        let log = data.join("log");
        let mut server = Server::start(&mut command, &log)?;
        let address = server.wait(&log, async || address(&log)).await?;
        Ok(Self {
            client: Client::connect(ClientOptions::new(address)).await?,
            durability: if is_synced {
                Durability::Synced
            } else {
                Durability::Written
            },
            _server: server,
        })
    }

    async fn producer(&self, stream: &str, is_urgent: bool) -> Result<Producer> {
        let mut options = ProducerOptions::default();
        if is_urgent {
            options.linger = Duration::ZERO;
        }
        Ok(Producer::open(&self.client, stream, options).await?)
    }
}

/// Finds the address in the start-up text.
fn address(log: &Path) -> Option<String> {
    let said = std::fs::read_to_string(log).ok()?;
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("protocol"))?;
    let address = line.trim().to_owned();
    (!address.is_empty() && said.contains("\n\n")).then_some(address)
}

fn record(value: &[u8]) -> NewRecord<'_> {
    NewRecord {
        timestamp: TimestampMs(0),
        key: None,
        value: Some(value),
        headers: &[],
    }
}

impl Peer for Redrive {
    fn effective(&self) -> Value {
        json!({ "durability": format!("{:?}", self.durability).to_lowercase() })
    }

    async fn create(&self, stream: &str) -> Result<()> {
        let request = CreateTopicRequest {
            name: stream.to_owned(),
            partition_count: 1,
            durability: self.durability,
            change: SettingsChange::default(),
        };
        self.client.create_topic(&request).await?;
        let durability = self.client.topic(stream).await?.durability;
        if durability != self.durability {
            return Err(format!("the topic is {durability:?}, not {:?}", self.durability).into());
        }
        Ok(())
    }

    async fn produce(&self, stream: &str, feed: &mut Feed, is_urgent: bool) -> Result<()> {
        let producer = self.producer(stream, is_urgent).await?;
        while let Some(batch) = feed.batch(1000).await {
            for _ in 0..batch.count {
                producer.send(&record(&batch.value)).await?;
            }
        }
        let counts = producer.flush().await;
        if counts.acknowledged != counts.accepted {
            return Err(format!("not all is acknowledged: {counts:?}").into());
        }
        Ok(())
    }

    async fn singles(
        &self,
        stream: &str,
        feed: &mut Feed,
        seen: &mut Histogram<u64>,
    ) -> Result<()> {
        let producer = self.producer(stream, true).await?;
        while let Some(value) = feed.one() {
            producer.send(&record(&value)).await?.wait().await?;
            seen.saturating_record(age_ns(&value));
        }
        Ok(())
    }

    async fn follow(&self, stream: &str, mut seen: impl FnMut(&[u8]) -> bool + Send) -> Result<()> {
        let mut consumer = Consumer::open(&self.client, stream, ConsumerOptions::default()).await?;
        while let Some(record) = consumer.next().await? {
            if !seen(record.value.as_deref().unwrap_or_default()) {
                break;
            }
        }
        Ok(())
    }
}
