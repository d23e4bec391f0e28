//! What outlives a broker: the disk, the wall clock, what clients know, what was promised, and the trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use storage::disk::sim::SimDisk;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::log_model::{Broken, LogModel, Place};
use crate::producer::ProducerMemory;
use crate::push_model::PushModel;
use crate::trace::Trace;

/// One topic as the seed has it.
#[derive(Debug, Clone)]
pub(crate) struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) is_synced: bool,
    pub(crate) segment_bytes: u64,
}

/// What a seed decides once.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) topics: Vec<TopicPlan>,
    pub(crate) producers: u64,
    pub(crate) consumers: u64,
    pub(crate) publishers: u64,
    pub(crate) lives: u64,
    /// Partitions of the topic of pushed messages.
    pub(crate) push_partitions: u32,
    /// Most messages share a rate, and the power is cut soon after their attempts, for a short time: what a crash loses of them
    /// shows in their period.
    pub(crate) is_crowded: bool,
    /// Whether the wall clock jumps.
    pub(crate) has_jumps: bool,
    /// Whether limits of flow control are pinned and periods reset.
    pub(crate) has_pins: bool,
    /// Whether publishes to URL groups have deduplication ids.
    pub(crate) has_group_duplicates: bool,
    pub(crate) flags: Vec<(&'static str, String)>,
}

impl Plan {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        // Streams of their own, in which the seeds that tests name have nothing: they were found before this was there.
        let mut pins = chance.fork("pins", 22);
        let mut duplicates = chance.fork("duplicates", 18);
        let topics = (0..chance.between(1, 2))
            .map(|at| TopicPlan {
                name: format!("t{at}"),
                partitions: u32::try_from(chance.between(1, 2)).unwrap(),
                is_synced: !chance.one_in(4),
                segment_bytes: *chance.pick(&[4096, 4096, 8192, 1 << 20]),
            })
            .collect();
        let segment = *chance.pick(&["4KiB", "4KiB", "16KiB", "1MiB"]);
        let text = |number: u64| number.to_string();
        let push_partitions = u32::try_from(chance.between(1, 3)).unwrap();
        let flags = vec![
            ("data_dir", "/data".to_owned()),
            ("token", TOKEN.to_owned()),
            ("storage.min_free_bytes", "0".to_owned()),
            ("delivery.partitions", push_partitions.to_string()),
            ("delivery.pending_max", text(*chance.pick(&[20, 1000]))),
            ("delivery.in_flight_max", text(*chance.pick(&[2, 8, 64]))),
            (
                "delivery.destination_in_flight_max",
                text(*chance.pick(&[1, 3, 48])),
            ),
            ("delivery.timeout_ms", text(*chance.pick(&[800, 20_000]))),
            ("topic.segment_bytes", segment.to_owned()),
            ("topic.retention_ms", "none".to_owned()),
            ("topic.dead_letter_retention_ms", "none".to_owned()),
        ];
        let is_crowded = chance.one_in(3);
        Self {
            topics,
            producers: chance.between(1, 3),
            consumers: chance.between(1, 2),
            publishers: if is_crowded { 2 } else { chance.between(0, 2) },
            lives: if is_crowded { 5 } else { chance.between(2, 5) },
            push_partitions,
            is_crowded,
            has_jumps: !is_crowded && chance.one_in(2),
            has_pins: pins.one_in(2),
            has_group_duplicates: duplicates.one_in(2),
            flags,
        }
    }

    /// Returns every partition of every topic.
    pub(crate) fn places(&self) -> Vec<Place> {
        let topics = self.topics.iter().enumerate();
        topics
            .flat_map(|(topic, plan)| {
                (0..plan.partitions).map(move |partition| Place { topic, partition })
            })
            .collect()
    }
}

pub(crate) const TOKEN: &str = "s3cret";

/// Everything that outlives a broker.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) log: Mutex<LogModel>,
    pub(crate) push: Mutex<PushModel>,
    pub(crate) producers: Vec<Mutex<ProducerMemory>>,
    trace: Mutex<Trace>,
    broken: Mutex<Option<Broken>>,
    /// Told when a promise was broken: the life ends.
    pub(crate) stop: Notify,
    life: AtomicU64,
    begun: Mutex<Option<Instant>>,
    /// Simulated time of the lives before, in ms.
    pub(crate) passed_ms: AtomicU64,
    wires: AtomicU64,
    /// The disk has failed something in this life.
    has_failures: AtomicBool,
    /// The latest time that the wall clock has shown: what was put off until then is due only then.
    pub(crate) latest_wall_ms: AtomicI64,
    /// Every line of the trace is shown when it is written.
    is_loud: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let mut chance = Chance::new(seed).fork("plan", 0);
        let plan = Plan::new(&mut chance);
        let places = plan.places();
        let producers = (0..plan.producers)
            .map(|_| Mutex::new(ProducerMemory::new(*chance.pick(&places))))
            .collect();
        let is_synced = plan.topics.iter().map(|topic| topic.is_synced).collect();
        let world = Self {
            seed,
            plan,
            log: Mutex::new(LogModel::new(is_synced)),
            push: Mutex::default(),
            producers,
            trace: Mutex::default(),
            broken: Mutex::default(),
            stop: Notify::new(),
            life: AtomicU64::new(0),
            begun: Mutex::default(),
            passed_ms: AtomicU64::new(0),
            wires: AtomicU64::new(0),
            has_failures: AtomicBool::new(false),
            latest_wall_ms: AtomicI64::new(0),
            is_loud: std::env::var_os("REDRIVE_SIMULATION_STORY").is_some(),
        };
        world.note(&format!("plan {:?}", world.plan));
        Arc::new(world)
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.has_failures.load(Ordering::SeqCst)
    }

    /// A stream of numbers of its own for one part of this life.
    pub(crate) fn chance(&self, what: &str, number: u64) -> Chance {
        let life = self.life.load(Ordering::SeqCst);
        Chance::new(self.seed).fork(what, number).fork("life", life)
    }

    pub(crate) fn next_wire(&self) -> u64 {
        self.wires.fetch_add(1, Ordering::SeqCst)
    }

    /// Begins a life; called inside of its runtime.
    pub(crate) fn begin_life(&self) -> u64 {
        *self.begun.lock() = Some(Instant::now());
        self.has_failures.store(false, Ordering::SeqCst);
        self.life.fetch_add(1, Ordering::SeqCst)
    }

    /// Ends a life; called inside of its runtime.
    pub(crate) fn end_life(&self, disk: &SimDisk) {
        let elapsed = self
            .begun
            .lock()
            .map_or(0, |begun| begun.elapsed().as_millis());
        self.note(&format!("disk {} {:x}", disk.op_count(), contents(disk)));
        self.passed_ms
            .fetch_add(u64::try_from(elapsed).unwrap(), Ordering::SeqCst);
        *self.begun.lock() = None;
    }

    /// The disk has failed something, and may do so again in this life.
    pub(crate) fn disk_has_failed(&self) {
        self.has_failures.store(true, Ordering::SeqCst);
        self.push.lock().flow.may_be_unseen(None);
    }

    /// Simulated time that has passed in all lives, in ms.
    pub(crate) fn simulated_ms(&self) -> u64 {
        let elapsed = self
            .begun
            .lock()
            .map_or(0, |begun| begun.elapsed().as_millis());
        self.passed_ms.load(Ordering::SeqCst) + u64::try_from(elapsed).unwrap()
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&self, what: &str) {
        let ms = self
            .begun
            .lock()
            .map_or(0, |begun| begun.elapsed().as_millis());
        let life = self.life.load(Ordering::SeqCst);
        let line = format!("{life}:{ms} {what}");
        if self.is_loud {
            eprintln!("{line}");
        }
        self.trace.lock().add(line);
    }

    /// Ends the seed when a promise does not hold.
    pub(crate) fn check(&self, held: Result<(), Broken>) {
        if let Err(broken) = held {
            self.note(&format!("BROKEN {broken}"));
            self.broken.lock().get_or_insert(broken);
            self.stop.notify_one();
        }
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        self.broken.lock().clone()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.trace.lock().hash()
    }

    pub(crate) fn events(&self) -> u64 {
        self.trace.lock().count()
    }

    pub(crate) fn story(&self) -> String {
        self.trace.lock().text()
    }
}

/// A hash of everything on the disk but what names the process.
fn contents(disk: &SimDisk) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    for path in disk.paths() {
        if !path.ends_with("LOCK") {
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write(&disk.read_file(&path).unwrap_or_default());
        }
    }
    hasher.finish()
}
