//! Giving up a damaged range: the one way in which acknowledged data is ever dropped, on an operator's order.
//!
//! # Invariants
//! 1. Only offsets that cannot be read are given up, whole damaged ranges at a time; anything else is refused before a byte
//!    is written.
//! 2. The entry in the control log is the commit point. What is done before it can be done again; nothing follows it.
//! 3. Nothing of the control log is given up: nothing else knows what it held.
//!
//! With a range of a dead-letter log, letters and markers are gone. What a lost marker resolved is live again unless the main
//! log still holds the record that came of it: the checkpoint's word about settled causes is taken back, so that the next
//! start looks at all of them and writes the markers anew.

use std::path::Path;
use std::sync::Arc;

use super::{RepairError, examine};
use crate::checkpoint::CheckpointStore;
use crate::control::{ControlLog, Entry, Gap};
use crate::data_dir;
use crate::disk::{Disk, Site};
use crate::error::LogError;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};
use crate::verify::VerifyReport;

/// What to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// The partition.
    pub partition: PartitionNumber,
    /// Which of its logs.
    pub kind: LogKind,
    /// First offset to give up.
    pub from: Offset,
    /// First offset behind them (exclusive end).
    pub to: Offset,
}

/// What was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The log.
    pub log: LogId,
    /// The ranges that are lost by this, each with an exclusive end; without those that had been given up before.
    pub lost: Vec<(Offset, Offset)>,
}

impl Repaired {
    /// Returns how many offsets are lost.
    #[must_use]
    pub fn lost_count(&self) -> u64 {
        let counts = self
            .lost
            .iter()
            .map(|(from, to)| to.since(*from).unwrap_or(0));
        counts.fold(0, u64::saturating_add)
    }
}

/// Gives up a damaged range of a log, while no broker has the directory. `program` and `pid` name this process to others.
///
/// # Errors
/// [`RepairError`]. Nothing was given up, unless the control log says that it is unknown whether it was.
pub fn repair(
    disk: &Arc<dyn Disk>,
    root: &Path,
    (program, pid): (&str, u32),
    request: &Repair,
    now: TimestampMs,
) -> Result<Repaired, RepairError> {
    if request.kind == LogKind::Control {
        return Err(RepairError::ControlLog);
    }
    let (_held, report) = examine(disk, root, (program, pid), Some(request.partition))?;
    let log = LogId::new(request.partition, request.kind);
    let mut shards = open_checkpoints(disk.as_ref(), root)?;
    let hint = shards
        .iter()
        .flat_map(|(_, entries)| entries)
        .find(|entry| entry.id == LogId::CONTROL);
    let (mut control, _) = ControlLog::open(Arc::clone(disk), root, hint, now)?;
    let gaps: Vec<_> = control.state().gaps_of(log).collect();
    let lost = ranges_to_lose(&report, &gaps, log, request)?;
    if lost.is_empty() {
        return Ok(Repaired { log, lost });
    }
    if request.kind == LogKind::DeadLetter {
        forget_hints(disk.as_ref(), root, log, &mut shards)?;
    }
    let (from, to) = (request.from, request.to);
    control.change(&Entry::Gap(Gap { log, from, to }), now)?;
    Ok(Repaired { log, lost })
}

/// Returns the damaged ranges that the request names, or refuses it.
fn ranges_to_lose(
    report: &VerifyReport,
    gaps: &[Gap],
    log: LogId,
    request: &Repair,
) -> Result<Vec<(Offset, Offset)>, RepairError> {
    let damaged = report
        .findings
        .iter()
        .filter(|finding| finding.log == Some(log) && finding.what.is_unreadable())
        .map(|finding| (finding.from, finding.to));
    let mut lost: Vec<_> = damaged
        .filter(|(from, to)| *from < request.to && request.from < *to)
        .collect();
    lost.sort_unstable();
    if let Some((from, to)) = lost
        .iter()
        .find(|(from, to)| *from < request.from || request.to < *to)
    {
        let (from, to) = (*from, *to);
        return Err(RepairError::Partial { log, from, to });
    }
    let mut covered = lost.clone();
    covered.extend(gaps.iter().map(|gap| (gap.from, gap.to)));
    covered.sort_unstable();
    let mut next = request.from;
    for (from, to) in covered {
        if from > next {
            let to = from.min(request.to);
            return Err(RepairError::NotDamaged {
                log,
                from: next,
                to,
            });
        }
        next = next.max(to);
        if next >= request.to {
            return Ok(lost);
        }
    }
    Err(RepairError::NotDamaged {
        log,
        from: next,
        to: request.to,
    })
}

type Shard = (CheckpointStore, Vec<crate::checkpoint::LogCheckpoint>);

fn open_checkpoints(disk: &dyn Disk, root: &Path) -> Result<Vec<Shard>, LogError> {
    let entries = disk
        .list(root)
        .map_err(|source| LogError::io("list", root, source))?;
    let mut shards: Vec<_> = entries
        .iter()
        .filter_map(|entry| data_dir::parse_checkpoint(&entry.name))
        .map(|(shard, _)| shard)
        .collect();
    shards.dedup();
    shards
        .into_iter()
        .map(|shard| CheckpointStore::open(disk, data_dir::checkpoint_paths(root, shard)))
        .collect()
}

/// Takes back what the checkpoint says about letters and settled causes of a partition, and its facets: all of it is
/// folded again, without what is given up.
fn forget_hints(
    disk: &dyn Disk,
    root: &Path,
    log: LogId,
    shards: &mut [Shard],
) -> Result<(), LogError> {
    for (store, entries) in shards {
        let mut is_changed = false;
        for entry in entries.iter_mut() {
            if entry.id.partition == log.partition && !entry.state.is_empty() {
                entry.state.clear();
                is_changed = true;
            }
        }
        if is_changed {
            store.write(entries)?;
        }
    }
    let dir = data_dir::log_dir(root, log);
    let entries = match disk.list(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(|source| LogError::io("list", &dir, source))?,
    };
    for entry in entries {
        if let Some((_, FileKind::Facets)) = file_name::parse(&entry.name) {
            let path = dir.join(&entry.name);
            disk.remove(&path)
                .map_err(|source| LogError::io("remove", &path, source))?;
        }
    }
    disk.sync_dir(&dir, Site::RecoveryNames)
        .map_err(|source| LogError::io("sync", &dir, source))
}
