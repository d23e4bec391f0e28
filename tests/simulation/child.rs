//! Seeds in processes of their own: this same test binary, told which seed to run.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use storage::disk::Disk;
use storage::disk::sim::SimDisk;
use storage::verify::{VerifyOptions, verify};

use crate::disk::LIE;
use crate::entropy;
use crate::life::{Left, live};
use crate::world::World;

const SEED: &str = "REDRIVE_SIMULATION_CHILD";
const TEST: &str = "every_promise_holds_for_every_seed";
/// Longest time that a seed may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(5);
/// Opens the line in which a child says what it has done.
const MARK: &str = "simulation:";

/// What a seed has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) hash: String,
    pub(crate) events: u64,
    counts: Vec<u64>,
}

const NAMES: [&str; 14] = [
    "events",
    "simulated_ms",
    "lives",
    "acknowledged",
    "served",
    "rejected",
    "republished",
    "published",
    "attempts",
    "firings",
    "group_publishes",
    "flow_attempts",
    "group_repeats",
    "limits_turned",
];

impl Numbers {
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.counts.iter().copied())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let hash = words.next()?.to_owned();
        let counts: Vec<_> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self {
            hash,
            events: *counts.first()?,
            counts,
        })
    }
}

/// How a seed has ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Held(Numbers),
    Broken(String),
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(SEED).is_some()
}

/// Runs the seed that the parent asks for.
pub(crate) fn run() {
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    entropy::begin(seed);
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("a panic ends the seed: {panic}");
        eprintln!("{}", std::backtrace::Backtrace::force_capture());
        if let Some(world) = WORLD.get() {
            eprintln!("{}", world.story());
        }
        std::process::exit(3);
    }));
    // What hangs for so long hangs for ever: a seed takes a second.
    let (_running, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the seed hangs");
            if let Some(world) = WORLD.get() {
                eprintln!("{}", world.story());
            }
            std::process::exit(4);
        }
    });
    // On a thread of its own, so that nothing that the harness did before counts.
    std::thread::spawn(move || run_seed(seed)).join().unwrap();
}

static WORLD: std::sync::OnceLock<Arc<World>> = std::sync::OnceLock::new();

fn run_seed(seed: u64) {
    let world = World::new(seed);
    WORLD.set(Arc::clone(&world)).ok();
    let disk = SimDisk::new(seed);
    disk.write_file(std::path::Path::new("/.made"), b"")
        .unwrap();
    let mut left = Left {
        disk,
        wall_ms: 1_700_000_000_000,
    };
    let lives = world.plan.lives;
    for life in 0..=lives {
        left = live(&world, left, life == lives);
        if life == lives {
            check_files(&world, &left.disk);
        }
        if let Some(broken) = world.broken() {
            eprintln!("{}", world.story());
            eprintln!("the disk's last operations:\n{}", left.disk.trace());
            eprintln!("seed {seed}: {broken}");
            std::process::exit(2);
        }
    }
    let log = world.log.lock().counts.clone();
    let push = world.push.lock().counts.clone();
    let counts = [
        world.events(),
        world.passed_ms.load(Ordering::SeqCst),
        lives + 1,
        log.acknowledged,
        log.served,
        log.rejected,
        log.republished,
        push.published,
        push.attempts,
    ];
    let more = world.push.lock().more_counts();
    let counts: Vec<_> = counts.iter().chain(&more).map(u64::to_string).collect();
    println!("{MARK}{:016x} {}", world.hash(), counts.join(" "));
}

/// What is left on the disk holds together.
fn check_files(world: &World, disk: &SimDisk) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = VerifyOptions {
        partition: None,
        progress: &|_| {},
    };
    let held = match verify(&disk, std::path::Path::new("/data"), &options) {
        Ok(report) => {
            let bad = report.findings;
            let held = bad.is_empty().then_some(());
            held.ok_or_else(|| format!("the files do not hold together: {bad:?}"))
        }
        Err(error) => Err(format!("the files cannot be verified: {error:?}")),
    };
    world.check(held);
}

/// Runs so many seeds beside each other, each in its process.
/// With a lie the disk leaves something out: see [`LIE`].
pub(crate) fn seeds(first: u64, count: u64, lie: Option<&str>) -> Vec<(u64, Outcome)> {
    let running: Vec<_> = (0..count)
        .map(|at| {
            let seed = first.wrapping_add(at);
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
                .env(SEED, seed.to_string())
                .env_remove("REDRIVE_HOLD_FOR")
                .envs(lie.map(|lie| (LIE, lie)))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (seed, child)
        })
        .collect();
    let outcome = |(seed, child): (u64, std::process::Child)| {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = said
            .lines()
            .find_map(|line| Some(line.split_once(MARK)?.1.to_owned()))
            .and_then(|line| Numbers::parse(&line));
        let outcome = match numbers {
            Some(numbers) if output.status.success() => Outcome::Held(numbers),
            _ => Outcome::Broken(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
        };
        (seed, outcome)
    };
    running.into_iter().map(outcome).collect()
}
