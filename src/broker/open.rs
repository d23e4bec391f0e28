//! Opening the broker: the lock, the control log, every partition, and what an interrupted run left to finish.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};
use storage::checkpoint::LogCheckpoint;
use storage::control::{ControlError, ControlLog, Gap, TopicSettings};
use storage::data_dir::{self, DataDir};
use storage::disk::Disk;
use storage::error::LogError;
use storage::log::{FetchMemory, LogConfig};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::TimestampMs;
use storage::partition::{Partition, PartitionConfig, PartitionHints, PartitionPlace};
use storage::producers::ProducerLimits;
use storage::reserve::Reserve;
use tokio::sync::Semaphore;

use super::checkpoints::Checkpoints;
use super::control::Control;
use super::fetch::FetchRoom;
use super::push_settings::PushSettings;
use super::space::Space;
use super::{Broker, Host, LISTING_MAX, push, recovered, signing_keys};
use crate::clock::{ClockWatch, SharedClock};
use crate::config::ServeConfig;
use crate::engine::{PartitionHandle, WorkPool};
use crate::limits::FRAME_OVERHEAD_BYTES;
use crate::metrics::{MeasuredDisk, Metrics};
use crate::names::TopicName;
use crate::shutdown::Shutdown;
use crate::topic::{
    PUSH_TOPIC, Topic, dead_letter_config, delivery_config, main_config, visibility,
};

/// Why the broker did not start. Nothing was changed but what recovery had finished.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory, or a log in it, cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The control log cannot be opened.
    #[error("cannot open the control log")]
    Control(#[from] ControlError),
    /// The system starts no more threads.
    #[error("cannot start the sync threads")]
    Threads(#[source] std::io::Error),
    /// The system gives no random numbers to make signing keys of.
    #[error("cannot make signing keys")]
    Random(#[from] getrandom::Error),
    /// The control log holds a name that this program refuses.
    #[error("the control log holds the topic name {name:?}")]
    TopicName {
        /// The name.
        name: String,
    },
}

/// What opening a partition needs.
pub(super) struct Opener {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    pool: WorkPool,
    metrics: Arc<Metrics>,
    hints: HashMap<LogId, LogCheckpoint>,
    gaps: Vec<Gap>,
    reserve: Arc<Reserve>,
    now: TimestampMs,
}

impl Broker {
    /// Opens the broker below `config.data_dir`, creating it where it is missing.
    ///
    /// # Errors
    /// [`OpenError`]; [`LogError::Locked`] names who has the directory.
    pub fn open(
        config: &ServeConfig,
        disk: Arc<dyn Disk>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, OpenError> {
        let threads = u32::try_from(config.storage.sync_threads).unwrap_or(u32::MAX);
        let pool = WorkPool::start(threads).map_err(OpenError::Threads)?;
        Self::open_on(config, Host { disk, clock, pool }, metrics, shutdown)
    }

    /// As [`Broker::open`], with those who do its work.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(
        config: &ServeConfig,
        Host { disk, clock, pool }: Host,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(MeasuredDisk::new(disk, Arc::clone(&metrics)));
        let root = config.data_dir.clone();
        let data_dir = DataDir::open(disk.as_ref(), &root, "redrive", std::process::id())?;
        let checkpoints = Checkpoints::open(disk.as_ref(), &root)?;
        let hints = checkpoints.hints();
        let now = clock.now();
        let (mut control, report) =
            ControlLog::open(Arc::clone(&disk), &root, hints.get(&LogId::CONTROL), now)?;
        if let Some(cut) = report.cut {
            let (offset, bytes) = (cut.offset.0, cut.bytes);
            tracing::warn!(offset, bytes, "cut a torn tail of the control log");
        }
        let is_development = config.access.is_development;
        let keys = signing_keys::at_start(&mut control, is_development, now)?;
        let push_settings = PushSettings::new(control.state().push().clone(), keys, is_development);
        let reserve = Reserve::new(
            Arc::clone(&disk),
            root.clone(),
            config.storage.min_free_bytes,
        );
        let reserve = Arc::new(reserve);
        let opener = Opener {
            disk: Arc::clone(&disk),
            root: root.clone(),
            pool: pool.clone(),
            metrics: Arc::clone(&metrics),
            hints,
            gaps: control.state().gaps().collect(),
            reserve: Arc::clone(&reserve),
            now,
        };
        opener.finish_deletions(control.state())?;
        push::ensure_topic(&mut control, config, now)?;
        let topics = opener.topics(control.state())?;
        let push = push::over(&topics, config, now)?;
        let broker = Self {
            disk,
            root,
            _data_dir: data_dir,
            control: Control::new(control, push_settings),
            topics: RwLock::new(topics),
            checkpoints: Mutex::new(checkpoints),
            pool,
            clocks: Mutex::new(ClockWatch::new(clock.as_ref())),
            clock,
            metrics,
            defaults: config.topic,
            is_development,
            answer_bytes_max: config
                .protocol
                .frame_bytes_max
                .saturating_sub(FRAME_OVERHEAD_BYTES),
            changing_topics: Mutex::new(()),
            space: Space::new(reserve),
            is_clock_off: AtomicBool::new(false),
            next_producer_id: Mutex::new(0..0),
            resolving: super::resolve::Resolving::default(),
            listing: Arc::new(Semaphore::new(LISTING_MAX)),
            gone_letters: Mutex::default(),
            rejects: super::reject::RejectQueue::default(),
            fetch_room: FetchRoom::new(config.fetches.answer_bytes_max),
            fetch_memory: Arc::new(FetchMemory::new(config.fetches.recent_bytes_max)),
            retaining: Mutex::new(()),
            peers: AtomicU64::new(1),
            push,
            shutdown,
        };
        broker.measure_space();
        Ok(Arc::new(broker))
    }

    /// Opens partitions that the control log has just been given.
    pub(super) fn open_partitions(
        &self,
        topic: &TopicName,
        numbers: &[PartitionNumber],
        settings: &TopicSettings,
    ) -> Result<Vec<Arc<PartitionHandle>>, LogError> {
        let opener = Opener {
            disk: Arc::clone(&self.disk),
            root: self.root.clone(),
            pool: self.pool.clone(),
            metrics: Arc::clone(&self.metrics),
            hints: HashMap::new(),
            gaps: Vec::new(),
            reserve: self.space.reserve(),
            now: self.clock.now(),
        };
        numbers
            .iter()
            .map(|number| opener.partition(*number, settings, is_pushed(topic)))
            .collect()
    }

    /// Unlinks what a deleted topic's partitions held. The control log has said so already.
    pub(super) fn unlink_partition(&self, number: PartitionNumber) -> Result<(), LogError> {
        remove_partition(self.disk.as_ref(), &self.root, number)
    }
}

impl Opener {
    /// Opens all partitions of all topics, several at a time.
    fn topics(
        &self,
        state: &storage::control::ControlState,
    ) -> Result<BTreeMap<TopicName, Arc<Topic>>, OpenError> {
        let wanted: Vec<_> = state
            .topics()
            .flat_map(|(name, topic)| {
                topic
                    .partitions
                    .iter()
                    .map(move |number| (*number, topic.settings, name == PUSH_TOPIC))
            })
            .collect();
        let mut opened = self.partitions(&wanted)?;
        let mut topics = BTreeMap::new();
        for (name, topic) in state.topics() {
            let parsed =
                TopicName::parse_internal(name)
                    .ok()
                    .ok_or_else(|| OpenError::TopicName {
                        name: name.to_owned(),
                    })?;
            let partitions = topic
                .partitions
                .iter()
                .filter_map(|number| opened.remove(number))
                .collect();
            topics.insert(
                parsed.clone(),
                Arc::new(Topic::new(parsed, topic.settings, partitions)),
            );
        }
        Ok(topics)
    }

    fn partitions(
        &self,
        wanted: &[(PartitionNumber, TopicSettings, bool)],
    ) -> Result<HashMap<PartitionNumber, Arc<PartitionHandle>>, LogError> {
        let open = &|chunk: &[(PartitionNumber, TopicSettings, bool)]| {
            let opened = chunk.iter().map(|(number, settings, is_pushed)| {
                Ok((*number, self.partition(*number, settings, *is_pushed)?))
            });
            opened.collect::<Result<HashMap<_, _>, LogError>>()
        };
        let thread_count = self.pool.opening_count();
        if thread_count == 1 {
            return open(wanted);
        }
        let share = wanted.len().div_ceil(thread_count).max(1);
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = wanted
                .chunks(share)
                .map(|chunk| scope.spawn(move || open(chunk)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Vec<_>>()
        });
        let mut opened = HashMap::new();
        for result in results {
            opened.extend(result?);
        }
        Ok(opened)
    }

    pub(super) fn partition(
        &self,
        number: PartitionNumber,
        settings: &TopicSettings,
        is_pushed: bool,
    ) -> Result<Arc<PartitionHandle>, LogError> {
        let place = PartitionPlace {
            disk: Arc::clone(&self.disk),
            root: self.root.clone(),
            number,
        };
        let hint = |kind| self.hints.get(&LogId::new(number, kind)).cloned();
        let hints = PartitionHints {
            main: hint(LogKind::Main),
            dead_letters: hint(LogKind::DeadLetter),
            delivery: hint(LogKind::Delivery),
        };
        let config = PartitionConfig {
            main: LogConfig {
                gaps: self.gaps_of(number, LogKind::Main),
                ..main_config(settings)
            },
            dead_letters: LogConfig {
                gaps: self.gaps_of(number, LogKind::DeadLetter),
                ..dead_letter_config(settings)
            },
            delivery: is_pushed.then(|| LogConfig {
                gaps: self.gaps_of(number, LogKind::Delivery),
                ..delivery_config(settings)
            }),
            producers: ProducerLimits::of_retention(settings.retention_ms),
            reserve: Some(Arc::clone(&self.reserve)),
        };
        let (partition, report) = Partition::open(&place, config, &hints, self.now)?;
        recovered::tell(&partition, &report, &self.metrics);
        Ok(PartitionHandle::new(
            partition,
            visibility(settings),
            self.pool.clone(),
            Arc::clone(&self.metrics),
        ))
    }

    fn gaps_of(&self, number: PartitionNumber, kind: LogKind) -> Vec<storage::log::Gap> {
        let id = LogId::new(number, kind);
        let gaps = self.gaps.iter().filter(|gap| gap.log == id);
        gaps.map(|gap| storage::log::Gap {
            from: gap.from,
            to: gap.to,
        })
        .collect()
    }

    /// Unlinks the partitions of topics whose deletion the control log holds and a crash interrupted.
    fn finish_deletions(&self, state: &storage::control::ControlState) -> Result<(), LogError> {
        let known: HashSet<_> = state
            .topics()
            .flat_map(|(_, topic)| topic.partitions.iter().copied())
            .collect();
        let entries = self
            .disk
            .list(&self.root)
            .map_err(|source| LogError::io("list", &self.root, source))?;
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let is_ours =
                entry.name.len() == 10 && entry.name.bytes().all(|byte| byte.is_ascii_digit());
            let number = entry.name.parse().ok().map(PartitionNumber);
            // A number that was never given out belongs to nobody we know: it is left alone.
            if let Some(number) = number.filter(|number| is_ours && !known.contains(number))
                && number < state.next_partition()
            {
                remove_partition(self.disk.as_ref(), &self.root, number)?;
            }
        }
        Ok(())
    }
}

fn is_pushed(topic: &TopicName) -> bool {
    topic.as_str() == PUSH_TOPIC
}

/// Removes a partition's directory with everything in it. What is gone already is no error.
fn remove_partition(
    disk: &dyn Disk,
    root: &std::path::Path,
    number: PartitionNumber,
) -> Result<(), LogError> {
    let dir = data_dir::partition_dir(root, LogId::new(number, LogKind::Main));
    for kind in [LogKind::Main, LogKind::DeadLetter, LogKind::Delivery] {
        let log_dir = data_dir::log_dir(root, LogId::new(number, kind));
        let entries = match disk.list(&log_dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            listed => listed.map_err(|source| LogError::io("list", &log_dir, source))?,
        };
        for entry in entries {
            remove(disk, &log_dir.join(&entry.name))?;
        }
        remove(disk, &log_dir)?;
    }
    remove(disk, &dir)
}

fn remove(disk: &dyn Disk, path: &std::path::Path) -> Result<(), LogError> {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}
