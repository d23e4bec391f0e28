//! One data directory after the other, each through many lives of a broker: start, look at everything, work, crash.

mod failed_sync;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ground::Ground;
use crate::http::{Sink, sink};
use crate::oracle::{Crash, Oracle};
use crate::process::{Process, Served};
use crate::random::Random;
use crate::verify;
use crate::workload::{Burst, Done, Idempotent, World};

/// Starts between two waits for all messages to come to their ends.
const STARTS_PER_SETTLING: u64 = 6;
/// Nothing takes longer, or it counts as never.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a data directory stands on, and what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// A directory: processes are killed.
    Directory,
    /// An image: the power is cut.
    Image,
    /// An image whose disk fails for a time: syncs fail, processes are killed, memory is lost.
    TightImage,
}

/// What a lane does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) on: On,
    /// Where the broker lies to itself, if it does.
    pub(crate) lie: Option<&'static str>,
    /// Longest time of work before a crash, in microseconds.
    pub(crate) work_us_max: u64,
    /// Crashes of one data directory: it has grown by then, and a fresh one begins at the beginning again.
    pub(crate) crashes_per_ground: u64,
}

/// What a lane has counted.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// One chain of data directories.
#[derive(Debug)]
pub(crate) struct Lane {
    label: String,
    plan: Plan,
    random: Random,
    pub(crate) counts: Counts,
    /// Fingerprints of what brokers were started on.
    pub(crate) images: HashSet<u64>,
    done: Arc<Done>,
    grounds: u64,
    age: Option<Age>,
    /// How long a start takes, for crashes in the middle of one, in microseconds.
    start_us: u64,
}

/// What belongs to one data directory.
#[derive(Debug)]
struct Age {
    ground: Ground,
    oracle: Arc<Mutex<Oracle>>,
    producer: Arc<tokio::sync::Mutex<Idempotent>>,
    sink: Sink,
    crashes: u64,
    starts: u64,
    /// Whether the last crash left the page cache.
    was_killed: bool,
}

/// What was broken, with what is known of it.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

impl Age {
    async fn begin(label: &str, number: u64, on: On) -> Self {
        let name = format!("{label}-{number}");
        let ground = blocking(move || match on {
            On::Directory => Ground::plain(&name),
            On::Image => Ground::image(&name, number),
            On::TightImage => Ground::tight(&name, number),
        })
        .await;
        let oracle = Arc::new(Mutex::new(Oracle::new()));
        let judging = Arc::clone(&oracle);
        let judge = move |message: &str, body: &str| {
            let mut oracle = judging.lock();
            if oracle.is_dark() {
                oracle.push.attempted_in_the_dark(body);
                return 503;
            }
            let (is_taken, judged) = oracle.push.attempted(message, body);
            oracle.judge(judged);
            if is_taken { 200 } else { 500 }
        };
        Self {
            ground,
            oracle,
            producer: Arc::default(),
            sink: sink(Arc::new(judge)).await,
            crashes: 0,
            starts: 0,
            was_killed: false,
        }
    }

    /// What the broker said of panics.
    fn panics(&self) -> Option<String> {
        let errors = std::fs::read_to_string(self.ground.errors()).ok()?;
        let line = errors.lines().find(|line| line.contains("panicked"))?;
        Some(line.to_owned())
    }

    fn broken(&self) -> Option<String> {
        let oracle = self.oracle.lock();
        let broken = oracle.broken();
        let shown = broken.iter().take(5).cloned().collect::<Vec<_>>();
        (!broken.is_empty()).then(|| shown.join("; "))
    }
}

impl Lane {
    pub(crate) fn new(label: &str, plan: Plan, seed: u64) -> Self {
        Self {
            label: label.to_owned(),
            plan,
            random: Random::new(seed),
            counts: Counts::new(),
            images: HashSet::new(),
            done: Arc::default(),
            grounds: 0,
            age: None,
            start_us: 50_000,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// How many crashes there were.
    pub(crate) fn crashes(&self) -> u64 {
        let count = |what| self.counts.get(what).copied().unwrap_or_default();
        count("power_cuts") + count("kills")
    }

    /// One life of a broker, from its start to its crash and what comes before the next start.
    ///
    /// # Errors
    /// [`Broken`] when a promise was.
    pub(crate) async fn life(&mut self) -> Result<(), Broken> {
        self.renew().await?;
        match self.plan.on {
            On::Directory | On::Image => self.crashed_life().await,
            On::TightImage => self.life_with_failed_syncs().await,
        }
    }

    /// Takes a fresh data directory when there is none, or an old one.
    async fn renew(&mut self) -> Result<(), Broken> {
        let crashes_max = self.plan.crashes_per_ground;
        let is_old = |age: &Age| age.crashes >= crashes_max;
        if self.age.as_ref().is_some_and(is_old) {
            self.last_life().await?;
        }
        if self.age.is_none() {
            let age = Age::begin(&self.label, self.grounds, self.plan.on).await;
            self.grounds += 1;
            self.count("grounds");
            self.age = Some(age);
            // The very first start is crashed as well.
            self.crash_in_starts().await?;
        }
        Ok(())
    }

    async fn crashed_life(&mut self) -> Result<(), Broken> {
        let (process, world) = self.start(false).await?;
        let was_killed = self.age_mut().was_killed;
        let is_idle = self.random.one_in(if was_killed { 2 } else { 8 });
        let crash = if self.has_power() && (is_idle || !self.random.one_in(4)) {
            Crash::Power
        } else {
            Crash::Kill
        };
        if is_idle && was_killed && crash == Crash::Power {
            self.count("reads_then_cuts");
        }
        let burst = (!is_idle).then(|| self.begin_work(&world));
        let mut was_asked = false;
        if burst.is_some() {
            let work = self.random.below(self.plan.work_us_max);
            tokio::time::sleep(Duration::from_micros(work)).await;
            was_asked = self.random.one_in(6);
        }
        if was_asked {
            process.terminate();
            let ending = self.random.below(40_000);
            tokio::time::sleep(Duration::from_micros(ending)).await;
            self.count("crashes_in_shutdown");
        }
        self.crash(process, burst, (crash, was_asked)).await?;
        self.crash_in_starts().await
    }

    /// Whether the power can be cut.
    fn has_power(&self) -> bool {
        self.plan.on != On::Directory
    }

    fn begin_work(&mut self, world: &World) -> Burst {
        let producer = Arc::clone(&self.age_mut().producer);
        Burst::begin(world, &producer, &mut self.random)
    }

    fn age_mut(&mut self) -> &mut Age {
        self.age.as_mut().expect("there is a data directory")
    }

    /// Crashes a broker under its clients, and brings the power back.
    async fn crash(
        &mut self,
        process: Process,
        burst: Option<Burst>,
        (crash, was_asked): (Crash, bool),
    ) -> Result<(), Broken> {
        let mut random = self.random.fork();
        let age = self.age.take().expect("there is a data directory");
        let (mut age, ended) = blocking(move || {
            if crash == Crash::Power {
                if random.one_in(2) {
                    age.ground.stir(&mut random);
                }
                age.oracle.lock().goes_dark();
                age.ground.cut();
                // The broker sees its disk fail for a moment, and must acknowledge nothing.
                if random.one_in(2) {
                    std::thread::park_timeout(Duration::from_micros(random.below(8_000)));
                }
            }
            (age, process.kill())
        })
        .await;
        if let Some(burst) = burst {
            burst.end().await;
        }
        age.oracle.lock().crashed(crash);
        age.crashes += 1;
        age.was_killed = crash == Crash::Kill;
        let age = blocking(move || {
            if crash == Crash::Power {
                age.ground.power_up();
            }
            age
        })
        .await;
        let broken = age.broken();
        self.age = Some(age);
        self.count(if crash == Crash::Power {
            "power_cuts"
        } else {
            "kills"
        });
        let may_end = was_asked || crash == Crash::Power;
        match (broken, ended) {
            (Some(broken), _) => Err(self.broken(&broken)),
            // Asked to, or without a disk, it may end; it must not panic.
            (None, Some(status)) if !may_end || !matches!(status.code(), Some(0 | 1)) => {
                Err(self.broken(&format!("the broker ended by itself: {status}")))
            }
            (None, _) => Ok(()),
        }
    }

    /// Crashes some of the next starts, wherever they are.
    async fn crash_in_starts(&mut self) -> Result<(), Broken> {
        for what in ["crashes_in_starts", "second_in_a_row", "third_in_a_row"] {
            if !self.random.one_in(3) {
                break;
            }
            self.count(what);
            let lie = self.plan.lie;
            let process = Process::spawn(&self.age_mut().ground, lie);
            let moment = self.random.below(self.start_us);
            tokio::time::sleep(Duration::from_micros(moment)).await;
            let crash = if self.has_power() && !self.random.one_in(4) {
                Crash::Power
            } else {
                Crash::Kill
            };
            self.crash(process, None, (crash, false)).await?;
        }
        Ok(())
    }

    /// Starts a broker and looks at everything that it serves.
    async fn start(&mut self, is_last: bool) -> Result<(Process, World), Broken> {
        let mut age = self.age.take().expect("there is a data directory");
        let lie = self.plan.lie;
        let started = Instant::now();
        let starting = blocking(move || {
            let image = age.ground.fingerprint();
            let mut process = Process::spawn(&age.ground, lie);
            let served = process.served();
            age.starts += 1;
            (age, image, process, served)
        });
        let (age, image, process, served) = tokio::time::timeout(PATIENCE, starting)
            .await
            .expect("a broker serves or ends");
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.start_us = (self.start_us * 7 + took) / 8 + 1;
        self.images.insert(image);
        let is_settling = is_last || age.starts.is_multiple_of(STARTS_PER_SETTLING);
        self.age = Some(age);
        self.count("starts");
        let Some(served) = served else {
            process.kill();
            return Err(self.broken("the broker does not start"));
        };
        let world = self.world(&served);
        let looked = tokio::time::timeout(PATIENCE, verify::everything(&world, is_settling)).await;
        let looked = looked.unwrap_or_else(|_| Err("the broker does not answer".to_owned()));
        let age = self.age_mut();
        let broken = age.broken().or(looked.err()).or_else(|| age.panics());
        match broken {
            Some(broken) => Err(self.broken(&broken)),
            None => Ok((process, world)),
        }
    }

    fn world(&mut self, served: &Served) -> World {
        let done = Arc::clone(&self.done);
        let age = self.age_mut();
        World::new(served, &age.oracle, &done, (age.sink.address, age.starts))
    }

    /// Ends with a data directory: everything must have come to its end.
    pub(crate) async fn last_life(&mut self) -> Result<(), Broken> {
        if self.age.is_none() {
            return Ok(());
        }
        let (process, world) = self.start(true).await?;
        drop(world);
        blocking(move || process.kill()).await;
        let age = self.age.take();
        // The directory is removed.
        blocking(move || drop(age)).await;
        Ok(())
    }

    /// Says what was broken, and keeps the evidence unless a lie was to be caught.
    fn broken(&mut self, what: &str) -> Broken {
        let crashes = self.crashes();
        let age = self.age_mut();
        let errors = std::fs::read_to_string(age.ground.errors()).unwrap_or_default();
        let errors: Vec<_> = errors.lines().rev().take(5).map(str::to_owned).collect();
        let kind = age.ground.kind();
        let number = age.crashes;
        let last = errors.first().cloned().unwrap_or_default();
        let mut text = format!(
            "{what} (after {crashes} crashes, {number} of this {kind}; last error: {last})"
        );
        if self.plan.lie.is_none() {
            let kept = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&self.label);
            self.age_mut().ground.keep(&kept);
            let kept = kept.display();
            text = format!(
                "{text}\nthe data are kept in {kept}\nthe broker's last errors, newest first: {errors:#?}"
            );
        }
        Broken(text)
    }

    /// Adds what the clients have done.
    pub(crate) fn count_done(&mut self) {
        let done = Arc::clone(&self.done);
        for (what, count) in [
            ("records", &done.records),
            ("letters", &done.letters),
            ("resolved", &done.resolved),
            ("published", &done.published),
            ("commits", &done.commits),
            ("retentions", &done.retentions),
        ] {
            self.counts.insert(what, count.load(Ordering::Relaxed));
        }
    }
}
