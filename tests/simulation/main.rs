//! The whole broker in a simulation: its real code on a disk, a network, a time and random numbers that one seed decides.
//!
//! A seed is a topology, a configuration, clients over the binary protocol and over HTTP (messages, schedules, URL groups, flow control), played destinations, and a sequence
//! of lives of the broker that end by power cuts and kills, with failing writes and syncs, full disks, cut connections and
//! jumps of the wall clock in between. Then nothing fails any more, and everything must come to its end. What was promised is
//! kept by models that know the design page and the answers alone.
//!
//! Each seed runs in a process of its own, so that nothing of another one is left, and gives a hash of everything that
//! happened: the same seed gives the same hash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::similar_names,
    clippy::needless_pass_by_value,
    clippy::struct_excessive_bools,
    clippy::too_many_lines,
    clippy::fn_params_excessive_bools,
    clippy::format_collect,
    reason = "tests may panic"
)]

mod chance;
mod child;
mod clock;
mod consumer;
mod destination;
mod disk;
mod ending;
mod entropy;
#[path = "../support/hold.rs"]
mod hold;
mod keeper;
mod life;
mod log_model;
mod net;
mod network;
mod operator;
mod producer;
mod publisher;
mod push_ending;
mod push_model;
mod push_scan;
mod trace;
mod workers;
mod world;

use child::{Outcome, is_child};
use hold::Hold;

/// Seeds in the merge-sized set.
const SEEDS: u64 = 90;
/// Seeds in which a sync that is left out must be caught.
const LIE_SEEDS: u64 = 60;
/// What is left out, and what is said of it, if that matters: a lost intent is seen by the number of a later attempt.
const LIES: [(&str, &str); 4] = [
    ("Append:/delivery/", "retried"),
    ("Append:/main/", ""),
    ("Append:/dead-letter/", ""),
    ("Append:/control/", ""),
];

#[test]
fn every_promise_holds_for_every_seed() {
    if is_child() {
        return child::run();
    }
    let mut hold = Hold::begin("simulation/every_promise_holds_for_every_seed");
    let first = hold.seed();
    let mut done = 0;
    while hold.goes_on(done, SEEDS) {
        for (seed, outcome) in child::seeds(first.wrapping_add(done), 2, None) {
            done += 1;
            match outcome {
                Outcome::Held(numbers) => {
                    for (what, number) in numbers.counts() {
                        hold.count(what, number);
                    }
                }
                Outcome::Broken(story) => {
                    eprintln!("{story}");
                    panic!("seed {seed}: {}", hold.replay(seed));
                }
            }
        }
    }
    hold.count("seeds", done);
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    if is_child() {
        return;
    }
    let of = |seed| child::seeds(seed, 1, None).pop().unwrap().1;
    for seed in 1..=3 {
        let (one, other) = (of(seed), of(seed));
        let (Outcome::Held(one), Outcome::Held(other)) = (&one, &other) else {
            panic!("seed {seed}: {one:?} {other:?}");
        };
        assert!(one.events > 50, "seed {seed} does something: {one:?}");
        assert_eq!(one, other, "seed {seed}");
    }
}

/// A delete that met a letter whose republish was in doubt woke itself by its own attempt, and went round without a pause; so
/// did two that woke each other.
#[test]
fn who_waits_for_a_letter_in_doubt_does_not_wake_itself() {
    if is_child() {
        return;
    }
    for seed in [376_565_443_611_315, 676_028_438] {
        let (_, outcome) = child::seeds(seed, 1, None).pop().unwrap();
        assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
    }
}

/// A period of flow control that began before a restart was forgotten when no message of its key was left, and the rate allowed
/// again.
#[test]
fn a_period_outlives_a_restart_that_leaves_no_message_of_its_key() {
    if is_child() {
        return;
    }
    let (_, outcome) = child::seeds(481_001_524_435_385, 1, None).pop().unwrap();
    assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
}

/// The sync of a dead entry failed, its failure callback was appended all the same, and a cut took the entry alone: the callback
/// was appended again.
#[test]
fn a_failure_callback_outlives_the_entry_that_it_followed() {
    if is_child() {
        return;
    }
    let (_, outcome) = child::seeds(1_190_024_178, 1, None).pop().unwrap();
    assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
}

/// An attempt that may go ahead of its turn was written down before one that may not, and took its place: the second was sent
/// when its key had been paused.
#[test]
fn a_pause_holds_what_is_not_sent_yet() {
    if is_child() {
        return;
    }
    let (_, outcome) = child::seeds(3_152_623_167, 1, None).pop().unwrap();
    assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
}

/// A disk that leaves out a sync must be caught, soon: a check that has never been seen to fail proves nothing.
#[test]
fn a_sync_that_is_left_out_is_caught() {
    if is_child() {
        return;
    }
    for (lie, what) in LIES {
        let pairs = (0..LIE_SEEDS / 2).map(|pair| child::seeds(1 + 2 * pair, 2, Some(lie)));
        let found = pairs.flatten().find_map(|(seed, outcome)| {
            let Outcome::Broken(story) = outcome else {
                return None;
            };
            let name = format!("seed {seed}: ");
            let broken = story.lines().rev().find(|line| line.starts_with(&name))?;
            broken.contains(what).then(|| broken.to_owned())
        });
        let found = found.unwrap_or_else(|| panic!("{lie} is not caught by {what:?}"));
        eprintln!("{lie} -> {found}");
    }
}

/// A callback was appended from an outcome that was written and not synced: the cut took the outcome, and not the callback.
#[test]
fn nothing_follows_from_an_outcome_that_a_cut_may_take_back() {
    if is_child() {
        return;
    }
    for seed in [100_283, 100_695] {
        let (_, outcome) = child::seeds(seed, 1, None).pop().unwrap();
        assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
    }
}
