//! NATS JetStream through `async-nats`: publishes whose acknowledgements are awaited behind a window, an ordered pull consumer.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Result;
use crate::feed::{Feed, age_ns};
use crate::install::Tools;
use crate::server::Server;
use crate::turn::Peer;

/// Publishes that wait for their acknowledgements at most: the default of `async-nats`.
const WINDOW: usize = 5000;

/// Longest wait for an acknowledgement: behind a full window, each of them synced, the client's default is too short.
const ACK_WAIT_MAX: Duration = Duration::from_secs(120);

/// A server and a context of it.
pub struct Nats {
    context: Context,
    effective: Value,
    _server: Server,
}

impl Nats {
    /// Starts a server and checks what it syncs.
    pub async fn start(tools: &Tools, data: &Path, is_always: bool) -> Result<Self> {
        let program = tools.nats.as_ref().ok_or("there is no nats-server")?;
        let config = data.join("nats.conf");
        let sync = if is_always {
            "sync_interval: always"
        } else {
            ""
        };
        let store = data.join("store");
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\njetstream {{\n  store_dir: {store:?}\n  {sync}\n}}\n"
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(program);
        command
            .arg("-c")
            .arg(&config)
            .arg("--ports_file_dir")
            .arg(data);
        let log = data.join("log");
        let mut server = Server::start(&mut command, &log)?;
        let ports = server.wait(&log, async || ports(data)).await?;
        let address = |kind: &str| ports[kind][0].as_str().unwrap_or_default().to_owned();
        let effective = settings(&address("monitoring")).await?;
        let found = effective["sync_always"].as_bool().unwrap_or(false);
        if found != is_always || effective["sync_interval"] != json!(120_000_000_000_u64) {
            return Err(format!("the server runs with {effective}").into());
        }
        let client = async_nats::connect(address("nats")).await?;
        Ok(Self {
            context: ContextBuilder::new().timeout(ACK_WAIT_MAX).build(client),
            effective,
            _server: server,
        })
    }
}

/// Reads the ports that the server has chosen.
fn ports(data: &Path) -> Option<Value> {
    let found = std::fs::read_dir(data).ok()?.flatten();
    let mut files =
        found.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "ports"));
    serde_json::from_str(&std::fs::read_to_string(files.next()?.path()).ok()?).ok()
}

/// Asks the server's monitor for what is in force.
async fn settings(monitor: &str) -> Result<Value> {
    let host = monitor.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await?;
    let request = format!("GET /varz HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("the monitor gives no body")?;
    let all: Value = serde_json::from_str(body)?;
    let config = &all["jetstream"]["config"];
    Ok(json!({
        "sync_interval": config["sync_interval"],
        "sync_always": config["sync_always"],
        "storage": "file",
    }))
}

impl Peer for Nats {
    fn effective(&self) -> Value {
        self.effective.clone()
    }

    async fn create(&self, stream: &str) -> Result<()> {
        let config = Config {
            name: stream.to_owned(),
            subjects: vec![format!("{stream}.records")],
            storage: StorageType::File,
            ..Config::default()
        };
        let mut made = self.context.create_stream(config).await?;
        let found = made.info().await?.config.storage;
        if found != StorageType::File {
            return Err(format!("the stream is kept in {found:?}").into());
        }
        Ok(())
    }

    async fn produce(&self, stream: &str, feed: &mut Feed, _is_urgent: bool) -> Result<()> {
        let subject = format!("{stream}.records");
        let mut window = VecDeque::with_capacity(WINDOW);
        while let Some(batch) = feed.batch(1000).await {
            let value = Bytes::from(batch.value);
            for _ in 0..batch.count {
                if window.len() >= WINDOW - 1000
                    && let Some(acknowledgement) = window.pop_front()
                {
                    let acknowledgement: jetstream::context::PublishAckFuture = acknowledgement;
                    acknowledgement.await?;
                }
                window.push_back(self.context.publish(subject.clone(), value.clone()).await?);
            }
        }
        for acknowledgement in window {
            acknowledgement.await?;
        }
        Ok(())
    }

    async fn singles(
        &self,
        stream: &str,
        feed: &mut Feed,
        seen: &mut Histogram<u64>,
    ) -> Result<()> {
        let subject = format!("{stream}.records");
        while let Some(value) = feed.one() {
            let value = Bytes::from(value);
            self.context
                .publish(subject.clone(), value.clone())
                .await?
                .await?;
            seen.saturating_record(age_ns(&value));
        }
        Ok(())
    }

    async fn follow(&self, stream: &str, mut seen: impl FnMut(&[u8]) -> bool + Send) -> Result<()> {
        let stream = self.context.get_stream(stream).await?;
        let consumer = stream.create_consumer(OrderedConfig::default()).await?;
        let mut messages = consumer.messages().await?;
        while let Some(message) = messages.next().await {
            if !seen(&message?.payload) {
                break;
            }
        }
        Ok(())
    }
}
