//! Crashes at volume: any operation or sync of the workload, any subset of the unsynced sectors, then the same in the
//! recovery, and in the recovery of that.

use storage::disk::sim::SimDisk;

use crate::crashes::{
    Coverage, CutAt, KINDS, Kind, Plan, Wreck, live, new_disk, recover, run_until,
};
use crate::hold::Hold;
use crate::mutants::Order;
use crate::oracle::{Broken, Stop};

/// First cuts of the merge-sized set.
const ROUNDS: u64 = 1_200;
/// Images that are drawn behind each first cut.
const IMAGES: u64 = 6;
/// So many crashes leave no cell of the table empty.
const FULL_TABLE: u64 = 60_000;
const PLAN: Plan = Plan {
    order: Order::Right,
    ops_more: 1,
    second_each: 0,
    third_each: 0,
    recovery_step: 1,
};

/// A small generator that is the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn kind(&mut self) -> Kind {
        // What is decided sector by sector has the most images.
        match self.below(10) {
            0 => Kind::Nothing,
            1 => Kind::Everything,
            2 => Kind::Kill,
            3 | 4 => Kind::NoCheckpoint,
            _ => Kind::Random,
        }
    }
}

fn first_cut(
    disk: &SimDisk,
    ops: u64,
    random: &mut Random,
) -> Result<Option<(Wreck, &'static str)>, Broken> {
    let (cut, which) = match random.below(6) {
        0 => (CutAt::FailedSync(1 + random.below(ops)), "failed sync"),
        _ => (CutAt::Op(1 + random.below(ops)), "first crash"),
    };
    let (wreck, _) = run_until(disk, PLAN.order, cut)?;
    // Where nothing failed the operation was no sync.
    Ok((!wreck.is_done).then_some((wreck, which)))
}

/// Crashes the recovery of a wreck somewhere.
fn crash_again(wreck: &Wreck, ops: u64, random: &mut Random) -> Result<(Wreck, Kind), Broken> {
    let mut again = wreck.copy();
    again
        .disk
        .cut_power_at(again.disk.op_count() + 1 + random.below(ops + 1));
    if let Err(Stop::Broken(broken)) = live(&mut again, PLAN.order, PLAN.ops_more) {
        return Err(broken);
    }
    let kind = random.kind();
    Ok((again.crashed(kind, random.next()), kind))
}

fn round(ops: u64, seed: u64, coverage: &mut Coverage) -> Result<u64, Broken> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let Some((cut_off, which)) = first_cut(&new_disk(seed), ops, &mut random)? else {
        return Ok(0);
    };
    let mut cuts = 0;
    for _ in 0..IMAGES {
        let kind = random.kind();
        let mut wreck = cut_off.crashed(kind, random.next());
        coverage.count(which, &wreck, kind);
        cuts += 1;
        let mut ops = recover(&wreck, PLAN, PLAN.ops_more, coverage)?;
        coverage.is_new(&wreck);
        for name in ["second crash", "third crash"] {
            if random.below(2) == 0 {
                break;
            }
            let (next, kind) = crash_again(&wreck, ops, &mut random)?;
            coverage.count(name, &next, kind);
            coverage.is_new(&next);
            cuts += 1;
            ops = recover(&next, PLAN, PLAN.ops_more, coverage)?;
            wreck = next;
        }
    }
    Ok(cuts)
}

#[test]
fn delivery_cuts() {
    let mut hold = Hold::begin("push/volume::delivery_cuts");
    let (_, ops) = run_until(&new_disk(1), PLAN.order, CutAt::Never).unwrap();
    let mut coverage = Coverage::default();
    let (mut done, mut cuts) = (0, 0);
    while hold.goes_on(done, ROUNDS) {
        let seed = hold.seed().wrapping_add(done);
        match round(ops, seed, &mut coverage) {
            Ok(more) => cuts += more,
            Err(broken) => panic!("seed {seed}: {broken:?}\n{}", hold.replay(seed)),
        }
        done += 1;
    }
    let empty = coverage.print();
    if cuts > FULL_TABLE {
        assert_eq!(empty, Vec::<String>::new(), "no crash came there");
    }
    assert!(cuts > KINDS.len() as u64);
    hold.count("cuts", cuts);
    hold.count("distinct_images", coverage.images.len() as u64);
    hold.count("distinct_states", coverage.met.len() as u64);
    hold.count("recoveries", coverage.lives);
    hold.end(env!("CARGO_TARGET_TMPDIR"));
}
