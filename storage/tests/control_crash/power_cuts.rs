//! Power cuts at every operation, two in a row, with everything a disk may leave of unsynced changes.

use std::sync::Arc;

use storage::control::{ControlConfig, ControlState, Entry};
use storage::disk::Site;
use storage::disk::sim::{SimDisk, Survival};

use crate::machine::{Machine, SMALL, new_disk, segments, states, workload};

struct Run {
    config: ControlConfig,
    changes: Vec<Vec<Entry>>,
    states: Vec<ControlState>,
    lie: Option<Site>,
    seed: u64,
}

/// How far a run has come: `answered` changes were answered, and `attempted` is that or one more.
#[derive(Debug, Clone, Copy)]
struct Progress {
    answered: usize,
    attempted: usize,
}

impl Run {
    fn new(config: ControlConfig, changes: Vec<Vec<Entry>>) -> Self {
        let states = states(&changes);
        Self {
            config,
            changes,
            states,
            lie: None,
            seed: 0x5EED,
        }
    }

    fn disk(&self) -> SimDisk {
        let disk = new_disk(self.seed);
        if let Some(site) = self.lie {
            disk.lie_at(site);
        }
        disk
    }

    /// Opens the log, checks the state against what was promised before, and goes on with the changes.
    fn go_on(&self, disk: &SimDisk, before: Progress) -> Result<Progress, String> {
        let mut machine = match Machine::start(Arc::new(disk.clone()), self.config) {
            Ok(machine) => machine,
            Err(_) if disk.is_power_cut() => return Ok(before),
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        let state = machine.control.state();
        let found = (before.answered..=before.attempted).find(|at| self.states[*at] == *state);
        let Some(mut answered) = found else {
            return Err(format!("after {before:?} the state is {state:?}"));
        };
        for change in &self.changes[answered..] {
            match machine.change(change) {
                Ok(rest) => {
                    answered += 1;
                    if machine.control.state() != &self.states[answered] {
                        return Err(format!("the state after change {answered} is wrong"));
                    }
                    if rest.is_err() && !disk.is_power_cut() {
                        return Err(format!("the head is not deleted: {rest:?}"));
                    }
                }
                Err(error) if !disk.is_power_cut() => {
                    return Err(format!("change {answered} failed: {error:?}"));
                }
                Err(_) => {
                    if machine.control.state() != &self.states[answered] {
                        return Err(format!("change {answered} failed and changed the state"));
                    }
                    let attempted = answered + 1;
                    return Ok(Progress {
                        answered,
                        attempted,
                    });
                }
            }
        }
        let attempted = answered;
        Ok(Progress {
            answered,
            attempted,
        })
    }

    /// Cuts the power at every `step`-th operation, and again some operations later. Returns the first broken promise.
    fn check(&self, step: usize) -> Result<(), String> {
        let nothing = Progress {
            answered: 0,
            attempted: 0,
        };
        let whole = self.disk();
        self.go_on(&whole, nothing)?;
        for cut in (1..=whole.op_count()).step_by(step) {
            let disk = self.disk();
            disk.cut_power_at(cut);
            let first = self.go_on(&disk, nothing)?;
            let survivals = [
                Survival::Nothing,
                Survival::Everything,
                Survival::Random(cut),
                Survival::Random(cut + 1000),
            ];
            for (at, survival) in survivals.into_iter().enumerate() {
                let failed = |what| {
                    let seed = self.seed;
                    move |error| {
                        format!("seed {seed:#x}, cut at {cut}, {survival:?}, {what}: {error}")
                    }
                };
                let after = disk.reboot(survival);
                self.go_on(&after.snapshot(), first)
                    .map_err(failed("one cut"))?;
                let second_cut = 1 + (cut * 7 + at as u64 * 5) % 23;
                after.cut_power_at(second_cut);
                let second = self
                    .go_on(&after, first)
                    .map_err(failed("before the second cut"))?;
                let last = after.reboot(survivals[(at + cut as usize) % 4]);
                let end = self.go_on(&last, second).map_err(failed("two cuts"))?;
                if end.answered != self.changes.len() {
                    return Err(format!("the run ended at {end:?}"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn every_answered_change_survives_two_power_cuts_and_no_other_is_half_there() {
    Run::new(SMALL, workload(60, 40)).check(1).unwrap();
}

#[test]
fn a_snapshot_of_several_parts_that_is_cut_short_counts_for_nothing() {
    // The commits' metadata makes a state of more than a part.
    let mut changes = workload(5, 10);
    for at in 0..200u64 {
        let group = format!("group-{}", at % 100);
        let partition = 1 + u32::from(at >= 100);
        let metadata = format!("{at} ").repeat(1000);
        let commit = crate::machine::committed(&group, partition, at, metadata);
        match changes.last_mut() {
            Some(last) if at % 20 != 0 => last.push(commit),
            _ => changes.push(vec![commit]),
        }
    }
    changes.extend(workload(3, 10).split_off(1));
    let config = ControlConfig {
        segment_bytes: 600_000,
        snapshot_bytes: 700_000,
    };
    let run = Run::new(config, changes);
    assert!(run.states.last().unwrap().snapshot().len() > 1);
    run.check(3).unwrap();
}

#[test]
fn the_workload_takes_snapshots_and_deletes_the_head() {
    let disk = new_disk(1);
    let mut machine = Machine::start(Arc::new(disk.clone()), SMALL).unwrap();
    let mut starts = vec![];
    for change in workload(60, 40) {
        machine.change(&change).unwrap().unwrap();
        assert!(machine.control.snapshot_failure().is_none());
        let start = machine.control.reader().log_start();
        if starts.last() != Some(&start) {
            starts.push(start);
        }
        assert!(segments(&disk).len() < 8, "the head grows");
    }
    assert!(starts.len() > 4, "{starts:?}");
}

/// The syncs and truncations that answered changes depend on. The checkpoint is not among them: a log whose head is gone is
/// folded from its snapshot also when nothing says where it begins.
#[test]
fn a_lie_at_any_site_that_changes_depend_on_breaks_a_promise() {
    for site in [
        Site::Append,
        Site::RollSealed,
        Site::RollTruncate,
        Site::SegmentName,
        Site::LogName,
    ] {
        let mut run = Run::new(SMALL, workload(60, 40));
        run.lie = Some(site);
        assert!(run.check(1).is_err(), "no promise needs {site:?}");
    }
}
