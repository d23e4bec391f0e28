//! One turn of one server: all that is measured of it, in a fresh directory.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::feed::{Feed, age_ns, histogram};
use crate::install::{Tools, run as run_command};
use crate::nats::Nats;
use crate::redis_streams::RedisStreams;
use crate::redrive_broker::Redrive;
use crate::{Error, Result};

/// Longest measurement of one record at a time.
const SINGLE_TIME: Duration = Duration::from_millis(1500);

/// The same load for each server whose half load it does not pass, in records per second.
const EVEN_RATE: f64 = 40_000.0;

/// Time between the fast measurements and those of latencies, behind a sync: what a fast server has written a moment ago is not
/// to be counted against it.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Longest turn: one that takes more hangs.
const TURN_TIME_MAX: Duration = Duration::from_secs(180);

/// How much one measurement does.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Its time.
    pub time: Duration,
    /// Its bytes.
    pub bytes: u64,
}

/// A server with a durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    RedriveSynced,
    RedriveWritten,
    NatsDefault,
    NatsAlways,
    RedisDefault,
    RedisEverySecond,
    RedisAlways,
}

impl Variant {
    /// Those whose programs are there.
    pub fn all(tools: &Tools) -> Vec<Self> {
        let mut all = vec![Self::RedriveSynced, Self::RedriveWritten];
        if tools.nats.is_some() {
            all.extend([Self::NatsDefault, Self::NatsAlways]);
        }
        if tools.redis.is_some() {
            all.extend([
                Self::RedisDefault,
                Self::RedisEverySecond,
                Self::RedisAlways,
            ]);
        }
        all
    }

    /// The row's name: what an acknowledgement means stands in it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RedriveSynced => "Redrive, synced (default)",
            Self::RedriveWritten => "Redrive, written",
            Self::NatsDefault => "NATS JetStream, sync_interval 2m (default)",
            Self::NatsAlways => "NATS JetStream, sync_interval always",
            Self::RedisDefault => "Redis Streams, in memory with snapshots (default)",
            Self::RedisEverySecond => "Redis Streams, appendfsync everysec",
            Self::RedisAlways => "Redis Streams, appendfsync always",
        }
    }
}

/// A server that takes records and gives them back.
pub trait Peer {
    /// Says the settings that are in force, as read back.
    fn effective(&self) -> Value;
    /// Makes a fresh stream.
    async fn create(&self, stream: &str) -> Result<()>;
    /// Sends all of the feed, pipelined, and returns when all of it is acknowledged. `is_urgent`: nothing waits to be batched.
    async fn produce(&self, stream: &str, feed: &mut Feed, is_urgent: bool) -> Result<()>;
    /// Sends one record after the other, each when the one before is acknowledged.
    async fn singles(&self, stream: &str, feed: &mut Feed, seen: &mut Histogram<u64>)
    -> Result<()>;
    /// Reads from the start until `count` records were seen; `None`: until told to stop by the callback's `false`.
    async fn follow(&self, stream: &str, seen: impl FnMut(&[u8]) -> bool + Send) -> Result<()>;
}

/// Measures all of a variant, in at most [`TURN_TIME_MAX`].
pub async fn run_in_time(
    variant: Variant,
    tools: &Tools,
    data: &Path,
    sizes: Sizes,
) -> Result<Value> {
    let turn = tokio::time::timeout(TURN_TIME_MAX, run(variant, tools, data, sizes));
    let late = |_| format!("not done within {} s", TURN_TIME_MAX.as_secs());
    turn.await.map_err(late)?
}

/// Measures all of a variant.
async fn run(variant: Variant, tools: &Tools, data: &Path, sizes: Sizes) -> Result<Value> {
    match variant {
        Variant::RedriveSynced => measure(Redrive::start(data, true).await?, sizes).await,
        Variant::RedriveWritten => measure(Redrive::start(data, false).await?, sizes).await,
        Variant::NatsDefault => measure(Nats::start(tools, data, false).await?, sizes).await,
        Variant::NatsAlways => measure(Nats::start(tools, data, true).await?, sizes).await,
        Variant::RedisDefault => {
            measure(RedisStreams::start(tools, data, None).await?, sizes).await
        }
        Variant::RedisEverySecond => {
            measure(
                RedisStreams::start(tools, data, Some("everysec")).await?,
                sizes,
            )
            .await
        }
        Variant::RedisAlways => {
            measure(
                RedisStreams::start(tools, data, Some("always")).await?,
                sizes,
            )
            .await
        }
    }
}

async fn measure(peer: impl Peer, sizes: Sizes) -> Result<Value> {
    let mut found = json!({ "effective": peer.effective() });
    for (size, name) in [(1024, "1k"), (100, "100b")] {
        let (produced, count) = produce(&peer, name, size, sizes).await?;
        let begun = Instant::now();
        read_all(&peer, name, count, |_| {}).await?;
        let consumed = count as f64 / begun.elapsed().as_secs_f64();
        found[format!("produce_{name}")] = json!(produced);
        found[format!("consume_{name}")] = json!(consumed);
    }
    peer.create("single").await?;
    let mut seen = histogram()?;
    let mut feed = Feed::full_speed(1024, SINGLE_TIME, u64::MAX);
    peer.singles("single", &mut feed, &mut seen).await?;
    found["single_p50_us"] = json!(us(&seen, 0.5));
    found["single_p99_us"] = json!(us(&seen, 0.99));
    // What it can take and give at the same time says what half the load is.
    let mut feed = Feed::full_speed(1024, sizes.time / 2, sizes.bytes);
    let (through, _) = both(&peer, "through", &mut feed, false).await?;
    found["through_1k"] = json!(through);
    let half = through / 2.0;
    settle().await?;
    let rate = latencies(&peer, "half", half, sizes.time, &mut found).await?;
    found["half_rate"] = json!(rate);
    if half >= EVEN_RATE {
        settle().await?;
        latencies(&peer, "even", EVEN_RATE, sizes.time, &mut found).await?;
    }
    Ok(found)
}

/// Notes the times from a record's due moment to its reader at a steady rate; returns the rate that was reached.
async fn latencies(
    peer: &impl Peer,
    name: &str,
    per_second: f64,
    time: Duration,
    found: &mut Value,
) -> Result<f64> {
    let mut feed = Feed::steady(1024, time, per_second);
    let (rate, seen) = both(peer, name, &mut feed, true).await?;
    for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p999")] {
        found[format!("{name}_{label}_us")] = json!(us(&seen, quantile));
    }
    Ok(rate)
}

async fn settle() -> Result<()> {
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    Ok(())
}

async fn produce(peer: &impl Peer, stream: &str, size: usize, sizes: Sizes) -> Result<(f64, u64)> {
    peer.create(stream).await?;
    let mut feed = Feed::full_speed(size, sizes.time, sizes.bytes);
    let begun = Instant::now();
    peer.produce(stream, &mut feed, false).await?;
    Ok((
        feed.sent() as f64 / begun.elapsed().as_secs_f64(),
        feed.sent(),
    ))
}

async fn read_all(
    peer: &impl Peer,
    stream: &str,
    count: u64,
    mut seen: impl FnMut(&[u8]) + Send,
) -> Result<()> {
    let mut left = count;
    peer.follow(stream, |value| {
        seen(value);
        left -= 1;
        left > 0
    })
    .await
}

/// Sends and reads at the same time; returns records per second, and the time from a value's stamp to its reader.
async fn both(
    peer: &impl Peer,
    stream: &str,
    feed: &mut Feed,
    is_urgent: bool,
) -> Result<(f64, Histogram<u64>)> {
    peer.create(stream).await?;
    let mut seen = histogram()?;
    let begun = Instant::now();
    let count = std::sync::atomic::AtomicU64::new(u64::MAX);
    let mut got = 0;
    let order = std::sync::atomic::Ordering::SeqCst;
    let reading = peer.follow(stream, |value| {
        // The value that ends the stream is not one of the feed's.
        if value.len() > 8 {
            seen.saturating_record(age_ns(value));
            got += 1;
        }
        got < count.load(order)
    });
    let writing = async {
        peer.produce(stream, feed, is_urgent).await?;
        count.store(feed.sent(), order);
        let mut last = Feed::full_speed(8, Duration::from_secs(10), 8);
        peer.produce(stream, &mut last, true).await
    };
    let (read, written) = tokio::join!(reading, writing);
    written?;
    read?;
    if got != feed.sent() {
        return Err(format!("{} were sent and {got} read", feed.sent()).into());
    }
    Ok((got as f64 / begun.elapsed().as_secs_f64(), seen))
}

fn us(seen: &Histogram<u64>, quantile: f64) -> f64 {
    seen.value_at_quantile(quantile) as f64 / 1000.0
}

/// The yardstick of this machine, without any server: bytes per second of 1 KiB records, written and synced.
pub fn limits(directory: &Path) -> Result<Value> {
    let limit = |acks: &str| -> std::result::Result<f64, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["redrive", "bench", "limit", "--records", "500000", "--json"]);
        command.args(["--acks", acks, "--data-dir"]).arg(directory);
        let said: Value = serde_json::from_str(&run_command(&mut command)?)?;
        said["records_per_second"]
            .as_f64()
            .ok_or_else(|| "no rate".into())
    };
    let (written, synced) = (limit("written")?, limit("synced")?);
    rustix::fs::sync();
    Ok(json!({ "written": written, "synced": synced }))
}
