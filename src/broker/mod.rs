//! The broker: topics over partitions, and everything that the surfaces ask of it, in the protocol's own types.
//!
//! Every operation is a method of [`Broker`] in the file that bears its name. The surfaces decode, call, and encode; they
//! decide nothing.

mod checkpoints;
mod clocks;
mod control;
mod dead_letters;
mod fetch;
mod flow_pins;
mod groups;
mod host;
mod letter_stats;
mod letter_view;
mod live_letter;
mod measure;
mod offsets;
mod open;
mod partition_detail;
mod peek;
mod produce;
mod push;
mod push_settings;
mod queues;
mod random;
mod recovered;
pub(crate) mod redacted;
mod refusal;
mod reject;
mod resolve;
mod retention;
#[cfg(test)]
mod retention_tests;
mod schedules;
mod select;
mod signing_keys;
mod space;
#[cfg(test)]
mod tests;
mod topics;
mod upkeep;
mod url_groups;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use storage::data_dir::DataDir;
use storage::disk::Disk;
use storage::log::FetchMemory;
use storage::offset::TimestampMs;
use tokio::sync::Semaphore;

use crate::clock::{ClockWatch, SharedClock};
use crate::config::{ServeConfig, TopicDefaults};
use crate::engine::{Unfinished, WorkPool};
use crate::metrics::Metrics;
use crate::names::TopicName;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::metadata::LetterCounts;
use crate::shutdown::Shutdown;
use crate::topic::Topic;

use checkpoints::Checkpoints;
use control::Control;

pub use fetch::ReadAhead;
pub use flow_pins::{FlowPin, FlowUnpin};
pub use host::Host;
pub use open::OpenError;
pub use partition_detail::{DamageView, PartitionDetail, SegmentView};
pub use peek::{PeekFrom, PeekedRecord};
pub use produce::{PendingAppend, ProducePending};
pub use push::{DeliveryShare, LastFiring};
pub use push_settings::PushSettings;
pub use retention::RetentionRun;
pub use schedules::NewSchedule;
pub use upkeep::{Health, Upkeep};
pub use url_groups::EndpointMatch;

/// Lists of dead letters that may be made at once: each holds a page in memory, and its answer. They are read at once, so that
/// whoever waits does not wait long.
const LISTING_MAX: usize = 4;

/// The broker. Shared by all surfaces.
#[derive(Debug)]
pub struct Broker {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Holds the lock on the data directory.
    _data_dir: DataDir,
    control: Control,
    topics: RwLock<BTreeMap<TopicName, Arc<Topic>>>,
    checkpoints: Mutex<Checkpoints>,
    pool: WorkPool,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    defaults: TopicDefaults,
    /// The development credentials are in force: rotations of the signing keys last until the broker ends.
    is_development: bool,
    /// Bytes of batches or letters in one answer, so that it fits the frame of a connection.
    answer_bytes_max: u32,
    /// Held while a topic is created, changed or deleted, from the decision to what the map shows.
    changing_topics: Mutex<()>,
    space: space::Space,
    clocks: Mutex<ClockWatch>,
    /// The wall clock was found to have departed from the monotonic clock: retention by age rests.
    is_clock_off: AtomicBool,
    next_producer_id: Mutex<std::ops::Range<u64>>,
    resolving: resolve::Resolving,
    listing: Arc<Semaphore>,
    /// What became of the letters of topics that were deleted since the start. Held while letters are counted.
    gone_letters: Mutex<LetterCounts>,
    rejects: reject::RejectQueue,
    fetch_room: fetch::FetchRoom,
    fetch_memory: Arc<FetchMemory>,
    /// Held while segments are deleted.
    retaining: Mutex<()>,
    peers: AtomicU64,
    push: push::Push,
    shutdown: Shutdown,
}

impl Broker {
    /// Returns the metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns the token that ends the broker's work.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Carries out an operation where it may block on the disk.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        self.pool.run(act).await
    }

    /// Returns the wall clock's time.
    #[must_use]
    pub fn now(&self) -> TimestampMs {
        self.clock.now()
    }

    /// Returns what a topic gets that does not say otherwise.
    #[must_use]
    pub fn defaults(&self) -> &TopicDefaults {
        &self.defaults
    }

    /// Returns the number of a new peer, for the names in markers.
    pub fn next_peer(&self) -> u64 {
        self.peers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        self.topics.read().get(name).cloned().ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownTopic,
                format!("there is no topic {name:?}"),
            )
        })
    }

    pub(crate) fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().values().cloned().collect()
    }
}

/// Returns a topic's partition.
pub(crate) fn partition_of(
    topic: &Topic,
    index: u32,
) -> Result<Arc<crate::engine::PartitionHandle>, Refusal> {
    topic.partition(index).ok_or_else(|| {
        let count = topic.partitions().len();
        Refusal::new(
            ErrorCode::UnknownPartition,
            format!(
                "topic {} has no partition {index}, it has {count} (0 to {})",
                topic.name(),
                count.saturating_sub(1)
            ),
        )
    })
}

/// Returns everything the broker runs on, with the system's disk and clock.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    config: &ServeConfig,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> Result<Arc<Broker>, OpenError> {
    let clock: SharedClock = Arc::new(crate::clock::SystemClock::new());
    Broker::open(config, crate::failpoint::disk(), clock, metrics, shutdown)
}
