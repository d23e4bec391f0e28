//! Crashes at volume: any operation or sync of the workload, any subset of the unsynced sectors, then the same in the
//! recovery, and in the recovery of that.

use crate::crashes::{CutAt, Plan, TABLE, new_disk, run_until};
use crate::mutants::Order;
use crate::volume_frame::{FirstCut, Volume};

const PLAN: Plan = Plan {
    order: Order::Right,
    ops_more: 1,
    second_each: 0,
    third_each: 0,
    recovery_step: 1,
};

#[test]
fn delivery_cuts() {
    let (_, ops) = run_until(&new_disk(1), PLAN.order, CutAt::Never).unwrap();
    let volume = Volume {
        name: "push/volume::delivery_cuts",
        rounds: 1_200,
        plan: PLAN,
        table: &TABLE,
        first_cut: &|disk, random| {
            let (cut, which) = match random.below(6) {
                0 => (CutAt::FailedSync(1 + random.below(ops)), "failed sync in"),
                _ => (CutAt::Op(1 + random.below(ops)), "first crash in"),
            };
            let (wreck, _) = run_until(disk, PLAN.order, cut)?;
            // Where nothing failed the operation was no sync.
            let place = wreck.phase.to_owned();
            Ok((!wreck.is_done).then_some(FirstCut {
                wreck,
                which,
                place,
            }))
        },
    };
    volume.run();
}
