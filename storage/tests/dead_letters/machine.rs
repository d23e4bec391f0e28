//! The workload: a partition with its checkpoints, used as a broker uses them, and told to the oracle step by step.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::batch::{BatchBuilder, BatchHeader, BrokerMark, BuildOptions, Codec, Record};
use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::data_dir::checkpoint_paths;
use storage::dead_letter::{DeadLetter, PlacedLetter};
use storage::disk::sim::SimDisk;
use storage::error::LogError;
use storage::log::{LogConfig, RetentionPolicy};
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{
    FreshBatch, Hooks, Outcome, Partition, PartitionConfig, PartitionHints, PartitionPlace,
    PartitionReport, RecentBatches, RejectOutcome, Rejection, Republished, Resolver, Step, Who,
    prepare_letter,
};

use crate::mutants::Order;
use crate::oracle::{Fate, Flight, Letter, Of, Oracle, Stop, ensure};

pub const NOW: TimestampMs = TimestampMs(1_000_000);
const ROOT: &str = "/data";
/// A directory that nothing else syncs.
pub const CHECKPOINTS: &str = "/data/checkpoints";
const NUMBER: PartitionNumber = PartitionNumber(1);
const SEGMENT_BYTES: u32 = 1500;
const WHO: Who<'static> = Who {
    name: "tester",
    request_id: Some("request"),
};
const EVERYTHING: RetentionPolicy = RetentionPolicy {
    retention_ms: None,
    retention_bytes: Some(0),
};

/// One request to the broker, or something that it does by itself.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Produce(usize),
    /// Batches of one record each, and one sync for all of them.
    Burst(usize),
    /// Rejections that come together: one batch and one sync for all of them.
    Reject(&'static [Of]),
    Republish(&'static [usize]),
    Delete(&'static [usize]),
    RetainMain,
    RetainLetters,
    Checkpoint,
}

pub const WORKLOAD: &[Op] = &[
    Op::Produce(3),
    Op::Reject(&[Of::Produced(0)]),
    Op::Republish(&[0]),
    Op::Checkpoint,
    Op::Reject(&[Of::Produced(1)]),
    Op::Reject(&[Of::Fresh(0)]),
    Op::Republish(&[1, 2]),
    Op::Burst(3),
    Op::Reject(&[Of::Produced(2), Of::Produced(3)]),
    Op::Delete(&[3]),
    Op::Republish(&[4, 3, 0]),
    Op::RetainMain,
    Op::Burst(5),
    Op::Reject(&[Of::Produced(10)]),
    Op::RetainLetters,
    Op::Reject(&[Of::Produced(9)]),
    Op::Reject(&[Of::Produced(8)]),
    Op::Checkpoint,
    Op::Republish(&[5, 6, 7]),
    Op::RetainMain,
    Op::Burst(7),
    Op::Reject(&[Of::Produced(16)]),
    Op::Reject(&[Of::Produced(17)]),
    Op::Delete(&[8, 9]),
    Op::RetainLetters,
    Op::Reject(&[Of::Produced(17)]),
    Op::Republish(&[10, 4]),
    Op::Reject(&[Of::Fresh(10)]),
    Op::Checkpoint,
];

/// Returns the value of the n-th produced record.
pub fn value_of(number: usize) -> String {
    format!("record {number} {}", "x".repeat(150 + 37 * (number % 5)))
}

fn batch_of(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in numbers {
        let record = Record {
            timestamp: NOW,
            value: Some(Bytes::from(value_of(number))),
            ..Record::default()
        };
        builder.push(&record.as_new(&[])).unwrap();
    }
    let broker = BrokerMark::Client;
    let producer = None;
    builder.build(BuildOptions { producer, broker }).unwrap()
}

/// Where the machine is, and where it is to stop.
#[derive(Debug)]
pub struct Watch {
    pub disk: SimDisk,
    pub phase: Cell<&'static str>,
    pub steps: RefCell<Vec<Step>>,
    /// Cuts the power behind the n-th step, counted from 1.
    pub cut_at_step: Option<usize>,
    /// A sync will fail: whatever ends the run comes from that.
    pub fails: bool,
}

impl Watch {
    pub fn new(disk: &SimDisk) -> Self {
        Self {
            disk: disk.clone(),
            phase: Cell::new("open"),
            steps: RefCell::default(),
            cut_at_step: None,
            fails: false,
        }
    }

    fn after(&self, step: Step) {
        self.phase.set(match step {
            Step::Claimed => "claimed, writing",
            Step::Written => "written, syncing",
            Step::Synced => "synced, writing markers",
            Step::MarkersWritten => "markers written, syncing",
            Step::MarkersSynced => "markers synced",
        });
        let mut steps = self.steps.borrow_mut();
        steps.push(step);
        if self.cut_at_step == Some(steps.len()) {
            self.disk.cut_power();
        }
    }

    /// Returns whether the run is over: the power is cut, or a sync was made to fail.
    pub fn is_cut(&self) -> bool {
        self.disk.is_power_cut() || self.fails
    }

    /// An error is the power cut's, or a broken promise.
    fn stop(&self, error: &LogError) -> Stop {
        if self.is_cut() {
            return Stop::Cut;
        }
        let failed = ensure(false, "nothing fails", || {
            format!("{}: {error:?}", self.phase.get())
        });
        failed.unwrap_err().into()
    }
}

/// A running broker: one partition and its checkpoints.
#[derive(Debug)]
pub struct Machine<'a> {
    pub owner: Mutex<Partition>,
    store: CheckpointStore,
    stored: HashMap<LogKind, LogCheckpoint>,
    watch: &'a Watch,
    order: Order,
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
        let outcomes = match self.order {
            Order::RejectAnsweredBeforeSync => self.reject_at_once(&prepared, oracle, &letters),
            _ => self
                .resolver(&|step| self.watch.after(step))
                .reject(&prepared),
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

    fn retain(&mut self, kind: LogKind, oracle: &mut Oracle) -> Result<(), Stop> {
        let plan = {
            let partition = self.owner.lock();
            match kind {
                LogKind::Main => partition.plan_main_retention(&EVERYTHING, NOW),
                _ => partition.plan_dead_letter_retention(&EVERYTHING, NOW),
            }
        };
        let Some(start) = plan else { return Ok(()) };
        self.move_start(kind, start, oracle)
    }

    /// Makes a log start durable, and only then takes the segments below it away.
    pub fn move_start(
        &mut self,
        kind: LogKind,
        start: Offset,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        oracle.flight = Some(match kind {
            LogKind::Main => Flight::MainStart(start),
            _ => Flight::LetterStart(start),
        });
        if self.order == Order::UnlinkBeforeCheckpoint {
            self.unlink(kind, start)?;
        }
        self.checkpoint(Some((kind, start)))?;
        match kind {
            LogKind::Main => oracle.main_start = start,
            _ => oracle.letter_start = start,
        }
        oracle.flight = None;
        if self.order != Order::UnlinkBeforeCheckpoint {
            self.watch.phase.set("unlink");
            self.unlink(kind, start)?;
        }
        Ok(())
    }

    fn unlink(&self, kind: LogKind, start: Offset) -> Result<(), Stop> {
        let unlink = self.owner.lock().apply_log_start(kind, start).unwrap();
        unlink.run().map_err(|error| self.watch.stop(&error))
    }

    /// Stores a checkpoint. A log that is not durable as far as it is written keeps its older entry.
    pub fn checkpoint(&mut self, start: Option<(LogKind, Offset)>) -> Result<(), Stop> {
        let newest = {
            let partition = self.owner.lock();
            let letters = partition
                .dead_letters()
                .map(|log| log.log().reader().durable_end());
            let durable = [Some(partition.main().reader().durable_end()), letters];
            let entries = [
                Some(partition.main_checkpoint()),
                partition.dead_letter_checkpoint(),
            ];
            entries
                .into_iter()
                .zip(durable)
                .filter_map(|(entry, durable)| Some((entry?, durable?)))
                .collect::<Vec<_>>()
        };
        for (mut entry, durable) in newest {
            if self.order == Order::SettledTooEarly && entry.id.kind == LogKind::Main {
                let log_end = entry.durable_end.0.to_be_bytes();
                entry.state[1..9].copy_from_slice(&log_end);
            }
            if entry.durable_end <= durable || self.order == Order::CheckpointBeforeSync {
                self.stored.insert(entry.id.kind, entry);
            }
        }
        if let Some((kind, start)) = start {
            self.stored.get_mut(&kind).unwrap().log_start = start;
        }
        let entries: Vec<_> = self.stored.values().cloned().collect();
        self.store
            .write(&entries)
            .map_err(|error| self.watch.stop(&error))
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

/// What the mutants do instead of what the resolver does.
impl Machine<'_> {
    fn sync(&self, kind: LogKind) -> Result<(), LogError> {
        let task = self
            .owner
            .lock()
            .log_mut(kind)
            .and_then(storage::log::Log::begin_sync);
        task.map_or(Ok(()), |task| task.run().map(drop))
    }

    fn rolled<T>(
        &self,
        kind: LogKind,
        mut act: impl FnMut(&mut Partition) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let mut partition = self.owner.lock();
        match act(&mut partition) {
            Err(LogError::Rolling { .. }) => {
                let done = partition.begin_roll(kind)?.run();
                partition.finish_roll(kind, done)?;
                act(&mut partition)
            }
            acted => acted,
        }
    }

    fn reject_at_once(
        &self,
        letters: &[DeadLetter],
        oracle: &mut Oracle,
        numbers: &[usize],
    ) -> Result<Vec<RejectOutcome>, LogError> {
        let outcomes = self.rolled(LogKind::DeadLetter, |partition| {
            partition.reject(letters, NOW)
        })?;
        for (number, outcome) in numbers.iter().zip(&outcomes) {
            oracle.letters[*number].at = Some(outcome.letter());
        }
        oracle.flight = None;
        self.sync(LogKind::DeadLetter)?;
        Ok(outcomes)
    }

    fn delete_at_once(&self, letters: &[usize], oracle: &mut Oracle) -> Result<(), Stop> {
        let offsets: Vec<_> = letters
            .iter()
            .map(|letter| oracle.letters[*letter].at.unwrap())
            .collect();
        for at in &offsets {
            self.owner.lock().claim(*at);
        }
        self.rolled(LogKind::DeadLetter, |partition| {
            partition.append_deletions(&offsets, WHO, NOW)
        })
        .map_err(|error| self.watch.stop(&error))?;
        for at in &offsets {
            oracle.answered(*at, Outcome::Deleted, false)?;
        }
        oracle.flight = None;
        self.sync(LogKind::DeadLetter)
            .map_err(|error| self.watch.stop(&error))?;
        self.owner.lock().finish_delete(&offsets);
        Ok(())
    }

    fn republish_in_order(
        &mut self,
        batch: Vec<PlacedLetter>,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        let is_claimless = self.order == Order::NoClaim;
        let mine: Vec<_> = batch
            .into_iter()
            .filter(|(at, _)| {
                let claim = self.owner.lock().claim(*at);
                is_claimless || claim == storage::partition::Claim::Yours
            })
            .collect();
        if mine.is_empty() {
            oracle.flight = None;
            return Ok(());
        }
        let stop = |error| self.watch.stop(&error);
        let main = self.owner.lock().main().reader();
        let mut fresh = FreshBatch::build(&main, &mine, WHO).map_err(stop)?;
        let republished = self
            .rolled(LogKind::Main, |partition| {
                partition.append_republished(&mut fresh, NOW)
            })
            .map_err(stop)?;
        self.finish_in_order(&republished, oracle)
    }

    fn finish_in_order(
        &mut self,
        republished: &Republished,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        let watch = self.watch;
        let stop = |error| watch.stop(&error);
        let mark = |machine: &Self| {
            machine
                .rolled(LogKind::DeadLetter, |partition| {
                    partition.append_markers(republished, WHO, NOW)
                })
                .map(drop)
        };
        match self.order {
            Order::MarkersBeforeSync => {
                mark(self).map_err(stop)?;
                self.sync(LogKind::DeadLetter).map_err(stop)?;
            }
            Order::AnswerBeforeSync => answer_all(republished, oracle)?,
            Order::CheckpointBeforeSync => self.checkpoint(None)?,
            _ => {}
        }
        self.sync(LogKind::Main).map_err(stop)?;
        self.owner.lock().commit(republished);
        answer_all(republished, oracle)?;
        if self.order == Order::SettledTooEarly {
            self.checkpoint(None)?;
        }
        if self.order != Order::MarkersBeforeSync {
            mark(self).map_err(stop)?;
        }
        if self.order == Order::RetentionPastSettled {
            self.owner.lock().main_mut().roll().map_err(stop)?;
            let plan = {
                let partition = self.owner.lock();
                let log_end = partition.main().next_offset();
                partition.main().plan_retention(&EVERYTHING, log_end, NOW)
            };
            if let Some(start) = plan {
                self.move_start(LogKind::Main, start, oracle)?;
            }
        }
        self.sync(LogKind::DeadLetter).map_err(stop)?;
        let mut partition = self.owner.lock();
        partition.settle();
        // Only a claim that was made before the marker was written is left over.
        partition.finish_delete(&republished.letters);
        Ok(())
    }
}

fn answer_all(republished: &Republished, oracle: &mut Oracle) -> Result<(), Stop> {
    for (at, target) in republished.targets() {
        let letter = oracle.letter_at(at).unwrap();
        let is_repeat = matches!(oracle.letters[letter].fate, Fate::Republished(_));
        oracle.answered(at, Outcome::Republished { target, is_repeat }, true)?;
    }
    oracle.flight = None;
    Ok(())
}
