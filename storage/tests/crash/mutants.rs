//! Each sync, truncation and directory sync is needed: without it, a check fails.

use storage::disk::Site;
use storage::disk::sim::{SimDisk, Survival};
use storage::log::Visibility;

use crate::broker::{Crash, full_workload, new_disk};
use crate::faults::{fail_every_sync, heal_everywhere};
use crate::oracle::{Broken, Oracle};
use crate::power::{CRASHES, Coverage, crash_everywhere, crash_in_new_segment, crash_twice};

/// Sites that neither a log nor its checkpoints have.
const ELSEWHERE: [Site; 1] = [Site::DataDir];

type Check = fn(&SimDisk, &Oracle) -> Result<(), Broken>;

const CHECKS: [(&str, Check); 5] = [
    ("one crash", |disk, oracle| {
        crash_everywhere(disk, oracle, &full_workload(), &mut Coverage::default())
    }),
    ("failed write", |disk, oracle| {
        heal_everywhere(disk, oracle, &mut Coverage::default())
    }),
    ("failed sync", |disk, oracle| {
        fail_every_sync(disk, oracle, &mut Coverage::default()).map(drop)
    }),
    ("new segment", |disk, oracle| {
        crash_in_new_segment(disk, oracle, &mut Coverage::default())
    }),
    ("two crashes", |disk, oracle| {
        let first = [Crash::Kill, Crash::Power(Survival::Random(1))];
        let steps = full_workload();
        crash_twice(
            (disk, oracle),
            &steps,
            (&first, &CRASHES),
            &mut Coverage::default(),
        )
    }),
];

#[test]
fn every_sync_that_is_left_out_breaks_a_promise() {
    let mut missed = Vec::new();
    for site in Site::ALL
        .into_iter()
        .filter(|site| !ELSEWHERE.contains(site))
    {
        let disk = new_disk(10);
        disk.lie_at(site);
        let oracle = Oracle::new(Visibility::Synced);
        let caught = CHECKS
            .iter()
            .find_map(|(name, check)| Some((name, check(&disk, &oracle).err()?)));
        match caught {
            Some((name, Broken { check, seen })) => {
                let seen = seen.lines().next().unwrap_or_default();
                eprintln!(
                    "{site:?} -> {name}: {check}: {}",
                    seen.chars().take(160).collect::<String>()
                );
            }
            None => missed.push(site),
        }
    }
    assert_eq!(missed, [], "nothing needs these, or nothing checks them");
}
