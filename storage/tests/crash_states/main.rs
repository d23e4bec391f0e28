//! Crash states of one log at volume: what was synced, and any subset of the sectors and lengths that were not.
//!
//! A scenario is a log with acknowledged and unacknowledged batches, stopped behind any operation. From it images are drawn: each
//! sector that was written since the last sync is there in any of its versions, and the file has any of its lengths since. Every
//! image is opened by the log's own recovery, and compared with what is known from how it was made:
//!
//! - the log ends exactly behind the longest run of batches that are whole in the image, and so never before an acknowledged one;
//! - not one byte before that end is another than the one that was written, and behind it there are only zeros;
//! - nothing is called damaged, the log takes appends, and all that it shows is synced.
//!
//! Images are told apart by a hash of their contents. The hashes are kept in one bit each of a map of fixed size: two that fall on
//! the same bit count once, so that `distinct` is a lower bound.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests may panic, and say what they covered"
)]

mod flat;
#[path = "../../../tests/support/hold.rs"]
#[allow(dead_code, reason = "no suite uses all of it")]
mod hold;
mod images;
mod scenario;

use std::sync::Arc;

use storage::log::{Log, ReadBound};
use storage::offset::Offset;

use crate::flat::Flat;
use crate::hold::Hold;
use crate::images::{Images, Seen};
use crate::scenario::{NOW, Random, Scenario, place};

/// Images that are drawn at each moment of a scenario, at most.
const IMAGES: u64 = 256;
/// Scenarios of the merge-sized set.
const SCENARIOS: u64 = 400;
const NAMES: [&str; 6] = [
    "states",
    "distinct",
    "kept_unacknowledged",
    "cut",
    "went_on",
    "scenarios",
];

/// Opens one image and compares it. Returns how many unacknowledged batches survived, and whether a tail was cut.
fn check(
    scenario: &Scenario,
    images: &Images<'_>,
    disk: &Flat,
    draw: u64,
) -> Result<(usize, bool), String> {
    let whole = images.whole_batches(disk);
    let place = place(Arc::new(disk.clone()));
    let (log, report) = Log::open(place, scenario.config(), images.hint(), NOW)
        .map_err(|error| format!("does not open: {error:?}"))?;
    if !report.damage.is_empty() || log.poison().is_some() {
        let damage = &report.damage;
        return Err(format!("false damage: {damage:?}, {:?}", log.poison()));
    }
    let end = log.next_offset();
    let expected = images.end_of(whole);
    let acknowledged = images.acknowledged();
    if end != expected || whole < acknowledged {
        return Err(format!(
            "ends at {end}, not {expected}: {whole} batches are whole, {acknowledged} acknowledged"
        ));
    }
    let reader = log.reader();
    if reader.high_watermark() != end || disk.is_dirty() {
        return Err("shows what is not synced".to_owned());
    }
    images.compare(disk, whole)?;
    if whole > 0 {
        let at = draw as usize % whole;
        let (offset, bytes) = images.batch(at);
        let found = reader.read(offset, 1, ReadBound::HighWatermark);
        if found.as_deref().ok() != Some(bytes) {
            return Err(format!("batch {at} reads as {found:?}"));
        }
    }
    Ok((whole - acknowledged, report.cut.is_some()))
}

/// What was opened goes on: an append, a sync, and opened once more.
fn goes_on(scenario: &Scenario, disk: &Flat) -> Result<(), String> {
    let open = || {
        Log::open(place(Arc::new(disk.clone())), scenario.config(), None, NOW)
            .map_err(|error| format!("does not open again: {error:?}"))
    };
    let (mut log, report) = open()?;
    let end = log.next_offset();
    if report.cut.is_some() {
        return Err(format!("recovery is not final: {report:?}"));
    }
    let mut batch = scenario::batch(3, 200, 77);
    let appended = log
        .append_synced(&mut batch, NOW)
        .map_err(|error| format!("takes no append: {error:?}"))?;
    drop(log);
    let (log, _) = open()?;
    let found = (log.reader()).read(appended.base_offset, 1, ReadBound::HighWatermark);
    let is_there = appended.base_offset == end && log.next_offset() == Offset(end.0 + 3);
    if !is_there || found.as_ref().ok() != Some(&batch) {
        return Err(format!("the next batch is not there: {appended:?}"));
    }
    Ok(())
}

/// Draws and checks the images of one scenario.
fn all_images(
    scenario: &Scenario,
    random: &mut Random,
    seen: &mut Seen,
    counts: &mut [u64; NAMES.len()],
) -> Result<(), String> {
    let disk = Flat::default();
    for (number, moment) in scenario.moments.iter().enumerate() {
        let images = Images::of(scenario, moment);
        for image in 0..images.count(IMAGES) {
            let hash = images.draw(&disk, random, image);
            let draw = random.next();
            counts[0] += 1;
            if !seen.is_new(hash) {
                continue;
            }
            counts[1] += 1;
            let (kept, is_cut) = check(scenario, &images, &disk, draw)
                .map_err(|error| format!("moment {number}, image {image}: {error}"))?;
            counts[2] += u64::from(kept > 0);
            counts[3] += u64::from(is_cut);
            if draw.is_multiple_of(64) {
                counts[4] += 1;
                goes_on(scenario, &disk)
                    .map_err(|error| format!("moment {number}, image {image}: {error}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn crash_states() {
    let mut hold = Hold::begin("crash_states/crash_states");
    let mut met = Seen::new(if hold.is_long() { 34 } else { 24 });
    let mut counts = [0; NAMES.len()];
    let mut done = 0;
    while hold.goes_on(done, SCENARIOS) {
        let seed = hold.seed().wrapping_add(done);
        let mut random = Random::new(seed);
        let scenario = Scenario::make(&mut random);
        if let Err(error) = all_images(&scenario, &mut random, &mut met, &mut counts) {
            panic!("seed {seed}: {error}\n{}", hold.replay(seed));
        }
        done += 1;
    }
    counts[5] = done;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    for (name, count) in NAMES.into_iter().zip(counts) {
        hold.count(name, count);
    }
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}
