//! Power cuts and kills at every operation, once and twice in a row.

use std::collections::HashSet;
use std::path::Path;

use storage::disk::sim::{SimDisk, Survival};
use storage::log::Visibility;

use crate::broker::{Broker, Crash, SLOTS, Step, Stop, full_workload, new_disk};
use crate::oracle::{Broken, Oracle, broken};

pub const CRASHES: [Crash; 7] = [
    Crash::Power(Survival::Nothing),
    Crash::Power(Survival::Everything),
    Crash::Kill,
    Crash::Power(Survival::Random(1)),
    Crash::Power(Survival::Random(2)),
    Crash::Power(Survival::Random(3)),
    Crash::Power(Survival::Random(4)),
];

/// What the next run does before it crashes in its turn.
const AFTERWARDS: [Step; 9] = [
    Step::Append {
        records: 1,
        body_bytes: 700,
    },
    Step::Append {
        records: 2,
        body_bytes: 100,
    },
    Step::Sync,
    Step::Checkpoint,
    Step::Append {
        records: 1,
        body_bytes: 900,
    },
    Step::Roll,
    Step::Append {
        records: 1,
        body_bytes: 600,
    },
    Step::Append {
        records: 1,
        body_bytes: 600,
    },
    Step::Append {
        records: 1,
        body_bytes: 40,
    },
];

/// Counts what was covered.
#[derive(Debug, Default)]
pub struct Coverage {
    pub images: HashSet<u64>,
    /// Images with what was promised of them.
    checked: HashSet<(u64, u64)>,
    pub opened: u64,
}

/// Opens a log and runs a workload up to a power cut at `op`. Returns the disk, the oracle, and whether the cut came.
pub fn run_until(
    start: &SimDisk,
    oracle: &Oracle,
    steps: &[Step],
    op: u64,
) -> Result<(SimDisk, Oracle, bool), Broken> {
    let disk = start.snapshot();
    let mut oracle = oracle.clone();
    disk.cut_power_at(disk.op_count() + op);
    let ended = Broker::reopen(&disk, &mut oracle)
        .and_then(|(mut broker, _)| broker.run(steps, &mut oracle));
    match ended {
        Err(Stop::Broken(broken)) => Err(broken),
        Err(Stop::Failed(error)) if !disk.is_power_cut() => broken("no error without a cut", error),
        _ => {
            let is_cut = disk.is_power_cut();
            Ok((disk, oracle, is_cut))
        }
    }
}

/// Checks what a crash left: it opens right, opens again without anything to cut, and takes appends.
pub fn check_image(
    image: &SimDisk,
    oracle: &Oracle,
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    let state = image.state_hash();
    coverage.images.insert(state);
    // After a power cut all that is visible is durable: the same image with the same promises gives the same answer.
    if oracle.was_power_cut && !coverage.checked.insert((state, oracle.fingerprint())) {
        return Ok(());
    }
    coverage.opened += 1;
    let mut oracle = oracle.clone();
    let reopen = |disk: &SimDisk, oracle: &mut Oracle| match Broker::reopen(disk, oracle) {
        Ok(opened) => Ok(opened),
        Err(Stop::Broken(broken)) => Err(broken),
        Err(Stop::Failed(error)) => broken("opens", error),
    };
    reopen(image, &mut oracle)?;
    // Nothing that recovery relied on may be lost now.
    let again = Crash::Power(Survival::Nothing).after(image, &mut oracle);
    let (mut broker, report) = reopen(&again, &mut oracle)?;
    if report.cut.is_some() {
        return broken("recovery is final", format!("{report:?}"));
    }
    let steps = [
        Step::Append {
            records: 1,
            body_bytes: 300,
        },
        Step::Sync,
        Step::Checkpoint,
    ];
    if let Err(stop) = broker.run(&steps, &mut oracle) {
        return broken("goes on", format!("{stop:?}"));
    }
    let last = Crash::Power(Survival::Nothing).after(&again, &mut oracle);
    reopen(&last, &mut oracle).map(drop)
}

/// Crashes at every operation of `steps`, in every way.
pub fn crash_everywhere(
    start: &SimDisk,
    oracle: &Oracle,
    steps: &[Step],
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    for op in 1.. {
        let (disk, oracle, is_cut) = run_until(start, oracle, steps, op)?;
        for crash in CRASHES {
            let mut oracle = oracle.clone();
            let image = crash.after(&disk, &mut oracle);
            let deleted = image.snapshot();
            at(check_image(&image, &oracle, coverage), || {
                format!("op {op}, {crash:?}\n{}", disk.trace())
            })?;
            if SLOTS
                .iter()
                .filter(|slot| deleted.remove_file(Path::new(slot)).is_ok())
                .count()
                > 0
            {
                oracle.is_checkpoint_lost = true;
                at(check_image(&deleted, &oracle, coverage), || {
                    format!("op {op}, {crash:?}, no checkpoint")
                })?;
            }
        }
        if !is_cut {
            return Ok(());
        }
    }
    Ok(())
}

/// Crashes at every operation of `steps`, and again at every operation of the recovery and of what follows.
pub fn crash_twice(
    (start, oracle): (&SimDisk, &Oracle),
    steps: &[Step],
    (first, second): (&[Crash], &[Crash]),
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    for op in 1.. {
        let (disk, oracle, is_cut) = run_until(start, oracle, steps, op)?;
        for crash in first {
            let mut oracle = oracle.clone();
            let image = crash.after(&disk, &mut oracle);
            for later_op in 1.. {
                let context = |more: &str| format!("op {op}, {crash:?}, then op {later_op}{more}");
                let run = run_until(&image, &oracle, &AFTERWARDS, later_op);
                let (disk, oracle, is_cut) = at(run, || context(""))?;
                for crash in second {
                    let mut oracle = oracle.clone();
                    let image = crash.after(&disk, &mut oracle);
                    at(check_image(&image, &oracle, coverage), || {
                        context(&format!(", {crash:?}\n{}", disk.trace()))
                    })?;
                }
                if !is_cut {
                    break;
                }
            }
        }
        if !is_cut {
            return Ok(());
        }
    }
    Ok(())
}

/// Crashes with several unsynced batches in a new segment, of which any sectors survive.
pub fn crash_in_new_segment(
    start: &SimDisk,
    oracle: &Oracle,
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    let unsynced = Step::Append {
        records: 1,
        body_bytes: 800,
    };
    let steps = [
        unsynced,
        Step::Sync,
        Step::Roll,
        unsynced,
        unsynced,
        unsynced,
        unsynced,
    ];
    let (disk, oracle, _) = run_until(start, oracle, &steps, u64::MAX / 2)?;
    for seed in 0..200 {
        let mut oracle = oracle.clone();
        let image = Crash::Power(Survival::Random(seed)).after(&disk, &mut oracle);
        at(check_image(&image, &oracle, coverage), || {
            format!("seed {seed}\n{}", disk.trace())
        })?;
    }
    Ok(())
}

/// Adds to a broken promise where it happened.
pub fn at<T>(result: Result<T, Broken>, place: impl Fn() -> String) -> Result<T, Broken> {
    result.map_err(|Broken { check, seen }| Broken {
        check,
        seen: format!("{seen} at {}", place()),
    })
}

pub fn fail_on(result: Result<(), Broken>) {
    if let Err(Broken { check, seen }) = result {
        panic!("{check}: {seen}");
    }
}

#[test]
fn a_crash_at_any_operation_keeps_every_promise() {
    let mut coverage = Coverage::default();
    for (seed, visibility) in [(1, Visibility::Synced), (2, Visibility::Written)] {
        let oracle = Oracle::new(visibility);
        fail_on(crash_everywhere(
            &new_disk(seed),
            &oracle,
            &full_workload(),
            &mut coverage,
        ));
    }
    eprintln!(
        "seeds 1, 2: {} images opened, {} distinct",
        coverage.opened,
        coverage.images.len()
    );
}

#[test]
fn any_sectors_of_the_unsynced_batches_of_a_new_segment_may_survive() {
    let mut coverage = Coverage::default();
    for visibility in [Visibility::Synced, Visibility::Written] {
        fail_on(crash_in_new_segment(
            &new_disk(9),
            &Oracle::new(visibility),
            &mut coverage,
        ));
    }
    eprintln!(
        "seed 9: {} images opened, {} distinct",
        coverage.opened,
        coverage.images.len()
    );
}

#[test]
fn a_second_crash_at_any_operation_of_the_recovery_keeps_every_promise() {
    let mut coverage = Coverage::default();
    let first = [CRASHES[0], CRASHES[2], CRASHES[4]];
    let second = [CRASHES[0], CRASHES[2], CRASHES[5]];
    for (seed, visibility) in [(3, Visibility::Synced), (4, Visibility::Written)] {
        let oracle = Oracle::new(visibility);
        let start = new_disk(seed);
        fail_on(crash_twice(
            (&start, &oracle),
            &full_workload(),
            (&first, &second),
            &mut coverage,
        ));
    }
    eprintln!(
        "seeds 3, 4: {} images opened, {} distinct",
        coverage.opened,
        coverage.images.len()
    );
}

#[test]
fn rolling_an_empty_segment_leaves_it_the_active_one() {
    let append = Step::Append {
        records: 1,
        body_bytes: 500,
    };
    let retain = Step::Retain { bytes: 0 };
    let steps = [
        Step::Roll,
        append,
        Step::Roll,
        Step::Roll,
        append,
        Step::Sync,
        retain,
    ];
    let mut oracle = Oracle::new(Visibility::Synced);
    let disk = new_disk(11);
    let (mut broker, _) = Broker::reopen(&disk, &mut oracle).unwrap();
    broker.run(&steps, &mut oracle).unwrap();
    assert_eq!(broker.log.reader().segments().len(), 1);
    fail_on(check_image(
        &disk.restart_process(),
        &oracle,
        &mut Coverage::default(),
    ));
}
