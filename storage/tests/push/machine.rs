//! A running broker: one pushed partition and its checkpoints, used as a broker uses them, and told to the oracle.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::data_dir::checkpoint_paths;
use storage::delivery::{Callback, DeliveryLog, Entry, Envelope, FlowControl};
use storage::disk::Disk;
use storage::disk::fault::FaultDisk;
use storage::disk::sim::SimDisk;
use storage::error::LogError;
use storage::log::{LogConfig, RetentionPolicy};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{
    Hooks, NewMessage, Outcome, Partition, PartitionConfig, PartitionHints, PartitionPlace,
    PartitionReport, PartitionRetention, PushUpkeep, PushUpkeepRun, Resolver, Who,
};

use crate::mutants::Order;
use crate::oracle::{End, Flight, Message, Oracle, Stop, ensure};
use crate::workload::{Op, Spec};

const ROOT: &str = "/data";
/// A directory that nothing else syncs.
pub const CHECKPOINTS: &str = "/data/.checkpoints";
pub const NUMBER: PartitionNumber = PartitionNumber(1);
pub const QUEUE: &str = "q";
pub const KEY: &str = "k";
pub const SCHEDULE: &str = "s";
const MAIN_SEGMENT_BYTES: u32 = 2200;
const SEGMENT_BYTES: u32 = 1500;
const WHO: Who<'static> = Who {
    name: "tester",
    request_id: Some("request"),
};
const EVERYTHING: RetentionPolicy = RetentionPolicy {
    retention_ms: None,
    retention_bytes: Some(0),
};
const RETENTION: PartitionRetention = PartitionRetention {
    main: EVERYTHING,
    dead_letters: EVERYTHING,
    delivery: EVERYTHING,
};

/// Where the machine is, and whether it is to stop.
#[derive(Debug)]
pub struct Watch {
    pub disk: SimDisk,
    pub phase: Cell<&'static str>,
    /// Something will fail: whatever ends the run comes from that.
    pub fails: bool,
    /// Stands before the disk.
    pub faults: Option<FaultDisk>,
}

impl Watch {
    pub fn new(disk: &SimDisk) -> Self {
        Self {
            disk: disk.clone(),
            phase: Cell::new("open"),
            fails: false,
            faults: None,
        }
    }

    fn storage(&self) -> Arc<dyn Disk> {
        match &self.faults {
            Some(faults) => Arc::new(faults.clone()),
            None => Arc::new(self.disk.clone()),
        }
    }

    /// An error is the power cut's, or a broken promise.
    pub fn stop(&self, error: &LogError) -> Stop {
        if self.disk.is_power_cut() || self.fails {
            return Stop::Cut;
        }
        let failed = ensure(false, "nothing fails", || {
            format!("{}: {error:?}", self.phase.get())
        });
        failed.unwrap_err().into()
    }
}

#[derive(Debug)]
pub struct Machine<'a> {
    pub owner: Mutex<Partition>,
    store: CheckpointStore,
    stored: HashMap<LogKind, LogCheckpoint>,
    pub watch: &'a Watch,
    pub order: Order,
    /// What each upkeep did.
    pub runs: Vec<PushUpkeepRun>,
}

/// Opens the partition on a disk, with what its checkpoints say.
pub fn open_partition(
    disk: Arc<dyn Disk>,
    stored: &HashMap<LogKind, LogCheckpoint>,
    now: TimestampMs,
) -> Result<(Partition, PartitionReport), LogError> {
    let hint = |kind| stored.get(&kind).cloned();
    let hints = PartitionHints {
        main: hint(LogKind::Main),
        dead_letters: hint(LogKind::DeadLetter),
        delivery: hint(LogKind::Delivery),
    };
    let log = LogConfig {
        segment_bytes: SEGMENT_BYTES,
        ..LogConfig::default()
    };
    let config = PartitionConfig {
        main: LogConfig {
            segment_bytes: MAIN_SEGMENT_BYTES,
            ..LogConfig::default()
        },
        dead_letters: log.clone(),
        delivery: Some(log),
        ..PartitionConfig::default()
    };
    let place = PartitionPlace {
        disk,
        root: PathBuf::from(ROOT),
        number: NUMBER,
    };
    Partition::open(&place, config, &hints, now)
}

pub fn read_checkpoints(
    disk: &SimDisk,
) -> Result<(CheckpointStore, HashMap<LogKind, LogCheckpoint>), LogError> {
    let paths = checkpoint_paths(Path::new(CHECKPOINTS), 0);
    let (store, entries) = CheckpointStore::open(disk, paths)?;
    let stored = entries.into_iter().map(|entry| (entry.id.kind, entry));
    Ok((store, stored.collect()))
}

impl<'a> Machine<'a> {
    pub fn open(watch: &'a Watch, order: Order, now: i64) -> Result<(Self, PartitionReport), Stop> {
        watch.phase.set("open");
        let opened = Self::try_open(watch, order, TimestampMs(now));
        opened.map_err(|error| watch.stop(&error))
    }

    fn try_open(
        watch: &'a Watch,
        order: Order,
        now: TimestampMs,
    ) -> Result<(Self, PartitionReport), LogError> {
        let (store, stored) = read_checkpoints(&watch.disk)?;
        let (partition, report) = open_partition(watch.storage(), &stored, now)?;
        let machine = Self {
            owner: Mutex::new(partition),
            store,
            stored,
            watch,
            order,
            runs: Vec::new(),
        };
        Ok((machine, report))
    }

    pub fn run(&mut self, op: Op, oracle: &mut Oracle) -> Result<(), Stop> {
        oracle.now += 10;
        match op {
            Op::Publish(specs) => self.publish(specs, oracle),
            Op::Deliver(passes) => (0..passes).try_for_each(|_| self.pass(oracle).map(drop)),
            Op::Cancel(name) => self.cancel(name, oracle),
            Op::Fire(due, count) => self.fire(due, count, oracle),
            Op::Republish(name) => self.republish(name, oracle),
            Op::Snapshot => self.snapshot(oracle),
            Op::Retain => self.retain(None, oracle),
            Op::RetainOver(name) => self.retain(Some(name), oracle),
            Op::RetainLetters => self.retain_letters(oracle),
            Op::Wait(ms) => {
                oracle.now += ms;
                Ok(())
            }
            Op::Checkpoint => {
                self.watch.phase.set("checkpoint");
                self.checkpoint(None)
            }
        }
    }

    fn publish(&mut self, specs: &[Spec], oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set("publish");
        if let Some(first) = specs.iter().find_map(|spec| oracle.keys.get(&spec.key)) {
            let found = self.duplicate(specs[0].key);
            ensure(
                found == Some(*first),
                "a key that was accepted is known",
                || format!("{found:?}, not {first}"),
            )?;
            return Ok(());
        }
        let messages: Vec<_> = specs
            .iter()
            .map(|spec| new_message(spec, oracle.now))
            .collect();
        let known = specs.iter().map(Message::of).collect();
        oracle.flight = Some(Flight::Publish(known));
        self.append_messages(&messages, oracle)
    }

    fn duplicate(&self, key: u8) -> Option<Offset> {
        let owner = self.owner.lock();
        let mut duplicates = owner.delivery()?.duplicates();
        duplicates.find(|d| d.key == [key; 16]).map(|d| d.base)
    }

    /// Appends the messages in flight, syncs and answers.
    fn append_messages(
        &mut self,
        messages: &[NewMessage],
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        let now = TimestampMs(oracle.now);
        let appended = self.rolled(LogKind::Main, |partition| {
            partition.append_messages(messages, now)
        })?;
        if self.order == Order::AcceptedBeforeSync {
            accept(appended.base_offset, oracle)?;
        }
        if self.order == Order::AdmittedBeforeSync {
            self.admit_at_once(appended.base_offset, messages, now);
            accept(appended.base_offset, oracle)?;
            self.attempt_at_once(appended.base_offset, oracle)?;
            return Ok(());
        }
        self.sync(LogKind::Main)?;
        self.owner.lock().admit_durable();
        if oracle.flight.is_some() {
            accept(appended.base_offset, oracle)?;
        }
        Ok(())
    }

    fn cancel(&mut self, name: &str, oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set("cancel");
        if self.append_cancel(name, oracle)? {
            if self.order == Order::CancelledBeforeSync {
                cancelled(oracle);
            }
            self.sync(LogKind::Delivery)?;
            cancelled(oracle);
        }
        Ok(())
    }

    fn append_cancel(&mut self, name: &str, oracle: &mut Oracle) -> Result<bool, Stop> {
        let Some(message) = oracle.find(name) else {
            return Ok(false);
        };
        let known = &oracle.messages[&message];
        if known.end.is_some() || known.is_dying {
            return Ok(false);
        }
        oracle.flight = Some(Flight::Cancel(message));
        let time = TimestampMs(oracle.now);
        self.rolled(LogKind::Delivery, |partition| {
            partition.append_entries(&[Entry::Cancelled { message, time }], time)
        })?;
        Ok(true)
    }

    fn fire(&mut self, due: i64, count: usize, oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set("fire");
        let fired = {
            let owner = self.owner.lock();
            let state = owner.delivery().unwrap();
            state.fired().map(|(_, fired)| fired.due.0).max()
        };
        ensure(fired >= oracle.fired, "a firing is remembered", || {
            format!("{fired:?}, not {:?}", oracle.fired)
        })?;
        if fired >= Some(due) {
            return Ok(());
        }
        let spec = Spec {
            name: "fired",
            script: "O",
            has_queue: false,
            has_callback: false,
            has_failure_callback: false,
            has_rate: false,
            key: 0,
            delay_ms: 0,
            pad: 8,
        };
        let cause = Cause {
            kind: CauseKind::Schedule,
            log: LogId::CONTROL,
            offset: Offset(0),
            detail: CauseDetail {
                request_id: Some(SCHEDULE.to_owned()),
                due: Some(TimestampMs(due)),
                ..CauseDetail::default()
            },
        };
        let message = NewMessage {
            cause: Some(cause),
            ..new_message(&spec, oracle.now)
        };
        let known = Message {
            due: Some(due),
            ..Message::of(&spec)
        };
        oracle.flight = Some(Flight::Publish(vec![known; count]));
        self.append_messages(&vec![message; count], oracle)
    }

    fn republish(&mut self, name: &str, oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set("republish");
        let source = oracle
            .find(name)
            .and_then(|at| oracle.messages.get_key_value(&at));
        let Some((at, source)) = source else {
            return Ok(());
        };
        let (at, source) = (*at, source.clone());
        let Some(letter) = source
            .letter
            .filter(|letter| *letter >= oracle.letter_start)
        else {
            return Ok(());
        };
        let view = self.owner.lock().dead_letters().unwrap().view();
        let found = view.get(letter).map_err(|error| self.watch.stop(&error))?;
        let Some(found) = found else {
            return Ok(ensure(false, "a letter can be read", || {
                format!("{letter}")
            })?);
        };
        oracle.flight = Some(Flight::Republish(at));
        let now = oracle.now;
        let hooks = Hooks {
            now: &|| TimestampMs(now),
            after: &|_| {},
            wait: &|| panic!("nobody else is at it"),
        };
        let resolver = Resolver {
            owner: &self.owner,
            who: WHO,
            hooks,
        };
        let (outcomes, committed) = resolver.republish(&[(letter, found)]);
        if let Some(error) = outcomes.error {
            return Err(self.watch.stop(&error));
        }
        let outcome = outcomes.letters[0].1;
        if let Outcome::Republished {
            target,
            is_repeat: false,
        } = outcome
        {
            oracle.flight = None;
            oracle.accept(target, again(&source))?;
        }
        ensure(
            matches!(outcome, Outcome::Republished { .. }),
            "a letter is sent back",
            || format!("{outcome:?}"),
        )?;
        if let Some(committed) = committed {
            let finished = resolver.finish(&[committed]);
            finished.map_err(|error| self.watch.stop(&error))?;
        }
        Ok(())
    }

    fn upkeep<T>(
        &self,
        oracle: &Oracle,
        act: impl FnOnce(&PushUpkeep<'_>) -> Result<T, LogError>,
    ) -> Result<T, Stop> {
        let now = oracle.now;
        let done = act(&PushUpkeep {
            owner: &self.owner,
            now: &|| TimestampMs(now),
            wait: &|| panic!("nobody else is at it"),
            rolled: &|_| {},
        });
        done.map_err(|error| self.watch.stop(&error))
    }

    fn snapshot(&mut self, oracle: &Oracle) -> Result<(), Stop> {
        self.watch.phase.set("snapshot");
        self.upkeep(oracle, |upkeep: &PushUpkeep<'_>| upkeep.snapshot())
    }

    fn retain(&mut self, over: Option<&str>, oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set("carry and snapshot");
        if self.order != Order::MainPastSnapshot {
            let run = self.upkeep(oracle, |upkeep| upkeep.run(&RETENTION))?;
            self.runs.push(run);
        }
        let now = TimestampMs(oracle.now);
        for kind in [LogKind::Main, LogKind::Delivery] {
            self.watch.phase.set("retention");
            let is_over = match over {
                Some(name) if kind == LogKind::Main => self.append_cancel(name, oracle)?,
                _ => false,
            };
            let plan = self.plan(kind, now);
            if self.order != Order::NoSyncBehindPlan {
                self.sync(LogKind::Delivery)?;
                if is_over {
                    cancelled(oracle);
                }
            }
            if let Some(start) = plan {
                self.move_start(kind, start, oracle)?;
            }
            if is_over && oracle.flight.is_some() {
                self.sync(LogKind::Delivery)?;
                cancelled(oracle);
            }
        }
        Ok(())
    }

    fn plan(&self, kind: LogKind, now: TimestampMs) -> Option<Offset> {
        let mut owner = self.owner.lock();
        let snapshot = owner.delivery_log().and_then(DeliveryLog::durable_snapshot);
        match (kind, self.order) {
            (LogKind::Main, Order::MainPastSnapshot) => {
                let ceiling = owner.main().next_offset();
                let wanted = owner.main().plan_retention(&EVERYTHING, ceiling, now)?;
                let uncarried = owner.uncarried_below(wanted).first().copied();
                let ceiling = uncarried.unwrap_or(wanted);
                owner.main().plan_retention(&EVERYTHING, ceiling, now)
            }
            (LogKind::Main, Order::MainPastMessages) => {
                let ceiling = snapshot?.admitted_up_to;
                owner.main().plan_retention(&EVERYTHING, ceiling, now)
            }
            (LogKind::Main, _) => owner.plan_main_retention(&EVERYTHING, now),
            (LogKind::Delivery, Order::HeadPastReferences) => {
                let log = owner.log_mut(LogKind::Delivery)?;
                log.plan_retention(&EVERYTHING, snapshot?.start, now)
            }
            (LogKind::Delivery, Order::HeadPastSnapshot) => {
                let log = owner.log_mut(LogKind::Delivery)?;
                log.plan_retention(&EVERYTHING, log.next_offset(), now)
            }
            _ => owner.plan_delivery_retention(&EVERYTHING, now),
        }
    }

    fn retain_letters(&mut self, oracle: &mut Oracle) -> Result<(), Stop> {
        self.watch.phase.set("dead-letter retention");
        let now = TimestampMs(oracle.now);
        let plan = self
            .owner
            .lock()
            .plan_dead_letter_retention(&EVERYTHING, now);
        match plan {
            Some(start) => self.move_start(LogKind::DeadLetter, start, oracle),
            None => Ok(()),
        }
    }

    /// Makes a log start durable, and only then takes the segments below it away.
    fn move_start(
        &mut self,
        kind: LogKind,
        start: Offset,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        match kind {
            LogKind::DeadLetter => oracle.letter_start = start,
            LogKind::Main => oracle.main_start = start,
            _ => {}
        }
        if self.order != Order::UnlinkBeforeCheckpoint {
            self.checkpoint(Some((kind, start)))?;
        }
        self.watch.phase.set("unlink");
        let unlink = {
            let mut owner = self.owner.lock();
            match self.order {
                Order::HeadPastSnapshot => owner.log_mut(kind).unwrap().apply_log_start(start),
                _ => owner.apply_log_start(kind, start).unwrap(),
            }
        };
        unlink.run().map_err(|error| self.watch.stop(&error))?;
        if self.order == Order::UnlinkBeforeCheckpoint {
            self.checkpoint(Some((kind, start)))?;
        }
        Ok(())
    }

    /// Stores a checkpoint. A log that is not durable as far as it is written keeps its older entry.
    fn checkpoint(&mut self, start: Option<(LogKind, Offset)>) -> Result<(), Stop> {
        let newest = {
            let mut owner = self.owner.lock();
            let entries = [
                Some(owner.main_checkpoint()),
                owner.dead_letter_checkpoint(),
                owner.delivery_checkpoint(),
            ];
            let durable = |entry: LogCheckpoint| {
                let log = owner.log_mut(entry.id.kind).unwrap();
                (entry, log.reader().durable_end())
            };
            entries
                .into_iter()
                .flatten()
                .map(durable)
                .collect::<Vec<_>>()
        };
        for (entry, durable) in newest {
            if entry.durable_end <= durable {
                self.stored.insert(entry.id.kind, entry);
            }
        }
        if let Some((kind, start)) = start {
            match self.stored.get_mut(&kind) {
                Some(entry) => entry.log_start = start,
                // Only a mutant has not synced the log before.
                None => return Ok(()),
            }
        }
        let entries: Vec<_> = self.stored.values().cloned().collect();
        let written = self.store.write(&entries);
        written.map_err(|error| self.watch.stop(&error))
    }

    pub fn sync(&self, kind: LogKind) -> Result<(), Stop> {
        let task = {
            let mut owner = self.owner.lock();
            owner.log_mut(kind).and_then(storage::log::Log::begin_sync)
        };
        let synced = task.map_or(Ok(()), |task| task.run().map(drop));
        synced.map_err(|error| self.watch.stop(&error))
    }

    pub fn rolled<T>(
        &self,
        kind: LogKind,
        act: impl Fn(&mut Partition) -> Result<T, LogError>,
    ) -> Result<T, Stop> {
        let mut owner = self.owner.lock();
        let mut acted = act(&mut owner);
        if let Err(LogError::Rolling { .. }) = acted {
            let rolled = owner.begin_roll(kind).and_then(|task| {
                let facets = owner.finish_roll(kind, task.run())?;
                facets
                    .into_iter()
                    .for_each(storage::dead_letter::FacetsTask::run);
                Ok(())
            });
            rolled.map_err(|error| self.watch.stop(&error))?;
            acted = act(&mut owner);
        }
        acted.map_err(|error| self.watch.stop(&error))
    }
}

/// The publisher is answered.
fn accept(base: Offset, oracle: &mut Oracle) -> Result<(), Stop> {
    let Some(Flight::Publish(messages)) = oracle.flight.take() else {
        return Ok(());
    };
    for (at, message) in (base.0..).zip(messages) {
        oracle.accept(Offset(at), message)?;
    }
    Ok(())
}

fn cancelled(oracle: &mut Oracle) {
    if let Some(Flight::Cancel(message)) = oracle.flight.take() {
        oracle.messages.get_mut(&message).unwrap().end = Some(End::Cancelled);
    }
}

/// Returns the message that is sent when a letter is sent back.
pub fn again(source: &Message) -> Message {
    Message {
        name: source.name.clone(),
        script: source.script.clone(),
        generation: source.generation + 1,
        key: 0,
        made: 0,
        recorded: 0,
        is_dying: false,
        end: None,
        callbacks_due: 0,
        callbacks: 0,
        failure_callbacks_due: 0,
        failure_callbacks: 0,
        letter: None,
        ..source.clone()
    }
}

pub fn body_of(name: &str, pad: usize) -> Bytes {
    Bytes::from(format!("{name} ;{}", "x".repeat(pad)))
}

pub fn new_message(spec: &Spec, now: i64) -> NewMessage {
    let callback = |has: bool| {
        has.then(|| Callback {
            url: "http://caller/".to_owned(),
            ..Callback::default()
        })
    };
    let envelope = Envelope {
        url: format!("http://host/{}", spec.name),
        method: "POST".to_owned(),
        retries: 10,
        not_before: (spec.delay_ms > 0).then_some(TimestampMs(now + spec.delay_ms)),
        dedup: (spec.key > 0).then_some([spec.key; 16]),
        queue: spec.has_queue.then(|| QUEUE.to_owned()),
        callback: callback(spec.has_callback),
        failure_callback: callback(spec.has_failure_callback),
        flow: spec.has_rate.then(|| FlowControl {
            key: KEY.to_owned(),
            rate: Some(100),
            ..FlowControl::default()
        }),
        ..Envelope::default()
    };
    NewMessage {
        timestamp: TimestampMs(now),
        body: body_of(spec.name, spec.pad),
        envelope,
        cause: None,
    }
}
