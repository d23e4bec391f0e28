//! Crashes at every operation, then at every operation of the recovery, and again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use storage::delivery::Entry;
use storage::disk::sim::SimDisk;
use storage::offset::{Offset, TimestampMs};
use storage::partition::PushUpkeepRun;

use crate::check::{When, check};
use crate::coverage::{Coverage, KINDS, Kind, Row};
use crate::machine::{CHECKPOINTS, Machine, Watch, open_partition, read_checkpoints};
use crate::mutants::Order;
use crate::oracle::{Broken, Oracle, Stop, ensure};
use crate::truth::Truth;
use crate::workload::{Op, WORKLOAD};

/// Every place in which some crash must have come.
const PLACES: &[&str] = &[
    "open",
    "publish",
    "intents",
    "outcomes",
    "letters",
    "deaths",
    "callbacks",
    "fire",
    "cancel",
    "republish",
    "carry and snapshot",
    "retention",
    "checkpoint",
    "unlink",
];

const fn row(which: &'static str, is_due: bool) -> Row {
    Row {
        which,
        places: PLACES,
        is_due,
    }
}

pub const TABLE: [Row; 4] = [
    row("first crash in", true),
    row("failed sync in", false),
    row("second crash in", false),
    row("third crash in", false),
];

/// Where a run is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    Never,
    Op(u64),
    /// The operation, if it is a sync, fails, and the broker goes down by itself.
    FailedSync(u64),
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub order: Order,
    /// Operations of the workload that follow each recovery.
    pub ops_more: usize,
    /// Each n-th first crash is followed by second ones, each n-th second one by third ones; 0 for none.
    pub second_each: u64,
    pub third_each: u64,
    /// Each n-th operation of a recovery is cut.
    pub recovery_step: usize,
}

/// A crashed broker and what callers and destinations know of it.
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
        oracle.crashes += 1;
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

/// A disk with nothing but a directory for the checkpoints.
pub fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let made = Path::new(CHECKPOINTS).join("made");
    disk.write_file(&made, b"").unwrap();
    disk
}

/// Runs the workload up to the cut. Returns the wreck and how many operations there were.
pub fn run_until(disk: &SimDisk, order: Order, cut: CutAt) -> Result<(Wreck, u64), Broken> {
    let disk = disk.snapshot();
    let mut watch = Watch::new(&disk);
    match cut {
        CutAt::Never => {}
        CutAt::Op(op) => disk.cut_power_at(op),
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
    let ops = disk.op_count();
    let wreck = Wreck {
        disk,
        oracle,
        begun,
        phase,
        is_done,
    };
    Ok((wreck, ops))
}

fn run_all(
    watch: &Watch,
    order: Order,
    oracle: &mut Oracle,
    begun: &mut usize,
) -> Result<(), Stop> {
    let (mut machine, _) = Machine::open(watch, order, oracle.now)?;
    for op in WORKLOAD {
        *begun += 1;
        machine.run(*op, oracle)?;
    }
    Ok(())
}

/// Opens what a crash left, compares, finishes what is owed, compares, and goes on with the workload for a while.
pub fn live(wreck: &mut Wreck, order: Order, ops_more: usize) -> Result<(), Stop> {
    let watch = Watch::new(&wreck.disk);
    let lived = live_on(&watch, wreck, order, ops_more);
    wreck.phase = watch.phase.get();
    lived
}

fn live_on(watch: &Watch, wreck: &mut Wreck, order: Order, ops_more: usize) -> Result<(), Stop> {
    let (mut machine, report) = Machine::open(watch, order, wreck.oracle.now)?;
    check_now(&machine, When::Opened(&report), watch, &mut wreck.oracle)?;
    machine.aftermath(&mut wreck.oracle)?;
    check_now(&machine, When::AtRest, watch, &mut wreck.oracle)?;
    for op in WORKLOAD.iter().skip(wreck.begun).take(ops_more) {
        wreck.begun += 1;
        machine.run(*op, &mut wreck.oracle)?;
    }
    if wreck.begun == WORKLOAD.len() {
        while machine.pass(&mut wreck.oracle)? {}
    }
    machine.aftermath(&mut wreck.oracle)?;
    check_now(&machine, When::AtRest, watch, &mut wreck.oracle)?;
    same_again(&machine, watch)
}

pub fn check_now(
    machine: &Machine<'_>,
    when: When<'_>,
    watch: &Watch,
    oracle: &mut Oracle,
) -> Result<(), Stop> {
    let mut looked = oracle.clone();
    match check(&machine.owner.lock(), when, &mut looked) {
        Err(_) if watch.disk.is_power_cut() => Err(Stop::Cut),
        Err(broken) => Err(broken.into()),
        Ok(()) => {
            *oracle = looked;
            Ok(())
        }
    }
}

/// A restart folds the logs into the state that was in memory.
pub fn same_again(machine: &Machine<'_>, watch: &Watch) -> Result<(), Stop> {
    if watch.disk.is_power_cut() {
        return Err(Stop::Cut);
    }
    let disk = watch.disk.restart_process();
    let (_, stored) = read_checkpoints(&disk).unwrap();
    let (again, _) = open_partition(Arc::new(disk), &stored, TimestampMs(0)).unwrap();
    let bytes = machine.owner.lock().delivery().unwrap().encode();
    let is_same = again
        .delivery()
        .is_some_and(|state| state.encode() == bytes);
    Ok(ensure(is_same, "a restart finds the same state", || {
        format!(
            "{:?}",
            again
                .delivery()
                .map(storage::delivery::DeliveryState::counts)
        )
    })?)
}

/// A whole life after a crash, which nothing interrupts. Returns how many operations it took.
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

/// Crashes the recovery of a wreck at its operations; tells what is left each time.
fn crash_recovery(
    wreck: &Wreck,
    plan: Plan,
    ops: u64,
    found: &mut dyn FnMut(&Wreck, Kind, u64) -> Result<(), Broken>,
) -> Result<(), Broken> {
    // The last one crashes when all is done.
    for op in (1..=ops + 1).step_by(plan.recovery_step) {
        let mut again = wreck.copy();
        again.disk.cut_power_at(again.disk.op_count() + op);
        match live(&mut again, plan.order, plan.ops_more) {
            Ok(()) | Err(Stop::Cut) => {}
            Err(Stop::Broken(broken)) => return Err(broken),
        }
        for kind in KINDS {
            found(&again.crashed(kind, op), kind, op)?;
        }
    }
    Ok(())
}

/// Crashes the workload everywhere, in every way, and then again.
pub fn crash_everywhere(disk: &SimDisk, plan: Plan, coverage: &mut Coverage) -> Result<(), Broken> {
    let (_, ops) = run_until(disk, plan.order, CutAt::Never)?;
    let by_op = (1..=ops + 1).map(CutAt::Op);
    let by_sync = (1..=ops).map(CutAt::FailedSync);
    for (number, cut) in (0u64..).zip(by_op.chain(by_sync)) {
        let (cut_off, _) = run_until(disk, plan.order, cut)?;
        let is_sync = matches!(cut, CutAt::FailedSync(_));
        if cut_off.is_done && is_sync {
            // The operation was no sync.
            continue;
        }
        for kind in KINDS {
            let wreck = cut_off.crashed(kind, number);
            let which = if is_sync {
                "failed sync in"
            } else {
                "first crash in"
            };
            coverage.count(which, wreck.phase, kind);
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
    if !coverage.is_new(wreck) {
        return Ok(());
    }
    let ops = recover(wreck, plan, plan.ops_more, coverage)?;
    if number % 7 == 0 {
        recover(wreck, plan, usize::MAX, coverage)?;
    }
    let which = KINDS.iter().position(|k| *k == kind).unwrap() as u64;
    if plan.second_each == 0 || number % plan.second_each != which % plan.second_each {
        return Ok(());
    }
    let mut seconds = Vec::new();
    crash_recovery(wreck, plan, ops, &mut |left, next, op| {
        coverage.count("second crash in", left.phase, next);
        if !coverage.is_new(left) {
            return Ok(());
        }
        let next_ops = recover(left, plan, plan.ops_more, coverage).map_err(|broken| Broken {
            seen: format!("then op {op} {next:?}: {}", broken.seen),
            ..broken
        })?;
        if plan.third_each > 0 && (number + op) % plan.third_each == 0 {
            seconds.push((left.copy(), next_ops));
        }
        Ok(())
    })?;
    for (left, ops) in seconds {
        crash_recovery(&left, plan, ops, &mut |last, kind, _| {
            coverage.count("third crash in", last.phase, kind);
            if coverage.is_new(last) {
                recover(last, plan, plan.ops_more, coverage)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_workload_meets_everything_and_comes_to_its_ends_when_nothing_crashes() {
    let watch = Watch::new(&new_disk(1));
    let mut oracle = Oracle::default();
    let (mut machine, _) = Machine::open(&watch, Order::Right, 0).unwrap();
    let mut start_over = Offset::ZERO;
    let mut entries = BTreeMap::new();
    for op in WORKLOAD {
        machine.run(*op, &mut oracle).unwrap();
        if matches!(op, Op::RetainOver(_)) {
            start_over = oracle.main_start;
        }
        entries.extend(Truth::read(&machine.owner.lock()).unwrap().entries);
    }
    while machine.pass(&mut oracle).unwrap() {}
    check_now(&machine, When::AtRest, &watch, &mut oracle).unwrap();
    same_again(&machine, &watch).unwrap();
    let alone = oracle.find("alone").unwrap();
    assert!(
        start_over > alone,
        "{start_over}: the cancelled one holds nothing"
    );
    assert!(oracle.letter_start > Offset::ZERO);
    let sum = |of: &dyn Fn(&PushUpkeepRun) -> u64| machine.runs.iter().map(of).sum::<u64>();
    let carried = sum(&|run| run.carried_count);
    let copied = sum(&|run| run.copied_count);
    let held = sum(&|run| run.held_segment_count);
    let snapshots = sum(&|run| u64::from(run.has_snapshot));
    eprintln!("{carried} carried, {copied} copied, {held} held, {snapshots} snapshots");
    assert!(carried > 0 && copied > 1 && held > 0 && snapshots > 2);
    let of_parts = |entry: &Entry| matches!(entry, Entry::Snapshot(part) if part.count > 1);
    assert!(entries.values().any(of_parts), "a snapshot in parts");
    let of_history = |entry: &Entry| matches!(entry, Entry::History { .. });
    assert!(entries.values().any(of_history), "a copied history");
}

#[test]
fn messages_are_conserved_and_come_to_one_end_whatever_crashes() {
    let mut coverage = Coverage::default();
    let plan = Plan {
        order: Order::Right,
        ops_more: 2,
        second_each: 13,
        third_each: 61,
        recovery_step: 2,
    };
    let started = std::time::Instant::now();
    let ended = crash_everywhere(&new_disk(11), plan, &mut coverage);
    let empty = coverage.print(&TABLE);
    eprintln!("{:?}", started.elapsed());
    assert_eq!(ended, Ok(()));
    assert_eq!(empty, Vec::<String>::new(), "no crash came there");
}
