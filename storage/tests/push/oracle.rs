//! What callers and destinations know, kept outside of the partition: the promises that every crash must leave standing.

use std::collections::BTreeMap;

use storage::offset::Offset;

use crate::workload::Spec;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub check: &'static str,
    pub seen: String,
}

/// How a run ended early.
#[derive(Debug)]
pub enum Stop {
    /// The power was cut, or a sync was made to fail.
    Cut,
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

pub fn ensure(
    holds: bool,
    check: &'static str,
    seen: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds {
        return Ok(());
    }
    let seen = seen();
    Err(Broken { check, seen })
}

/// How a message came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    Delivered,
    Cancelled,
    Dead,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Result_ {
    Taken,
    Failed,
    Killed,
}

/// A message that stands in the main log, as far as anybody was told or has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// First words of the body: what it is.
    pub name: String,
    pub script: String,
    pub has_queue: bool,
    pub has_callback: bool,
    pub has_failure_callback: bool,
    pub has_rate: bool,
    pub key: u8,
    /// Of a firing: when it was due.
    pub due: Option<i64>,
    /// Of a callback: the message that it answers, and the one whose place it keeps.
    pub source: Option<Offset>,
    pub root: Option<Offset>,
    /// How often it was sent again.
    pub generation: usize,
    /// Attempts that were made, by anybody's knowledge.
    pub made: u32,
    /// Attempts whose outcomes are durable.
    pub recorded: u32,
    pub is_dying: bool,
    pub end: Option<End>,
    /// Callbacks that must come, and those that are there.
    pub callbacks_due: u32,
    pub callbacks: u32,
    pub failure_callbacks_due: u32,
    pub failure_callbacks: u32,
    pub letter: Option<Offset>,
}

impl Message {
    pub fn of(spec: &Spec) -> Self {
        Self {
            name: spec.name.to_owned(),
            script: spec.script.to_owned(),
            has_queue: spec.has_queue,
            has_callback: spec.has_callback,
            has_failure_callback: spec.has_failure_callback,
            has_rate: spec.has_rate,
            key: spec.key,
            due: None,
            source: None,
            root: None,
            generation: 0,
            made: 0,
            recorded: 0,
            is_dying: false,
            end: None,
            callbacks_due: 0,
            callbacks: 0,
            failure_callbacks_due: 0,
            failure_callbacks: 0,
            letter: None,
        }
    }

    pub fn result(&self, number: u32) -> Result_ {
        let scripts: Vec<_> = self.script.split('|').collect();
        let script = scripts[self.generation.min(scripts.len() - 1)];
        match script.as_bytes()[number as usize - 1] {
            b'O' => Result_::Taken,
            b'F' => Result_::Failed,
            _ => Result_::Killed,
        }
    }

    fn owes(&self) -> bool {
        self.callbacks < self.callbacks_due || self.failure_callbacks < self.failure_callbacks_due
    }
}

/// An outcome that was appended: the message, the attempt, what it came to.
pub type Ended = (Offset, u32, Result_);

/// What was begun and not answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Flight {
    /// Messages of one batch: all of them or none.
    Publish(Vec<Message>),
    /// Outcomes of one batch: all of them or none.
    Outcomes(Vec<Ended>),
    Cancel(Offset),
    Republish(Offset),
}

/// A cause: its kind's byte, its offset, and which of its records it is.
pub type CauseKey = (u8, u64, u64);

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Oracle {
    pub now: i64,
    pub crashes: u32,
    pub messages: BTreeMap<Offset, Message>,
    pub causes: BTreeMap<CauseKey, Offset>,
    pub flight: Option<Flight>,
    /// Deduplication keys with the first message under each.
    pub keys: BTreeMap<u8, Offset>,
    /// The newest firing of the schedule.
    pub fired: Option<i64>,
    /// Attempts of the key with a rate in its newest period.
    pub period: (i64, u32),
    pub main_start: Offset,
    pub letter_start: Offset,
}

impl Oracle {
    /// Returns the message of the workload with this name that was sent last.
    pub fn find(&self, name: &str) -> Option<Offset> {
        let of = |message: &Message| message.name == name;
        let found = self.messages.iter().rev().find(|(_, m)| of(m));
        found.map(|(offset, _)| *offset)
    }

    /// Takes a message that stands in the main log.
    pub fn accept(&mut self, offset: Offset, message: Message) -> Result<(), Broken> {
        if let Some(source) = message.source {
            let is_failure = message.name.starts_with("fcb");
            let source = self.messages.get_mut(&source).unwrap();
            if is_failure {
                source.failure_callbacks += 1;
            } else {
                source.callbacks += 1;
            }
            let (is, due) = (
                (source.callbacks, source.failure_callbacks),
                (source.callbacks_due, source.failure_callbacks_due),
            );
            ensure(
                is.0 <= due.0 && is.1 <= due.1,
                "nothing is called back that did not happen, and nothing twice",
                || format!("{offset}: {message:?} of {source:?}"),
            )?;
        }
        if message.key > 0 {
            self.keys.entry(message.key).or_insert(offset);
        }
        self.fired = self.fired.max(message.due);
        self.messages.insert(offset, message);
        Ok(())
    }

    /// A destination sees an attempt.
    pub fn attempt(&mut self, offset: Offset, name: &str, number: u32) -> Result<(), Broken> {
        let known = self.messages.get(&offset);
        ensure(
            known.is_some_and(|known| known.name == name),
            "only accepted messages are attempted",
            || format!("{name} at {offset}: {known:?}"),
        )?;
        let known = known.unwrap();
        ensure(
            known.end.is_none() && !known.is_dying && known.letter.is_none(),
            "what has come to its end is not attempted",
            || format!("{offset} {known:?}"),
        )?;
        ensure(
            number == known.recorded + 1,
            "attempts are numbered by what is recorded",
            || format!("attempt {number} of {offset} {known:?}"),
        )?;
        if known.has_queue && known.root.is_none() {
            let before = self.messages.range(..offset);
            let blocking = before
                .filter(|(_, m)| m.has_queue && m.root.is_none())
                .find(|(at, m)| m.end.is_none() || m.owes() || self.has_open_callback(**at));
            ensure(blocking.is_none(), "a queue is worked off in order", || {
                format!("{offset} {known:?} before {blocking:?}")
            })?;
        }
        if known.has_rate {
            let start = period_of(self.now);
            let count = if self.period.0 == start {
                self.period.1
            } else {
                0
            };
            self.period = (start, count + 1);
        }
        self.messages.get_mut(&offset).unwrap().made += 1;
        Ok(())
    }

    fn has_open_callback(&self, root: Offset) -> bool {
        let of = |m: &Message| m.root == Some(root);
        self.messages.values().any(|m| of(m) && m.end.is_none())
    }

    /// The outcomes are durable.
    pub fn recorded(&mut self, outcomes: &[Ended]) {
        for (offset, number, result) in outcomes {
            let message = self.messages.get_mut(offset).unwrap();
            message.recorded = *number;
            message.callbacks_due += u32::from(message.has_callback);
            match result {
                Result_::Taken => message.end = Some(End::Delivered),
                Result_::Failed => {}
                Result_::Killed => {
                    message.is_dying = true;
                    message.failure_callbacks_due += u32::from(message.has_failure_callback);
                }
            }
        }
    }
}

/// Returns the start of the period that a time lies in.
pub fn period_of(now: i64) -> i64 {
    now - now.rem_euclid(100)
}
