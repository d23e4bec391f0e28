//! The data directory as a whole: its format, its checkpoints, the control log, and all partitions.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::causes::{Causes, LetterSide};
use super::control::ControlFold;
use super::deliveries::{DeliverySide, Entries, Fold, MainVisit};
use super::letters::Letters;
use super::report::{Fault, Finding, Note, Remark, VerifyOptions, VerifyReport};
use super::scan::{LogScan, Scanned, Visit};
use crate::checkpoint::{self, CHECKPOINT_VERSION, CheckpointError, LogCheckpoint};
use crate::control::ControlState;
use crate::data_dir;
use crate::disk::{DirEntry, Disk, OpenMode, read_exact_at};
use crate::error::LogError;
use crate::log::{Gap, LogPlace};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{FilePosition, Offset};
use crate::partition::settled_up_to;
use crate::segment::resync;

/// Verifies the data directory `root`. Nothing in it is changed.
///
/// # Errors
/// [`LogError::UnknownVersion`] for what a newer program wrote; [`LogError::Io`] when something cannot be read. What is
/// wrong is in the report, not an error.
pub fn verify(
    disk: &Arc<dyn Disk>,
    root: &Path,
    options: &VerifyOptions<'_>,
) -> Result<VerifyReport, LogError> {
    // The lock is held until the end: what is read must not change.
    let (_lock, in_use_by) = data_dir::probe_lock(disk.as_ref(), root)?;
    verify_held(disk, root, options, in_use_by)
}

/// Verifies a directory that this process has, or that `in_use_by` has.
pub(crate) fn verify_held(
    disk: &Arc<dyn Disk>,
    root: &Path,
    options: &VerifyOptions<'_>,
    in_use_by: Option<String>,
) -> Result<VerifyReport, LogError> {
    let mut verifier = Verifier {
        disk,
        root,
        options,
        report: VerifyReport {
            in_use_by,
            ..VerifyReport::default()
        },
        hints: HashMap::new(),
    };
    verifier.run()?;
    Ok(verifier.report)
}

struct Verifier<'a> {
    disk: &'a Arc<dyn Disk>,
    root: &'a Path,
    options: &'a VerifyOptions<'a>,
    report: VerifyReport,
    hints: HashMap<LogId, LogCheckpoint>,
}

impl Verifier<'_> {
    fn run(&mut self) -> Result<(), LogError> {
        let entries = self
            .disk
            .list(self.root)
            .map_err(|source| LogError::io("list", self.root, source))?;
        self.format()?;
        self.checkpoints(&entries)?;
        let state = self.control()?;
        let partitions = partitions_of(&entries);
        match &state {
            Some(state) => {
                let mut known: Vec<_> = state
                    .topics()
                    .flat_map(|(_, topic)| topic.partitions.iter().copied())
                    .collect();
                known.sort_unstable();
                for number in known {
                    self.partition(number, state)?;
                }
                self.orphans(&partitions, state);
                self.report.name_topics(state);
            }
            // Without the control log the directories say which partitions there are.
            None => {
                for (number, _) in partitions {
                    self.partition(number, &ControlState::default())?;
                }
            }
        }
        Ok(())
    }

    fn format(&mut self) -> Result<(), LogError> {
        let what = match data_dir::read_format(self.disk.as_ref(), self.root) {
            Ok(true) => return Ok(()),
            Ok(false) => "there is no format version: this is no data directory".to_owned(),
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {
                source.to_string()
            }
            Err(error) => return Err(error),
        };
        let path = data_dir::format_path(self.root);
        self.find(
            path,
            None,
            (Offset::ZERO, Offset::ZERO),
            Fault::Format(what),
        );
        Ok(())
    }

    /// Reads every checkpoint slot, and keeps the entries of the newer one of each shard.
    fn checkpoints(&mut self, entries: &[DirEntry]) -> Result<(), LogError> {
        let shards = entries
            .iter()
            .filter_map(|entry| data_dir::parse_checkpoint(&entry.name));
        let mut shards: Vec<_> = shards.map(|(shard, _)| shard).collect();
        shards.dedup();
        for shard in shards {
            self.shard(data_dir::checkpoint_paths(self.root, shard))?;
        }
        Ok(())
    }

    fn shard(&mut self, paths: [PathBuf; 2]) -> Result<(), LogError> {
        let mut newest = None;
        let mut torn = Vec::new();
        for path in paths {
            let Some(bytes) = self.read_slot(&path)? else {
                continue;
            };
            match checkpoint::decode(&bytes) {
                Ok((sequence, entries)) => {
                    if newest.as_ref().is_none_or(|(newest, _)| sequence > *newest) {
                        newest = Some((sequence, entries));
                    }
                }
                Err(CheckpointError::Corrupt(reason)) => torn.push((path, reason)),
                Err(CheckpointError::UnknownVersion(found)) => {
                    let known = CHECKPOINT_VERSION;
                    return Err(LogError::UnknownVersion { path, found, known });
                }
            }
        }
        // The very first write of a shard may be torn; of two slots that were written one is always whole.
        let is_lost = torn.len() > 1 && self.report.in_use_by.is_none();
        for (path, reason) in torn {
            if is_lost {
                let range = (Offset::ZERO, Offset::ZERO);
                self.find(path, None, range, Fault::Checkpoint(reason));
            } else {
                self.report.note(Note {
                    path,
                    log: None,
                    offset: Offset::ZERO,
                    what: Remark::TornSlot(reason),
                });
            }
        }
        let (_, entries) = newest.unwrap_or_default();
        self.hints
            .extend(entries.into_iter().map(|entry| (entry.id, entry)));
        Ok(())
    }

    /// Reads a slot; `None` for one that was never written.
    fn read_slot(&self, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
        let file = match self.disk.open(path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| LogError::io("open", path, source))?,
        };
        let read = file.byte_count().and_then(|count| {
            let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
            read_exact_at(file.as_ref(), &mut bytes, 0).map(|()| bytes)
        });
        let bytes = read.map_err(|source| LogError::io("read", path, source))?;
        Ok((!resync::is_zero(&bytes)).then_some(bytes))
    }

    fn control(&mut self) -> Result<Option<ControlState>, LogError> {
        let place = self.place(LogId::CONTROL);
        let log_start = self.first_base(&place)?;
        let mut fold = ControlFold::new(log_start);
        let scanned = self.scan(&place, &[], &mut fold)?;
        if fold.is_broken() {
            return Ok(None);
        }
        let state = fold.finish();
        if state.is_none() && !scanned.is_damaged {
            let range = (Offset::ZERO, scanned.log_start);
            self.find(place.dir, Some(place.id), range, Fault::ControlHeadMissing);
        }
        Ok(state)
    }

    /// Returns where the log begins: as its checkpoint says, or at its first segment.
    fn first_base(&self, place: &LogPlace) -> Result<Offset, LogError> {
        if let Some(hint) = self.hints.get(&place.id) {
            return Ok(hint.log_start);
        }
        let entries = match self.disk.list(&place.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offset::ZERO),
            listed => listed.map_err(|source| LogError::io("list", &place.dir, source))?,
        };
        let parsed = entries
            .iter()
            .find_map(|entry| crate::segment::file_name::parse(&entry.name));
        Ok(parsed.map_or(Offset::ZERO, |(base, _)| base))
    }

    /// Verifies the logs of a partition: the dead-letter log first, which the main log's causes are checked against.
    fn partition(&mut self, number: PartitionNumber, state: &ControlState) -> Result<(), LogError> {
        if self
            .options
            .partition
            .is_some_and(|wanted| wanted != number)
        {
            return Ok(());
        }
        self.report.counts.partitions = self.report.counts.partitions.saturating_add(1);
        let is_live = self.report.in_use_by.is_some();
        let dead_letters = self.place(LogId::new(number, LogKind::DeadLetter));
        let hints = std::mem::take(&mut self.hints);
        let hint = hints.get(&dead_letters.id);
        let exists = hint.is_some() || self.exists(&dead_letters)?;
        let side = if exists {
            let mut letters = Letters::new(&dead_letters, hint, is_live);
            let gaps = gaps_of(state, dead_letters.id);
            let scanned = self.scan_with(&dead_letters, hint, &gaps, &mut letters)?;
            letters.finish(&scanned, &mut self.report)?;
            let log = dead_letters.id;
            Some(LetterSide {
                log,
                letters,
                scanned,
            })
        } else {
            None
        };
        let delivery = self.place(LogId::new(number, LogKind::Delivery));
        let delivery_gaps = gaps_of(state, delivery.id);
        let delivery_hint = hints.get(&delivery.id);
        let mut entries = Entries::default();
        let scanned = self.scan_with(&delivery, delivery_hint, &delivery_gaps, &mut entries)?;
        let mut deliveries = DeliverySide::new(&delivery, entries, scanned, &mut self.report);
        let main = self.place(LogId::new(number, LogKind::Main));
        let hint = hints.get(&main.id);
        let mut causes = Causes::new(side, settled_up_to(hint), is_live);
        let mut visit = MainVisit {
            causes: &mut causes,
            deliveries: &mut deliveries,
        };
        let scanned = self.scan_with(&main, hint, &gaps_of(state, main.id), &mut visit)?;
        let main_end = (!scanned.is_damaged && !is_live).then_some(scanned.log_end);
        let mut fold = Fold {
            side: &mut deliveries,
            main_end,
        };
        // What is to be said of the log itself was said when it was read first.
        let report = self.report.clone();
        let folded = self.scan_with(&delivery, delivery_hint, &delivery_gaps, &mut fold);
        self.report = report;
        folded?;
        deliveries.finish(&scanned, causes.side.as_ref(), &mut self.report);
        causes.finish(&main, &scanned, &mut self.report);
        self.hints = hints;
        Ok(())
    }

    /// Partition directories that no topic has.
    fn orphans(&mut self, partitions: &[(PartitionNumber, &str)], state: &ControlState) {
        for (number, name) in partitions {
            if state.partition(*number).is_some() {
                continue;
            }
            let path = self.root.join(name);
            if *number < state.next_partition() {
                self.report.note(Note {
                    path,
                    log: None,
                    offset: Offset::ZERO,
                    what: Remark::ToBeDeleted,
                });
            } else if self.report.in_use_by.is_none() {
                let range = (Offset::ZERO, Offset::ZERO);
                self.find(path, None, range, Fault::UnknownPartition);
            }
        }
    }

    fn scan(
        &mut self,
        place: &LogPlace,
        gaps: &[Gap],
        visit: &mut dyn Visit,
    ) -> Result<Scanned, LogError> {
        let hint = self.hints.get(&place.id).cloned();
        self.scan_with(place, hint.as_ref(), gaps, visit)
    }

    fn scan_with(
        &mut self,
        place: &LogPlace,
        hint: Option<&LogCheckpoint>,
        gaps: &[Gap],
        visit: &mut dyn Visit,
    ) -> Result<Scanned, LogError> {
        let is_live = self.report.in_use_by.is_some();
        let scan = LogScan {
            place,
            hint,
            gaps,
            is_live,
            report: &mut self.report,
            visit,
            progress: self.options.progress,
            scanned: Scanned::default(),
        };
        scan.run()
    }

    fn exists(&self, place: &LogPlace) -> Result<bool, LogError> {
        match self.disk.list(&place.dir) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(LogError::io("list", &place.dir, source)),
        }
    }

    fn place(&self, id: LogId) -> LogPlace {
        LogPlace {
            disk: Arc::clone(self.disk),
            root: self.root.to_path_buf(),
            dir: data_dir::log_dir(self.root, id),
            id,
        }
    }

    fn find(
        &mut self,
        path: PathBuf,
        log: Option<LogId>,
        (from, to): (Offset, Offset),
        what: Fault,
    ) {
        self.report.find(Finding {
            path,
            position: FilePosition(0),
            log,
            from,
            to,
            what,
        });
    }
}

fn gaps_of(state: &ControlState, log: LogId) -> Vec<Gap> {
    let gap = |gap: crate::control::Gap| Gap {
        from: gap.from,
        to: gap.to,
    };
    state.gaps_of(log).map(gap).collect()
}

/// Returns the partition directories, with their names.
fn partitions_of(entries: &[DirEntry]) -> Vec<(PartitionNumber, &str)> {
    entries
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| Some((data_dir::parse_partition(&entry.name)?, entry.name.as_str())))
        .collect()
}
