//! A broker that leaves out one sync must be caught by real cuts: a suite that has never seen one proves nothing.
//!
//! The broker of a build with debug assertions lies where `REDRIVE_TEST_LIE` says (`src/failpoint`). What is left out, and
//! the check that shows it first as a rule:
//!
//! | left out | shown first by | crashes, as seen |
//! |---|---|---|
//! | `Append` in main logs | acknowledged records are lost: "the end fell", "is lost" | 1 to 4 |
//! | `Append` in dead-letter logs | an acknowledged letter is lost, the counts differ | 3 to 7 |
//! | `RollSealed` | a sealed segment is damaged: the broker is not ready | 1 to 2 |
//! | `RecoveryAccepted` | what was read after a kill vanishes in a cut: "the end fell" | 85 |
//! | `Append` in the control log | a committed offset falls, a topic is gone | 1 |
//! | `Append` in delivery logs | more attempts than a message has, with one for each crash | 29 |
//! | `RollTruncate` | zeros behind a sealed segment's data: the broker is not ready | 2 |
//! | `SegmentHeader` | a segment of a written topic without its header: the broker is not ready | 379 |
//! | `Checkpoint` | segments that retention unlinked are missing: the broker is not ready | 52 |
//! | `DataDir` | an empty `FORMAT` after a cut in the first start: the broker does not start | 1 |
//!
//! What cuts of ext4 do not show is listed with [`UNSEEN`]; `storage/tests/crash`: `mutants` holds those on the simulated disk.
//! `REDRIVE_HOLD_FOR=30m` tries all of the table, `REDRIVE_TEST_ONLY=site` one.

use crate::ground;
use crate::hold::Hold;
use crate::lane::{Lane, On, Plan};
use crate::random::Random;

/// What is left out, the most important first: a merge sees the first few.
const LIES: [&str; 10] = [
    "Append:/main/",
    "Append:/dead-letter/",
    "RollSealed",
    "RecoveryAccepted",
    "Append:/control/",
    "Append:/delivery/",
    "RollTruncate",
    "Checkpoint",
    "DataDir",
    "SegmentHeader",
];
/// What real cuts have not shown, or are not asked to. The cut of a torn tail is overwritten by what follows, and a leftover
/// batch behind that would have to fit by chance. ext4 commits a new name with the first sync of its file. A failed write needs
/// a disk that fails and lives. Only `REDRIVE_TEST_ONLY` tries these here.
const UNSEEN: [&str; 6] = [
    "RecoveryCut",
    "SegmentName",
    "LogName",
    "RecoveryNames",
    "CheckpointName",
    "RecoveryZeroed",
];
/// A lie at no place: whatever catches it is wrong.
const NO_LIE: &str = "Nowhere";
/// Crashes that it must survive.
const NO_LIE_CRASHES: u64 = 12;
/// How many a merge sees.
const MERGE_LIES: usize = 3;
/// Crashes after which a lie counts as not seen.
const CRASHES_MAX: u64 = 1_500;

#[test]
fn mutants() {
    if !ground::is_there("mutants") {
        return;
    }
    if !cfg!(debug_assertions) {
        eprintln!("NOT RUN: mutants needs a build with debug assertions");
        return;
    }
    ground::remove_leftovers();
    let mut hold = Hold::begin("power/mutants");
    let only = std::env::var("REDRIVE_TEST_ONLY").ok();
    let is_wanted = |lie: &str| only.as_ref().is_none_or(|only| lie == only);
    let count = match (&only, hold.is_long()) {
        (Some(_), _) => LIES.len() + UNSEEN.len(),
        (None, true) => LIES.len(),
        (None, false) => MERGE_LIES,
    };
    let mut random = Random::new(hold.seed());
    let (caught, crashes) = catch(NO_LIE, random.next(), (On::Image, NO_LIE_CRASHES));
    assert_eq!(caught, None, "after {crashes} crashes");
    let mut missed = Vec::new();
    let lies = LIES.into_iter().chain(UNSEEN).take(count);
    for lie in lies.filter(|lie| is_wanted(lie)) {
        let (caught, crashes) = catch(lie, random.next(), (On::Image, CRASHES_MAX));
        hold.count("lies", 1);
        hold.count("crashes", crashes);
        match caught {
            Some(text) => {
                hold.count("caught", 1);
                let text: String = text.chars().take(160).collect();
                eprintln!("{lie} -> after {crashes} crashes: {text}");
            }
            None => missed.push(lie),
        }
    }
    let replay = hold.replay(hold.seed());
    hold.end(env!("CARGO_TARGET_TMPDIR"));
    assert!(missed.is_empty(), "{missed:?} were not seen; {replay}");
}

/// The kill points too must see something: what is not cut off a sealed segment is there after a kill as well.
#[test]
fn a_kill_shows_what_is_left_behind_a_sealed_segment() {
    if !cfg!(debug_assertions) {
        eprintln!("NOT RUN: needs a build with debug assertions");
        return;
    }
    let (caught, crashes) = catch("RollTruncate", 1, (On::Directory, 60));
    eprintln!("after {crashes} kills: {caught:?}");
    assert!(caught.is_some());
}

/// Crashes a broker that lies until it is caught. Returns what caught it, and the crashes.
fn catch(lie: &'static str, seed: u64, (on, crashes_max): (On, u64)) -> (Option<String>, u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let plan = Plan {
        on,
        lie: Some(lie),
        work_us_max: 100_000,
        // What is written in the very first start must meet a crash there.
        crashes_per_ground: if lie == "DataDir" { 1 } else { 60 },
    };
    let label: String = lie.chars().filter(char::is_ascii_alphanumeric).collect();
    let label = format!("mutant-{label}-{on:?}");
    let mut lane = Lane::new(&label, plan, seed);
    let caught = runtime.block_on(async {
        while lane.crashes() < crashes_max {
            if let Err(broken) = lane.life().await {
                return Some(broken.0);
            }
        }
        None
    });
    (caught, lane.crashes())
}
