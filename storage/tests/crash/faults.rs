//! Writes that fail half-way and are got over, and syncs that fail and are not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::disk::sim::{SimDisk, Survival};
use storage::disk::{Disk, DiskFile, DiskLayer, FileLayer, OpenMode};
use storage::error::PoisonCause;
use storage::log::Visibility;

use crate::broker::{Broker, Crash, Step, full_workload, new_disk};
use crate::oracle::{Broken, Oracle, broken};
use crate::power::{Coverage, at, check_image, fail_on};

const CRASHES: [Crash; 4] = [
    Crash::Kill,
    Crash::Power(Survival::Nothing),
    Crash::Power(Survival::Everything),
    Crash::Power(Survival::Random(9)),
];

/// A simulated disk of which one write fails: half-way, or after all of it.
#[derive(Debug)]
struct FailingDisk {
    disk: SimDisk,
    /// Writes left up to the one that fails, itself included; 0 when it has failed.
    writes_left: Arc<AtomicU64>,
    is_whole: bool,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    writes_left: Arc<AtomicU64>,
    is_whole: bool,
}

impl DiskLayer for FailingDisk {
    fn below(&self) -> &dyn Disk {
        &self.disk
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let (writes_left, is_whole) = (Arc::clone(&self.writes_left), self.is_whole);
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(FailingFile {
            file,
            writes_left,
            is_whole,
        }))
    }
}

impl FileLayer for FailingFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if self.writes_left.load(Ordering::Relaxed) == 0 {
            return self.file.write_all_at(bytes, position);
        }
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) > 1 {
            return self.file.write_all_at(bytes, position);
        }
        let count = if self.is_whole {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        self.file.write_all_at(&bytes[..count], position)?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// Lets each write fail in turn, gets over it, goes on, and crashes at each operation from the failure on.
pub fn heal_everywhere(
    start: &SimDisk,
    oracle: &Oracle,
    coverage: &mut Coverage,
) -> Result<(), Broken> {
    for write in 1.. {
        for is_whole in [false, true] {
            for later_op in 1..=7 {
                if !heal_once((start, oracle), (write, is_whole), later_op, coverage)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Returns whether there were so many writes.
fn heal_once(
    (start, oracle): (&SimDisk, &Oracle),
    (write, is_whole): (u64, bool),
    later_op: u64,
    coverage: &mut Coverage,
) -> Result<bool, Broken> {
    let (disk, mut oracle) = (start.snapshot(), oracle.clone());
    let writes_left = Arc::new(AtomicU64::new(write));
    let failing = Arc::new(FailingDisk {
        disk: disk.clone(),
        writes_left: Arc::clone(&writes_left),
        is_whole,
    });
    let Ok((mut broker, _)) = Broker::open(failing, oracle.visibility) else {
        return Ok(true);
    };
    for step in full_workload().into_iter().take(32) {
        if broker.run(&[step], &mut oracle).is_ok() {
            continue;
        }
        if disk.is_power_cut() {
            break;
        }
        if writes_left.load(Ordering::Relaxed) > 0 {
            return broken("no error without a fault", format!("write {write}"));
        }
        disk.cut_power_at(disk.op_count() + later_op);
        let healed = broker.run(&[Step::Heal, step], &mut oracle);
        if let (Err(stop), false) = (healed, disk.is_power_cut()) {
            return broken("heals", format!("{stop:?} at write {write}"));
        }
    }
    for crash in CRASHES {
        let mut oracle = oracle.clone();
        let image = crash.after(&disk, &mut oracle);
        at(check_image(&image, &oracle, coverage), || {
            format!(
                "failed write {write}, then op {later_op}, {crash:?}\n{}",
                disk.trace()
            )
        })?;
    }
    Ok(writes_left.load(Ordering::Relaxed) == 0)
}

/// Lets each sync fail in turn: nothing is acknowledged behind it, and what is opened then is right.
pub fn fail_every_sync(
    start: &SimDisk,
    oracle: &Oracle,
    coverage: &mut Coverage,
) -> Result<u64, Broken> {
    let mut failed = 0;
    for op in 1.. {
        let (disk, mut oracle) = (start.snapshot(), oracle.clone());
        disk.fail_sync_at(disk.op_count() + op);
        let steps = full_workload();
        match Broker::open(Arc::new(disk.clone()), oracle.visibility) {
            Err(_) => failed += 1,
            Ok((mut broker, report)) => {
                oracle.check(&broker.log, &report)?;
                if broker.run(&steps, &mut oracle).is_err() {
                    failed += 1;
                    let is_removal = failed_a_removal(&disk);
                    at(
                        refuses_after_failed_sync(&mut broker, &mut oracle, is_removal),
                        || format!("op {op}\n{}", disk.trace()),
                    )?;
                } else if disk.op_count() < op {
                    return Ok(failed);
                }
            }
        }
        for crash in CRASHES {
            let mut oracle = oracle.clone();
            let image = crash.after(&disk, &mut oracle);
            at(check_image(&image, &oracle, coverage), || {
                format!("failed sync {op}, {crash:?}\n{}", disk.trace())
            })?;
        }
    }
    Ok(failed)
}

/// Says whether the sync that failed was that of names before retention removes a segment: then both the log and the
/// checkpoints go on, because the log start that rules the segment out is durable already.
fn failed_a_removal(disk: &SimDisk) -> bool {
    let trace = disk.trace();
    let mut failed = trace.lines().filter(|line| line.contains("FAILS"));
    failed.any(|line| line.contains("RecoveryNames"))
}

fn refuses_after_failed_sync(
    broker: &mut Broker,
    oracle: &mut Oracle,
    is_removal: bool,
) -> Result<(), Broken> {
    let durable_end = oracle.durable_end;
    match broker.log.poison() {
        Some(PoisonCause::SyncFailed) => {
            for step in [
                Step::Append {
                    records: 1,
                    body_bytes: 50,
                },
                Step::FinishRoll,
                Step::Roll,
                Step::Heal,
                Step::RunSyncs,
                Step::Sync,
            ] {
                let outcome = broker.run(&[step], oracle);
                if matches!(step, Step::Append { .. } | Step::Roll) && outcome.is_ok() {
                    return broken("poisoned", format!("{step:?}"));
                }
            }
        }
        Some(other) => return broken("poisoned", format!("{other:?}")),
        None => {
            // The checkpoint's sync failed: the log goes on, the checkpoints do not.
            let steps = [
                Step::Append {
                    records: 1,
                    body_bytes: 50,
                },
                Step::Sync,
            ];
            if let Err(stop) = broker.run(&steps, oracle) {
                return broken("goes on", format!("{stop:?}"));
            }
            if broker.run(&[Step::Checkpoint], oracle).is_ok() != is_removal {
                return broken("poisoned", "a checkpoint after a failed sync of one");
            }
            return Ok(());
        }
    }
    if oracle.durable_end > durable_end {
        return broken(
            "nothing acknowledged",
            format!("{} > {durable_end}", oracle.durable_end),
        );
    }
    Ok(())
}

/// Runs on a disk that is full at each size, then gives it space: what was refused works, and nothing was poisoned for good.
fn fill_the_disk(start: &SimDisk, oracle: &Oracle, coverage: &mut Coverage) -> Result<u64, Broken> {
    let mut refused = 0;
    for capacity in (0..30_000).step_by(97) {
        let (disk, mut oracle) = (start.snapshot(), oracle.clone());
        let (mut broker, _) =
            Broker::open(Arc::new(disk.clone()), oracle.visibility).expect("the disk is not full");
        disk.set_capacity_bytes(Some(capacity));
        for step in full_workload() {
            if broker.run(&[step], &mut oracle).is_ok() {
                continue;
            }
            refused += 1;
            for crash in [CRASHES[0], CRASHES[1], CRASHES[3]] {
                let mut oracle = oracle.clone();
                let image = crash.after(&disk, &mut oracle);
                image.set_capacity_bytes(None);
                at(check_image(&image, &oracle, coverage), || {
                    format!("full at {capacity}, {crash:?}\n{}", disk.trace())
                })?;
            }
            disk.set_capacity_bytes(None);
            if let Err(stop) = broker.run(&[Step::Heal, step], &mut oracle) {
                return broken("goes on", format!("{stop:?} after full at {capacity}"));
            }
        }
        let image = CRASHES[1].after(&disk, &mut oracle);
        at(check_image(&image, &oracle, coverage), || {
            format!("after full at {capacity}")
        })?;
    }
    Ok(refused)
}

#[test]
fn a_full_disk_refuses_and_a_disk_with_space_again_goes_on() {
    let mut coverage = Coverage::default();
    match fill_the_disk(
        &new_disk(31),
        &Oracle::new(Visibility::Synced),
        &mut coverage,
    ) {
        Ok(refused) => assert!(refused > 50, "{refused}"),
        Err(broken) => fail_on(Err(broken)),
    }
    eprintln!(
        "seed 31: {} images opened, {} distinct",
        coverage.opened,
        coverage.images.len()
    );
}

#[test]
fn a_failed_write_is_got_over_and_leaves_nothing_behind() {
    let mut coverage = Coverage::default();
    for (seed, visibility) in [(5, Visibility::Synced), (6, Visibility::Written)] {
        fail_on(heal_everywhere(
            &new_disk(seed),
            &Oracle::new(visibility),
            &mut coverage,
        ));
    }
    eprintln!(
        "seeds 5, 6: {} images opened, {} distinct",
        coverage.opened,
        coverage.images.len()
    );
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_and_a_restart_is_right() {
    let mut coverage = Coverage::default();
    for (seed, visibility) in [(7, Visibility::Synced), (8, Visibility::Written)] {
        match fail_every_sync(&new_disk(seed), &Oracle::new(visibility), &mut coverage) {
            Ok(failed) => assert!(failed > 20, "{failed}"),
            Err(broken) => fail_on(Err(broken)),
        }
    }
    eprintln!(
        "seeds 7, 8: {} images opened, {} distinct",
        coverage.opened,
        coverage.images.len()
    );
}
