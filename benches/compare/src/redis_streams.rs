//! Redis Streams through `redis`: pipelines of XADD, a few of them under way, and XREAD.

use std::path::Path;
use std::process::Command;

use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Result;
use crate::feed::{Feed, age_ns};
use crate::install::Tools;
use crate::server::{Server, free_port};
use crate::turn::Peer;

/// Records of one pipeline, and of one read.
const BATCH: u64 = 1000;
/// Pipelines under way at a time.
const WINDOW: usize = 4;

/// A server and a client of it.
pub struct RedisStreams {
    client: redis::Client,
    effective: Value,
    _server: Server,
}

impl RedisStreams {
    /// Starts a server, with an append-only file if there is a policy for its syncs, and checks what it does.
    pub async fn start(tools: &Tools, data: &Path, appendfsync: Option<&str>) -> Result<Self> {
        let (program, libraries) = tools.redis.as_ref().ok_or("there is no redis-server")?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", libraries).current_dir(data);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        if let Some(policy) = appendfsync {
            command.args(["--appendonly", "yes", "--appendfsync", policy]);
        }
        let log = data.join("log");
        let mut server = Server::start(&mut command, &log)?;
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
        let ask = async || client.get_multiplexed_async_connection().await.ok();
        let mut connection = server.wait(&log, ask).await?;
        let mut effective = json!({});
        for key in ["appendonly", "appendfsync", "save", "dir"] {
            let found: Vec<String> = redis::cmd("CONFIG")
                .arg("GET")
                .arg(key)
                .query_async(&mut connection)
                .await?;
            effective[key] = json!(found.get(1));
        }
        let is_right = effective["appendonly"] == if appendfsync.is_some() { "yes" } else { "no" }
            && appendfsync.is_none_or(|policy| effective["appendfsync"] == policy)
            && effective["dir"] == json!(data);
        if !is_right {
            return Err(format!("the server runs with {effective}").into());
        }
        if let Some(settings) = effective.as_object_mut() {
            settings.remove("dir");
        }
        Ok(Self {
            client,
            effective,
            _server: server,
        })
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }
}

fn xadd(stream: &str, value: &[u8]) -> redis::Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("*").arg("v").arg(value);
    command
}

impl Peer for RedisStreams {
    fn effective(&self) -> Value {
        self.effective.clone()
    }

    async fn create(&self, _stream: &str) -> Result<()> {
        Ok(())
    }

    async fn produce(&self, stream: &str, feed: &mut Feed, _is_urgent: bool) -> Result<()> {
        let connection = self.connection().await?;
        let mut under_way: JoinSet<redis::RedisResult<()>> = JoinSet::new();
        while let Some(batch) = feed.batch(BATCH).await {
            if under_way.len() >= WINDOW
                && let Some(done) = under_way.join_next().await
            {
                done??;
            }
            let mut pipeline = redis::pipe();
            for _ in 0..batch.count {
                pipeline.add_command(xadd(stream, &batch.value)).ignore();
            }
            let mut connection = connection.clone();
            under_way.spawn(async move { pipeline.query_async(&mut connection).await });
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn singles(
        &self,
        stream: &str,
        feed: &mut Feed,
        seen: &mut Histogram<u64>,
    ) -> Result<()> {
        let mut connection = self.connection().await?;
        while let Some(value) = feed.one() {
            let _id: String = xadd(stream, &value).query_async(&mut connection).await?;
            seen.saturating_record(age_ns(&value));
        }
        Ok(())
    }

    async fn follow(&self, stream: &str, mut seen: impl FnMut(&[u8]) -> bool + Send) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut last = "0".to_owned();
        loop {
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(BATCH).arg("BLOCK").arg(1000);
            command.arg("STREAMS").arg(stream).arg(&last);
            let reply: Option<StreamReadReply> = command.query_async(&mut connection).await?;
            for entry in reply
                .into_iter()
                .flat_map(|reply| reply.keys)
                .flat_map(|key| key.ids)
            {
                if let Some(redis::Value::BulkString(value)) = entry.map.get("v")
                    && !seen(value)
                {
                    return Ok(());
                }
                last = entry.id;
            }
        }
    }
}
