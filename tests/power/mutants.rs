//! A broker that leaves out one sync must be caught by real cuts: a suite that has never seen one proves nothing.
//!
//! The broker of a build with debug assertions lies where `REDRIVE_TEST_LIE` says (`src/failpoint`). What is left out, and
//! the check that shows it first as a rule:
//!
//! | left out | shown by |
//! |---|---|

use crate::ground;
use crate::hold::Hold;
use crate::lane::{Lane, Plan};
use crate::random::Random;

/// What is left out, the most important first: a merge sees the first few.
const LIES: [&str; 11] = [
    "Append:/main/",
    "Append:/dead-letter/",
    "RollSealed",
    "RecoveryAccepted",
    "Append:/control/",
    "Append:/delivery/",
    "RollTruncate",
    "SegmentHeader",
    "RecoveryCut",
    "Checkpoint",
    "DataDir",
];
/// What ext4 does by itself: it commits a new name with the first sync of its file. Only `REDRIVE_TEST_ONLY` tries these here;
/// the simulated disk shows that they are needed.
const UNSEEN: [&str; 5] = [
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
    let (caught, crashes) = catch(NO_LIE, random.next(), NO_LIE_CRASHES);
    assert_eq!(caught, None, "after {crashes} crashes");
    let mut missed = Vec::new();
    let lies = LIES.into_iter().chain(UNSEEN).take(count);
    for lie in lies.filter(|lie| is_wanted(lie)) {
        let (caught, crashes) = catch(lie, random.next(), CRASHES_MAX);
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

/// Crashes a broker that lies until it is caught. Returns what caught it, and the crashes.
fn catch(lie: &'static str, seed: u64, crashes_max: u64) -> (Option<String>, u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let plan = Plan {
        has_power: true,
        lie: Some(lie),
        work_us_max: 100_000,
        // What is written in the very first start must meet a crash there.
        crashes_per_ground: if lie == "DataDir" { 1 } else { 60 },
    };
    let label: String = lie.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut lane = Lane::new(&format!("mutant-{label}"), plan, seed);
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
