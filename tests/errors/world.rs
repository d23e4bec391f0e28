//! A whole broker on a disk that fails, with a clock that stands and destinations that answer at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redrive::broker::{Broker, OpenError, Upkeep};
use redrive::clock::ManualClock;
use redrive::config::{FlagValue, ServeConfig, Settings};
use redrive::metrics::Metrics;
use redrive::protocol::error_code::Refusal;
use redrive::shutdown::Shutdown;
use storage::disk::Disk;
use storage::disk::sim::SimDisk;
use storage::offset::TimestampMs;
use tokio::task::JoinHandle;

use crate::sink::Sink;

pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// No run waits longer for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a run with a fault waits for deliveries that the fault may prevent.
const GRACE: Duration = Duration::from_millis(25);

/// A running broker.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) broker: Arc<Broker>,
    upkeep: Option<Upkeep>,
    delivering: JoinHandle<()>,
}

pub(crate) fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    disk
}

fn config() -> ServeConfig {
    let flags = [
        ("data_dir", "/data"),
        ("storage.min_free_bytes", "0"),
        ("storage.sync_threads", "2"),
        ("topic.segment_bytes", "4KiB"),
        ("topic.record_bytes_max", "2KiB"),
        ("topic.batch_bytes_max", "256KiB"),
        ("delivery.partitions", "1"),
    ];
    config_of(&flags)
}

/// The configuration of a broker with these flags.
pub(crate) fn config_of(flags: &[(&str, &str)]) -> ServeConfig {
    let flags: Vec<_> = flags
        .iter()
        .map(|(key, value)| FlagValue {
            flag: format!("--{key}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    let settings = Settings::resolve(None, [], &flags).unwrap();
    ServeConfig::from_settings(&settings).unwrap()
}

impl Running {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: &Arc<ManualClock>,
        sink: &Arc<Sink>,
    ) -> Result<Self, OpenError> {
        let clock: Arc<ManualClock> = Arc::clone(clock);
        let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
        let broker = Broker::open(&config(), disk, clock, metrics, shutdown)?;
        let sink: Arc<Sink> = Arc::clone(sink);
        Ok(Self {
            upkeep: Some(Upkeep::new(Arc::clone(&broker))),
            delivering: tokio::spawn(Arc::clone(&broker).deliver(sink)),
            broker,
        })
    }

    /// Lets the broker do its own work once.
    pub(crate) async fn round(&mut self) {
        let mut upkeep = self.upkeep.take().unwrap();
        let round = tokio::task::spawn_blocking(move || {
            upkeep.round();
            upkeep
        });
        self.upkeep = Some(round.await.unwrap());
    }

    pub(crate) async fn retain(&self, topic: &'static str) -> Result<(), Refusal> {
        let broker = Arc::clone(&self.broker);
        let run = tokio::task::spawn_blocking(move || broker.run_retention(topic));
        run.await.unwrap().map(drop)
    }

    /// Ends it as `serve` does.
    pub(crate) async fn close(self) {
        self.broker.shutdown().trigger();
        let broker = Arc::clone(&self.broker);
        tokio::time::timeout(PATIENCE, self.delivering)
            .await
            .expect("deliveries end")
            .unwrap();
        tokio::task::spawn_blocking(move || broker.close())
            .await
            .unwrap();
    }

    /// Ends it as a crash does: nothing more is written down.
    pub(crate) async fn kill(self) {
        self.broker.shutdown().trigger();
        self.delivering.abort();
        self.delivering.await.ok();
    }

    /// Gives deliveries time to come to their ends, as far as the disk lets them.
    pub(crate) async fn settle(&self, messages: &[String]) {
        let until = Instant::now() + GRACE;
        while !self.is_settled(messages) && Instant::now() < until {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }

    /// Waits until these messages have come to their ends.
    pub(crate) async fn drain(
        &self,
        clock: &ManualClock,
        messages: &[String],
    ) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !self.is_settled(messages) {
            if Instant::now() > until {
                let counts = self.broker.delivery_counts();
                let health = self.broker.health();
                return Err(format!("deliveries hang: {counts:?}, {health:?}"));
            }
            // What could not be read before the end of the last run is due a little later.
            clock.advance(Duration::from_millis(50));
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        Ok(())
    }

    fn is_settled(&self, messages: &[String]) -> bool {
        self.broker.delivery_counts().in_flight == 0
            && messages
                .iter()
                .all(|id| matches!(self.broker.message(id), Ok(None)))
    }
}
