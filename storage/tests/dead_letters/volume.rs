//! Crashes at volume: any operation, step or sync of the workload, any subset of the unsynced sectors, then the same in the
//! recovery, and in the recovery of that.

use crate::crashes::{CutAt, Plan, TABLE, new_disk, run_until};
use crate::mutants::Order;
use crate::volume_frame::{FirstCut, Volume};

const PLAN: Plan = Plan {
    order: Order::Right,
    ops_more: 1,
    second_each: 0,
    third_each: 0,
};

#[test]
fn dead_letter_cuts() {
    let (_, ops, steps) = run_until(&new_disk(1), PLAN.order, CutAt::Never).unwrap();
    let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
    let volume = Volume {
        name: "dead_letters/volume::dead_letter_cuts",
        rounds: 3_000,
        plan: PLAN,
        table: &TABLE,
        first_cut: &|disk, random| {
            let cut = match random.below(6) {
                0 => CutAt::Step(1 + random.below(steps.len() as u64) as usize),
                1 => CutAt::FailedSync(1 + random.below(ops)),
                _ => CutAt::Op(1 + random.below(ops)),
            };
            let (wreck, _, _) = run_until(disk, PLAN.order, cut)?;
            if wreck.is_done {
                // The operation was no sync.
                return Ok(None);
            }
            let phase = wreck.phase.to_owned();
            let (which, place) = match cut {
                CutAt::Step(step) => ("first crash behind", steps[step - 1].clone()),
                CutAt::FailedSync(_) => ("failed sync in", phase),
                _ => ("first crash in", phase),
            };
            Ok(Some(FirstCut {
                wreck,
                which,
                place,
            }))
        },
    };
    volume.run();
}
