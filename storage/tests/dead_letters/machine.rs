//! The workload: a partition with its checkpoints, used as a broker uses them, and told to the oracle step by step.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use storage::batch::BatchHeader;
use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::data_dir::checkpoint_paths;
use storage::dead_letter::{DeadLetter, PlacedLetter};
use storage::error::LogError;
use storage::log::{LogConfig, RetentionPolicy};
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{
    Hooks, Outcome, Partition, PartitionConfig, PartitionHints, PartitionPlace, PartitionReport,
    RecentBatches, RejectOutcome, Rejection, Resolver, Step, Who, prepare_letter,
};

use crate::mutants::Order;
use crate::oracle::{Fate, Flight, Letter, Of, Oracle, Stop, ensure};
use crate::watch::Watch;
use crate::workload::{Op, batch_of};

pub const NOW: TimestampMs = TimestampMs(1_000_000);
const ROOT: &str = "/data";
/// A directory that nothing else syncs.
pub const CHECKPOINTS: &str = "/data/.checkpoints";
const NUMBER: PartitionNumber = PartitionNumber(1);
const SEGMENT_BYTES: u32 = 1500;
pub const WHO: Who<'static> = Who {
    name: "tester",
    request_id: Some("request"),
};

pub const EVERYTHING: RetentionPolicy = RetentionPolicy {
    retention_ms: None,
    retention_bytes: Some(0),
};

/// A running broker: one partition and its checkpoints.
#[derive(Debug)]
pub struct Machine<'a> {
    pub owner: Mutex<Partition>,
    pub store: CheckpointStore,
    pub stored: HashMap<LogKind, LogCheckpoint>,
    pub watch: &'a Watch,
    pub order: Order,
}

impl<'a> Machine<'a> {
    pub fn open(watch: &'a Watch, order: Order) -> Result<(Self, PartitionReport), Stop> {
        watch.phase.set("open");
        let opened = Self::try_open(watch, order);
        opened.map_err(|error| watch.stop(&error))
    }

    fn try_open(watch: &'a Watch, order: Order) -> Result<(Self, PartitionReport), LogError> {
        let root = PathBuf::from(ROOT);
        let (store, entries) =
            CheckpointStore::open(&watch.disk, checkpoint_paths(Path::new(CHECKPOINTS), 0))?;
        let stored: HashMap<_, _> = entries
            .into_iter()
            .map(|entry| (entry.id.kind, entry))
            .collect();
        let hints = PartitionHints {
            main: stored.get(&LogKind::Main).cloned(),
            dead_letters: stored.get(&LogKind::DeadLetter).cloned(),
            ..PartitionHints::default()
        };
        let log = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            ..LogConfig::default()
        };
        let config = PartitionConfig {
            main: log.clone(),
            dead_letters: log,
            ..PartitionConfig::default()
        };
        let place = PartitionPlace {
            disk: Arc::new(watch.disk.clone()),
            root,
            number: NUMBER,
        };
        let (partition, report) = Partition::open(&place, config, &hints, NOW)?;
        let owner = Mutex::new(partition);
        Ok((
            Self {
                owner,
                store,
                stored,
                watch,
                order,
            },
            report,
        ))
    }

    pub fn run(&mut self, op: Op, oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set(match op {
            Op::Produce(_) | Op::Burst(_) => "produce",
            Op::Reject(_) => "reject",
            Op::Republish(_) => "republish",
            Op::Delete(_) => "delete",
            Op::RetainMain => "main retention",
            Op::RetainLetters => "dead-letter retention",
            Op::Checkpoint => "checkpoint",
        });
        match op {
            Op::Produce(count) => self.produce(1, count, oracle),
            Op::Burst(count) => self.produce(count, 1, oracle),
            Op::Reject(all) => {
                let first = oracle.letters.len();
                let letter = Letter {
                    at: None,
                    fate: Fate::Live,
                };
                oracle.letters.extend(all.iter().map(|_| letter));
                let numbered: Vec<_> = (first..).zip(all.iter().copied()).collect();
                self.reject(&numbered, oracle)
            }
            Op::Republish(letters) => self.republish(letters, oracle),
            Op::Delete(letters) => self.delete(letters, oracle),
            Op::RetainMain => self.retain(LogKind::Main, oracle),
            Op::RetainLetters => self.retain(LogKind::DeadLetter, oracle),
            Op::Checkpoint => self.checkpoint(None),
        }
    }

    /// Repeats every request of `ops`, as callers do who do not know whether they were heard. Records are not produced
    /// again, and what was rejected is rejected again only while the letter is live or was never heard of.
    pub fn repeat(&mut self, ops: &[Op], oracle: &mut Oracle) -> Result<(), Stop> {
        let mut letter = 0;
        for op in ops {
            self.watch.phase.set("repeat");
            match op {
                Op::Reject(all) => {
                    let is_live = |letter: usize| {
                        oracle.letters[letter].fate == Fate::Live && !oracle.is_expired(letter)
                    };
                    let numbered = (letter..).zip(all.iter().copied());
                    let live: Vec<_> = numbered.filter(|(letter, _)| is_live(*letter)).collect();
                    self.reject(&live, oracle)?;
                    letter += all.len();
                }
                Op::Republish(letters) => self.republish(letters, oracle)?,
                Op::Delete(letters) => self.delete(letters, oracle)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn produce(&mut self, batches: usize, records: usize, oracle: &mut Oracle) -> Result<(), Stop> {
        let first = oracle.produced.len();
        let count = batches * records;
        oracle.produced.extend(vec![None; count]);
        oracle.flight = Some(Flight::Produce { first, count });
        let stop = |error| self.watch.stop(&error);
        let mut offsets = Vec::new();
        for batch in 0..batches {
            let at = first + batch * records;
            let mut batch = batch_of(at..at + records);
            let header = BatchHeader::decode(&batch).unwrap();
            let mut partition = self.owner.lock();
            if partition.main().needs_roll(u64::from(header.length), NOW) {
                partition.main_mut().roll().map_err(stop)?;
            }
            let appended = partition.main_mut().append(&header, &mut batch, NOW);
            let base = appended.map_err(stop)?.base_offset.0;
            offsets.extend((0..records as u64).map(|delta| Some(Offset(base + delta))));
        }
        self.sync(LogKind::Main).map_err(stop)?;
        oracle.produced.truncate(first);
        oracle.produced.extend(offsets);
        oracle.flight = None;
        Ok(())
    }

    fn reject(&mut self, all: &[(usize, Of)], oracle: &mut Oracle) -> Result<(), Stop> {
        let main = self.owner.lock().main().reader();
        let mut letters = Vec::new();
        let mut prepared = Vec::new();
        for (letter, from) in all {
            let there = oracle.at(*from).filter(|at| *at >= main.log_start());
            if let Some(offset) = there {
                letters.push(*letter);
                prepared.push(self.prepare(*letter, offset)?);
            }
        }
        if letters.is_empty() {
            return Ok(());
        }
        oracle.flight = Some(Flight::Reject(letters.clone()));
        let outcomes = if self.order == Order::RejectAnsweredBeforeSync {
            self.reject_at_once(&prepared, oracle, &letters)
        } else {
            let after = |step| self.watch.after(step);
            let (outcomes, error) = self.resolver(&after).reject(&prepared);
            error.map_or(Ok(outcomes), Err)
        };
        let outcomes = outcomes.map_err(|error| self.watch.stop(&error))?;
        for (letter, outcome) in letters.into_iter().zip(outcomes) {
            let before = oracle.letters[letter].at;
            let is_repeat = matches!(outcome, RejectOutcome::Live { .. });
            ensure(
                is_repeat == before.is_some() || self.order != Order::Right,
                "a live letter is rejected once",
                || format!("letter {letter} at {before:?}: {outcome:?}"),
            )?;
            oracle.rejected(letter, outcome.letter())?;
        }
        oracle.flight = None;
        Ok(())
    }

    fn prepare(&self, letter: usize, offset: Offset) -> Result<DeadLetter, Stop> {
        let main = self.owner.lock().main().reader();
        let reason = format!("letter {letter}");
        let rejection = Rejection {
            topic: "t",
            partition_index: 0,
            group: "g",
            offset,
            reason: &reason,
            details: None,
        };
        prepare_letter(&main, &mut RecentBatches::default(), &rejection, NOW)
            .map_err(|error| self.watch.stop(&error))
    }

    /// Claims, appends, syncs, answers, marks. Letters past their retention, which nobody can load, are asked for all the same.
    fn republish(&mut self, letters: &[usize], oracle: &mut Oracle) -> Result<(), Stop> {
        let batch = self.load(letters, oracle)?;
        let is_live = |letter: &&usize| oracle.letters[**letter].fate == Fate::Live;
        let there = letters.iter().filter(|letter| {
            batch
                .iter()
                .any(|(at, _)| oracle.letters[**letter].at == Some(*at))
        });
        oracle.flight = Some(Flight::Republish(there.filter(is_live).copied().collect()));
        if self.order.is_of_republish() {
            return self.republish_in_order(batch, oracle);
        }
        let after = |step| self.watch.after(step);
        let (outcomes, committed) = self.resolver(&after).republish(&batch);
        self.answer(&outcomes.letters, outcomes.error, true, oracle)?;
        if let Some(committed) = committed {
            let finished = self.resolver(&after).finish(&[committed]);
            finished.map_err(|error| self.watch.stop(&error))?;
        }
        Ok(())
    }

    fn load(&self, letters: &[usize], oracle: &Oracle) -> Result<Vec<PlacedLetter>, Stop> {
        let view = self
            .owner
            .lock()
            .dead_letters()
            .map(storage::dead_letter::DeadLetterLog::view);
        let Some(view) = view else {
            return Ok(Vec::new());
        };
        let mut loaded = Vec::new();
        for letter in letters {
            let Some(at) = oracle.letters.get(*letter).and_then(|letter| letter.at) else {
                continue;
            };
            match view.get(at) {
                Ok(Some(found)) => loaded.push((at, found)),
                Ok(None) => {
                    ensure(oracle.is_expired(*letter), "a letter can be read", || {
                        format!("letter {letter} at {at}")
                    })?;
                }
                Err(_) if oracle.is_expired(*letter) && !self.watch.is_cut() => {}
                Err(error) => return Err(self.watch.stop(&error)),
            }
        }
        Ok(loaded)
    }

    fn answer(
        &self,
        answers: &[(Offset, Outcome)],
        error: Option<LogError>,
        is_retry: bool,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        for (at, outcome) in answers {
            if *outcome != Outcome::Failed || !self.watch.is_cut() {
                oracle.answered(*at, *outcome, is_retry)?;
            }
        }
        if answers
            .iter()
            .all(|(_, outcome)| *outcome != Outcome::Failed)
        {
            oracle.flight = None;
            return Ok(());
        }
        Err(error.map_or(Stop::Cut, |error| self.watch.stop(&error)))
    }

    fn delete(&mut self, letters: &[usize], oracle: &mut Oracle) -> Result<(), Stop> {
        let known: Vec<_> = letters
            .iter()
            .filter_map(|letter| Some((*letter, oracle.letters.get(*letter)?.at?)))
            .collect();
        let offsets: Vec<_> = known.iter().map(|(_, at)| *at).collect();
        let is_live =
            |letter: usize| oracle.letters[letter].fate == Fate::Live && !oracle.is_expired(letter);
        let live: Vec<_> = known
            .iter()
            .map(|(letter, _)| *letter)
            .filter(|letter| is_live(*letter))
            .collect();
        oracle.flight = Some(Flight::Delete(live.clone()));
        if self.order == Order::DeleteAnsweredBeforeSync && !live.is_empty() {
            return self.delete_at_once(&live, oracle);
        }
        let outcomes = self
            .resolver(&|step| self.watch.after(step))
            .delete(&offsets);
        self.answer(&outcomes.letters, outcomes.error, false, oracle)
    }

    pub fn resolver<'s>(&'s self, after: &'s dyn Fn(Step)) -> Resolver<'s> {
        let hooks = Hooks {
            now: &|| NOW,
            after,
            wait: &|| panic!("nobody else is at it"),
        };
        Resolver {
            owner: &self.owner,
            who: WHO,
            hooks,
        }
    }
}
