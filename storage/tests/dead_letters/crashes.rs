//! Crashes at every operation and behind every step, then at every operation of the recovery, and again.

use std::path::Path;

use storage::disk::sim::SimDisk;
use storage::partition::Step;

use crate::check::check;
use crate::coverage::{Coverage, KINDS, Kind, Row};
use crate::machine::{CHECKPOINTS, Machine};
use crate::mutants::Order;
use crate::oracle::{Broken, Oracle, Stop, ensure};
use crate::watch::Watch;
use crate::workload::{Op, WORKLOAD};

/// Every place in which some crash must have come.
pub const TABLE: [Row; 5] = [
    Row {
        which: "first crash in",
        places: &[
            "open",
            "produce",
            "reject",
            "claimed, writing",
            "written, syncing",
            "synced, writing markers",
            "markers written, syncing",
            "delete",
            "checkpoint",
            "main retention",
            "dead-letter retention",
            "unlink",
        ],
        is_due: true,
    },
    Row {
        which: "first crash behind",
        places: &[
            "Claimed",
            "Written",
            "Synced",
            "MarkersWritten",
            "MarkersSynced",
        ],
        is_due: true,
    },
    Row {
        which: "failed sync in",
        places: &[
            "open",
            "produce",
            "reject",
            "claimed, writing",
            "written, syncing",
            "markers written, syncing",
            "delete",
            "checkpoint",
            "main retention",
            "dead-letter retention",
            "unlink",
        ],
        is_due: true,
    },
    Row {
        which: "second crash in",
        places: &[
            "open",
            "repeat",
            "claimed, writing",
            "written, syncing",
            "synced, writing markers",
            "markers written, syncing",
        ],
        is_due: true,
    },
    Row {
        which: "third crash in",
        places: &[
            "open",
            "repeat",
            "claimed, writing",
            "written, syncing",
            "synced, writing markers",
            "markers written, syncing",
        ],
        is_due: true,
    },
];

/// Where a run is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    Never,
    Op(u64),
    Step(usize),
    /// The operation, if it is a sync, fails, and the broker goes down by itself.
    FailedSync(u64),
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub order: Order,
    /// Operations of the workload that follow each recovery.
    pub ops_more: usize,
    /// Each n-th first crash is followed by second ones.
    pub second_each: u64,
    /// Each n-th second crash is followed by third ones.
    pub third_each: u64,
}

/// A crashed broker and what callers know of it.
#[derive(Debug, Clone)]
pub struct Wreck {
    pub disk: SimDisk,
    pub oracle: Oracle,
    /// Operations of the workload that were begun.
    pub begun: usize,
    pub phase: &'static str,
    pub is_done: bool,
}

impl Wreck {
    /// Returns what a crash leaves now.
    pub fn crashed(&self, kind: Kind, seed: u64) -> Self {
        let mut oracle = self.oracle.clone();
        oracle.is_checkpoint_lost |= kind == Kind::NoCheckpoint;
        Self {
            disk: kind.after(&self.disk, seed),
            oracle,
            ..self.clone()
        }
    }

    pub fn copy(&self) -> Self {
        Self {
            disk: self.disk.snapshot(),
            ..self.clone()
        }
    }
}

pub fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let made = Path::new(CHECKPOINTS).join("made");
    disk.write_file(&made, b"").unwrap();
    disk
}

/// Runs the workload up to the cut. Returns the wreck, how many operations there were and the steps.
pub fn run_until(
    disk: &SimDisk,
    order: Order,
    cut: CutAt,
) -> Result<(Wreck, u64, Vec<Step>), Broken> {
    let disk = disk.snapshot();
    let mut watch = Watch::new(&disk);
    match cut {
        CutAt::Never => {}
        CutAt::Op(op) => disk.cut_power_at(op),
        CutAt::Step(step) => watch.cut_at_step = Some(step),
        CutAt::FailedSync(op) => {
            disk.fail_sync_at(op);
            watch.fails = true;
        }
    }
    let mut oracle = Oracle::default();
    let mut begun = 0;
    let ended = run_all(&watch, order, &mut oracle, &mut begun);
    let is_done = ended.is_ok();
    if let Err(Stop::Broken(broken)) = ended {
        return Err(broken);
    }
    let phase = watch.phase.get();
    let steps = watch.steps.take();
    let ops = disk.op_count();
    Ok((
        Wreck {
            disk,
            oracle,
            begun,
            phase,
            is_done,
        },
        ops,
        steps,
    ))
}

fn run_all(
    watch: &Watch,
    order: Order,
    oracle: &mut Oracle,
    begun: &mut usize,
) -> Result<(), Stop> {
    let (mut machine, _) = Machine::open(watch, order)?;
    for op in WORKLOAD {
        *begun += 1;
        machine.run(*op, oracle)?;
    }
    Ok(())
}

/// Opens what a crash left, compares, repeats the requests, compares, and goes on with the workload for a while.
pub fn live(wreck: &mut Wreck, order: Order, ops_more: usize) -> Result<(), Stop> {
    let watch = Watch::new(&wreck.disk);
    let lived = live_on(&watch, wreck, order, ops_more);
    wreck.phase = watch.phase.get();
    lived
}

fn live_on(watch: &Watch, wreck: &mut Wreck, order: Order, ops_more: usize) -> Result<(), Stop> {
    let (mut machine, report) = Machine::open(watch, order)?;
    check_now(&machine, Some(&report), watch, &mut wreck.oracle)?;
    let done: &[Op] = &WORKLOAD[..wreck.begun];
    machine.repeat(done, &mut wreck.oracle)?;
    check_now(&machine, None, watch, &mut wreck.oracle)?;
    for op in WORKLOAD.iter().skip(wreck.begun).take(ops_more) {
        wreck.begun += 1;
        machine.run(*op, &mut wreck.oracle)?;
    }
    Ok(())
}

fn check_now(
    machine: &Machine<'_>,
    report: Option<&storage::partition::PartitionReport>,
    watch: &Watch,
    oracle: &mut Oracle,
) -> Result<(), Stop> {
    let mut looked = oracle.clone();
    match check(&machine.owner.lock(), report, &mut looked) {
        Err(_) if watch.disk.is_power_cut() => Err(Stop::Cut),
        Err(broken) => Err(broken.into()),
        Ok(()) => {
            *oracle = looked;
            Ok(())
        }
    }
}

/// A whole life after a crash, which nothing interrupts.
pub fn recover(
    wreck: &Wreck,
    plan: Plan,
    ops_more: usize,
    coverage: &mut Coverage,
) -> Result<u64, Broken> {
    let mut wreck = wreck.copy();
    coverage.lives += 1;
    let before = wreck.disk.op_count();
    match live(&mut wreck, plan.order, ops_more) {
        Ok(()) => Ok(wreck.disk.op_count() - before),
        Err(Stop::Cut) => ensure(false, "nobody cuts the power", String::new).map(|()| 0),
        Err(Stop::Broken(broken)) => Err(broken),
    }
}

/// Crashes the recovery of a wreck at every operation; returns what is left each time.
fn crash_recovery(
    wreck: &Wreck,
    plan: Plan,
    ops: u64,
    then: &[Kind],
    found: &mut dyn FnMut(&Wreck, Kind, u64) -> Result<(), Broken>,
) -> Result<(), Broken> {
    // The last one crashes when all is done.
    for op in 1..=ops + 1 {
        let mut again = wreck.copy();
        again.disk.cut_power_at(again.disk.op_count() + op);
        match live(&mut again, plan.order, plan.ops_more) {
            Ok(()) | Err(Stop::Cut) => {}
            Err(Stop::Broken(broken)) => return Err(broken),
        }
        for next in then {
            let left = again.crashed(*next, op);
            found(&left, *next, op)?;
        }
    }
    Ok(())
}

/// Crashes the workload everywhere, in every way, and then again.
pub fn crash_everywhere(disk: &SimDisk, plan: Plan, coverage: &mut Coverage) -> Result<(), Broken> {
    let (_, ops, steps) = run_until(disk, plan.order, CutAt::Never)?;
    let by_op = (1..=ops).map(CutAt::Op);
    let by_step = (1..=steps.len()).map(CutAt::Step);
    let by_sync = (1..=ops).map(CutAt::FailedSync);
    for (number, cut) in (0u64..).zip(by_op.chain(by_step).chain(by_sync)) {
        let (cut_off, _, _) = run_until(disk, plan.order, cut)?;
        if cut_off.is_done && matches!(cut, CutAt::FailedSync(_)) {
            // The operation was no sync.
            continue;
        }
        for kind in KINDS {
            let wreck = cut_off.crashed(kind, number);
            match cut {
                CutAt::Step(step) => {
                    let step = format!("{:?}", steps[step - 1]);
                    coverage.count("first crash behind", step, kind);
                }
                CutAt::FailedSync(_) => coverage.count("failed sync in", wreck.phase, kind),
                _ => coverage.count("first crash in", wreck.phase, kind),
            }
            coverage.images.insert(wreck.disk.state_hash());
            crash_on(&wreck, plan, (kind, number), coverage).map_err(|broken| Broken {
                seen: format!(
                    "{cut:?} {kind:?} seed {number} in {}: {}",
                    wreck.phase, broken.seen
                ),
                ..broken
            })?;
        }
    }
    Ok(())
}

/// Lives on after a first crash, and crashes that life as often as the plan says.
fn crash_on(
    wreck: &Wreck,
    plan: Plan,
    (kind, number): (Kind, u64),
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    let ops = recover(wreck, plan, plan.ops_more, coverage)?;
    if number % 5 == 0 {
        recover(wreck, plan, usize::MAX, coverage)?;
    }
    if plan.second_each == 0
        || number % plan.second_each
            != KINDS.iter().position(|k| *k == kind).unwrap() as u64 % plan.second_each
    {
        return Ok(());
    }
    let mut seconds = Vec::new();
    crash_recovery(wreck, plan, ops, &KINDS, &mut |left, next, op| {
        let next_ops = if coverage.is_new(left) || next == Kind::Kill {
            recover(left, plan, plan.ops_more, coverage).map_err(|broken| Broken {
                seen: format!("then op {op} {next:?}: {}", broken.seen),
                ..broken
            })?
        } else {
            0
        };
        coverage.count("second crash in", left.phase, next);
        if plan.third_each > 0 && next_ops > 0 && (number + op) % plan.third_each == 0 {
            seconds.push((left.clone(), next_ops));
        }
        Ok(())
    })?;
    for (left, ops) in seconds {
        crash_recovery(&left, plan, ops, &KINDS, &mut |last, kind, _| {
            coverage.count("third crash in", last.phase, kind);
            coverage.images.insert(last.disk.state_hash());
            recover(last, plan, plan.ops_more, coverage).map(drop)
        })?;
    }
    Ok(())
}

#[test]
fn letters_are_conserved_and_republished_once_whatever_crashes() {
    let mut coverage = Coverage::default();
    let plan = Plan {
        order: Order::Right,
        ops_more: 1,
        second_each: 3,
        third_each: 97,
    };
    let started = std::time::Instant::now();
    let ended = crash_everywhere(&new_disk(11), plan, &mut coverage);
    let empty = coverage.print(&TABLE);
    eprintln!("{:?}", started.elapsed());
    assert_eq!(ended, Ok(()));
    assert_eq!(empty, Vec::<String>::new(), "no crash came there");
}
