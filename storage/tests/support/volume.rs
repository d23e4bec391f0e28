//! Crashes at volume: somewhere in the workload, with any subset of the unsynced sectors, then somewhere in the recovery, and
//! in the recovery of that. A suite that takes this file in has the modules `coverage`, `crashes`, `hold` and `oracle`.

use storage::disk::sim::SimDisk;

use crate::coverage::{Coverage, KINDS, Kind, Row};
use crate::crashes::{Plan, Wreck, live, new_disk, recover};
use crate::hold::Hold;
use crate::oracle::{Broken, Stop};

/// Images that are drawn behind each first cut.
const IMAGES: u64 = 6;
/// So many crashes leave no cell of the table empty.
const FULL_TABLE: u64 = 60_000;

/// A small generator that is the same everywhere (xorshift64*).
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
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

/// A first crash: what is left of the run, which crash it was and where it came.
pub struct FirstCut {
    pub wreck: Wreck,
    pub which: &'static str,
    pub place: String,
}

/// A suite of crashes at volume.
pub struct Volume<'a> {
    /// The test binary's name and, after a slash, the test's.
    pub name: &'static str,
    /// First cuts of the merge-sized set.
    pub rounds: u64,
    pub plan: Plan,
    pub table: &'a [Row],
    /// Cuts a run of the workload on this disk; `None` where nothing came of it.
    pub first_cut: &'a FirstCutOf<'a>,
}

type FirstCutOf<'a> = dyn Fn(&SimDisk, &mut Random) -> Result<Option<FirstCut>, Broken> + 'a;

impl Volume<'_> {
    /// Goes on for as long as the run is to take.
    pub fn run(&self) {
        let mut hold = Hold::begin(self.name);
        let mut coverage = Coverage::default();
        let mut done = 0;
        while hold.goes_on(done, self.rounds) {
            let seed = hold.seed().wrapping_add(done);
            if let Err(broken) = self.round(seed, &mut coverage) {
                panic!("seed {seed}: {broken:?}\n{}", hold.replay(seed));
            }
            done += 1;
        }
        let empty = coverage.print(self.table);
        if coverage.cuts > FULL_TABLE {
            assert_eq!(empty, Vec::<String>::new(), "no crash came there");
        }
        assert!(coverage.cuts > KINDS.len() as u64);
        hold.count("cuts", coverage.cuts);
        hold.count("distinct_images", coverage.images.len() as u64);
        hold.count("distinct_states", coverage.met.len() as u64);
        hold.count("recoveries", coverage.lives);
        hold.end(env!("CARGO_TARGET_TMPDIR"));
    }

    fn round(&self, seed: u64, coverage: &mut Coverage) -> Result<(), Broken> {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let Some(first) = (self.first_cut)(&new_disk(seed), &mut random)? else {
            return Ok(());
        };
        for _ in 0..IMAGES {
            let kind = random.kind();
            let mut wreck = first.wreck.crashed(kind, random.next());
            coverage.count(first.which, first.place.clone(), kind);
            let mut ops = recover(&wreck, self.plan, self.plan.ops_more, coverage)?;
            coverage.is_new(&wreck);
            for name in ["second crash in", "third crash in"] {
                if random.below(2) == 0 {
                    break;
                }
                let (next, kind) = self.crash_again(&wreck, ops, &mut random)?;
                coverage.count(name, next.phase, kind);
                coverage.is_new(&next);
                ops = recover(&next, self.plan, self.plan.ops_more, coverage)?;
                wreck = next;
            }
        }
        Ok(())
    }

    /// Crashes the recovery of a wreck somewhere.
    fn crash_again(
        &self,
        wreck: &Wreck,
        ops: u64,
        random: &mut Random,
    ) -> Result<(Wreck, Kind), Broken> {
        let mut again = wreck.copy();
        let at = again.disk.op_count() + 1 + random.below(ops + 1);
        again.disk.cut_power_at(at);
        if let Err(Stop::Broken(broken)) = live(&mut again, self.plan.order, self.plan.ops_more) {
            return Err(broken);
        }
        let kind = random.kind();
        Ok((again.crashed(kind, random.next()), kind))
    }
}
