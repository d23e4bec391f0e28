//! The real program under real power cuts: `redrive serve` on a small ext4 image whose power is cut at any moment, over and
//! over, with an oracle outside of it that knows what was acknowledged, served and delivered.
//!
//! * [`ground`]: the image, its mount and its power; nothing of it stays behind, however the test ends.
//! * [`workload`]: clients that do everything at once until the broker is gone.
//! * [`oracle`]: what must hold of it afterwards. It shares no code with the broker.
//! * [`lane`]: start, look at everything, work, crash; also in the shutdown, and in one to three starts in a row. On a disk that
//!   fails for a time, the syncs fail, and the next start finds the page cache that this leaves.
//! * [`mutants`]: each sync that matters, left out: the cuts must show it.
//!
//! Power cuts need root, loop devices and e2fsprogs. Without them the tests say `NOT RUN` and nothing is proved; the kill
//! points run everywhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_docs_in_private_items,
    reason = "tests may panic"
)]

mod ground;
#[path = "../support/hold.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared by several suites")]
mod hold;
mod http;
mod lane;
mod mutants;
mod oracle;
mod process;
mod random;
mod shutdown;
mod verify;
mod workload;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hold::Hold;
use lane::{Broken, Lane, On, Plan};
use random::Random;

/// Lanes side by side: a lane mostly waits, for starts and answers.
const LANES_MERGE: u64 = 2;
const LANES_LONG: u64 = 6;

/// Runs lanes until there were `merge` crashes, or until the time of a long run is over.
fn crash_for_long(suite: &'static str, plan: Plan, merge: u64) {
    ground::remove_leftovers();
    let mut hold = Hold::begin(suite);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut random = Random::new(hold.seed());
    let (crashes, has_broken) = (AtomicU64::new(0), AtomicBool::new(false));
    let one = async |hold: &Hold, number: u64, seed: u64| {
        let label = format!("{}-{}-{number}", suite.replace('/', "-"), hold.seed());
        let mut lane = Lane::new(&label, plan, seed);
        let broken = loop {
            let before = lane.crashes();
            if let Err(broken) = lane.life().await {
                has_broken.store(true, Ordering::Relaxed);
                break Some(broken);
            }
            crashes.fetch_add(lane.crashes() - before, Ordering::Relaxed);
            let is_over = has_broken.load(Ordering::Relaxed);
            if is_over || !hold.goes_on(crashes.load(Ordering::Relaxed), merge) {
                break lane.last_life().await.err();
            }
        };
        lane.count_done();
        (lane, broken)
    };
    let count = if hold.is_long() {
        LANES_LONG
    } else {
        LANES_MERGE
    };
    let running = (0..count).map(|number| one(&hold, number, random.next()));
    let ended = runtime.block_on(futures_util::future::join_all(running));
    let (lanes, broken): (Vec<Lane>, Vec<Option<Broken>>) = ended.into_iter().unzip();
    for lane in &lanes {
        for (what, count) in &lane.counts {
            hold.count(what, *count);
        }
        hold.count("distinct_images", lane.images.len() as u64);
    }
    drop(lanes);
    if let Some(Broken(text)) = broken.into_iter().flatten().next() {
        let replay = hold.replay(hold.seed());
        hold.end(env!("CARGO_TARGET_TMPDIR"));
        panic!("{text}\nrepeat with: {replay}");
    }
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

#[test]
fn power_cuts() {
    if !ground::is_there("power_cuts") {
        return;
    }
    let plan = Plan {
        on: On::Image,
        lie: None,
        work_us_max: 150_000,
        crashes_per_ground: 60,
    };
    crash_for_long("power/power_cuts", plan, 120);
}

/// Runs when it is asked for a time (`REDRIVE_HOLD_FOR=2m cargo test --release --test power -- --exact failed_syncs`), and in no
/// suite of `.ci/hold`: its judgement of what a failing disk may take is not right in every case yet. What holds in each merge:
/// `ground::tight`, and the simulated disk, which loses what a failed sync has lost.
#[test]
fn failed_syncs() {
    if !ground::is_there("failed_syncs") || std::env::var_os("REDRIVE_HOLD_FOR").is_none() {
        eprintln!("NOT RUN: failed_syncs needs REDRIVE_HOLD_FOR");
        return;
    }
    let plan = Plan {
        on: On::TightImage,
        lie: None,
        work_us_max: 60_000,
        crashes_per_ground: 20,
    };
    crash_for_long("power/failed_syncs", plan, 50);
}

#[test]
fn kill_points() {
    let plan = Plan {
        on: On::Directory,
        lie: None,
        work_us_max: 150_000,
        crashes_per_ground: 60,
    };
    crash_for_long("power/kill_points", plan, 120);
}
