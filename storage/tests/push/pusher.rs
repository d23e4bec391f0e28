//! A small engine on one thread: it takes the same steps in the same order as the broker's, and so do its mutants not.

use bytes::Bytes;
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::dead_letter::{Attempt, AttemptResult, DeadLetter, Disposition};
use storage::delivery::{Arrival, Entry, Envelope, Intent, Outcome, Owed, Owes, Verdict};
use storage::log_id::{LogId, LogKind};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{NewMessage, PushDeath, PushedMessage, push_letter};

use crate::machine::{Machine, NUMBER, body_of};
use crate::mutants::Order;
use crate::oracle::{End, Ended, Flight, Message, Oracle, Result_, Stop, ensure, period_of};

/// Messages of one look.
const DUE_MAX: usize = 4;

impl Machine<'_> {
    /// Finishes what is open, then attempts what is due. Returns whether anything was.
    pub fn pass(&mut self, oracle: &mut Oracle) -> Result<bool, Stop> {
        self.aftermath(oracle)?;
        oracle.now += 10;
        let now = TimestampMs(oracle.now);
        let due = self.owner.lock().take_due(now, DUE_MAX);
        if due.is_empty() {
            return Ok(false);
        }
        let messages = self.read(&due)?;
        let intents: Vec<_> = messages
            .iter()
            .map(|message| {
                let period = message.envelope.flow.as_ref();
                Entry::Intent(Intent {
                    message: message.offset,
                    attempt: self.attempts(message.offset) + 1,
                    time: now,
                    period: period.map(|_| TimestampMs(period_of(now.0))),
                })
            })
            .collect();
        self.watch.phase.set("intents");
        if self.order == Order::AttemptBeforeIntent {
            self.attempt_all(&messages, oracle)?;
        }
        self.append(&intents, now)?;
        self.sync(LogKind::Delivery)?;
        if self.order != Order::AttemptBeforeIntent {
            self.attempt_all(&messages, oracle)?;
        }
        let (outcomes, ended) = self.outcomes(&messages, oracle);
        self.watch.phase.set("outcomes");
        oracle.flight = Some(Flight::Outcomes(ended));
        self.append(&outcomes, now)?;
        let mut called = Vec::new();
        match self.order {
            Order::OutcomeToldBeforeSync => recorded(oracle),
            Order::LettersBeforeOutcome => self.letters(oracle)?,
            Order::CallbacksBeforeOutcome => called = self.append_callbacks(oracle)?,
            _ => {}
        }
        self.sync(LogKind::Delivery)?;
        recorded(oracle);
        accept(called, oracle)?;
        self.aftermath(oracle)?;
        Ok(true)
    }

    /// What follows from outcomes: letters, deaths, callbacks.
    pub fn aftermath(&mut self, oracle: &mut Oracle) -> Result<(), Stop> {
        self.letters(oracle)?;
        self.callbacks(oracle)
    }

    fn attempts(&self, message: Offset) -> u32 {
        let owner = self.owner.lock();
        let state = owner.delivery().and_then(|state| state.get(message));
        state.map_or(0, |state| state.attempts)
    }

    fn read(&self, offsets: &[Offset]) -> Result<Vec<PushedMessage>, Stop> {
        let (places, reader) = {
            let owner = self.owner.lock();
            let state = owner.delivery().unwrap();
            let place = |offset: &Offset| (*offset, state.carried_at(*offset));
            (
                offsets.iter().map(place).collect::<Vec<_>>(),
                owner.push_reader(),
            )
        };
        let read = reader.look_at(&places, Clone::clone).into_iter();
        read.map(|(_, message)| message.map_err(|error| self.watch.stop(&error)))
            .collect()
    }

    fn append(&self, entries: &[Entry], now: TimestampMs) -> Result<Offset, Stop> {
        let appended = self.rolled(LogKind::Delivery, |partition| {
            partition.append_entries(entries, now)
        })?;
        Ok(appended.base_offset)
    }

    fn attempt_all(&self, messages: &[PushedMessage], oracle: &mut Oracle) -> Result<(), Stop> {
        for message in messages {
            let number = self.attempts(message.offset) + 1;
            oracle.attempt(message.offset, &name_of(message), number)?;
        }
        Ok(())
    }

    fn outcomes(&self, messages: &[PushedMessage], oracle: &Oracle) -> (Vec<Entry>, Vec<Ended>) {
        let mut outcomes = Vec::new();
        let mut ended = Vec::new();
        for message in messages {
            let number = self.attempts(message.offset) + 1;
            let result = oracle.messages[&message.offset].result(number);
            let verdict = match result {
                Result_::Taken => Verdict::Delivered,
                Result_::Failed => Verdict::Retry {
                    at: TimestampMs(oracle.now + 15),
                },
                Result_::Killed => Verdict::Dead {
                    disposition: Disposition::RETRIES_EXHAUSTED,
                },
            };
            let is_dead = result == Result_::Killed;
            outcomes.push(Entry::Outcome(Outcome {
                message: message.offset,
                verdict,
                owes: Owes {
                    callback: message.envelope.callback.is_some(),
                    failure_callback: is_dead && message.envelope.failure_callback.is_some(),
                },
                previous: None,
                attempt: attempt(number, oracle.now, &name_of(message)),
            }));
            ended.push((message.offset, number, result));
        }
        (outcomes, ended)
    }

    /// Letters of dying messages, then the entries that say so.
    fn letters(&mut self, oracle: &mut Oracle) -> Result<(), Stop> {
        let dying: Vec<_> = {
            let owner = self.owner.lock();
            let state = owner.delivery().unwrap();
            let dying = state.dying().map(|(message, _)| message);
            dying
                .map(|message| (message, state.history_at(message)))
                .collect()
        };
        if dying.is_empty() {
            return Ok(());
        }
        let now = TimestampMs(oracle.now);
        let messages = self.read(
            &dying
                .iter()
                .map(|(message, _)| *message)
                .collect::<Vec<_>>(),
        )?;
        let reader = self.owner.lock().push_reader();
        let mut letters: Vec<(Offset, DeadLetter)> = Vec::new();
        for (message, (offset, history_at)) in messages.iter().zip(&dying) {
            let history = reader
                .history(*history_at)
                .map_err(|error| self.watch.stop(&error))?;
            let death = PushDeath {
                topic: "_push",
                partition_index: 0,
                partition: NUMBER,
                history,
                disposition: Disposition::RETRIES_EXHAUSTED,
                reason: "it failed",
            };
            letters.push((*offset, push_letter(message, death, now)));
        }
        self.watch.phase.set("letters");
        let places = self.rolled(LogKind::DeadLetter, |partition| {
            partition.append_push_letters(&letters, now)
        })?;
        ensure(places.len() == letters.len(), "each has a letter", || {
            format!("{places:?}")
        })?;
        if self.order != Order::DeadBeforeLetter {
            self.sync(LogKind::DeadLetter)?;
        }
        let deaths: Vec<_> = letters
            .iter()
            .zip(&places)
            .map(|((message, _), letter)| Entry::Dead {
                message: *message,
                letter: *letter,
                time: now,
            })
            .collect();
        self.watch.phase.set("deaths");
        self.append(&deaths, now)?;
        if self.order == Order::CallbacksBeforeDeath {
            self.callbacks(oracle)?;
        }
        self.sync(LogKind::Delivery)?;
        self.sync(LogKind::DeadLetter)?;
        for ((message, _), letter) in letters.iter().zip(&places) {
            if let Some(known) = oracle.messages.get_mut(message) {
                known.end = Some(End::Dead);
                known.letter = Some(*letter);
            }
        }
        Ok(())
    }

    fn callbacks(&mut self, oracle: &mut Oracle) -> Result<(), Stop> {
        accept(self.append_callbacks(oracle)?, oracle)
    }

    /// Appends and syncs the callbacks that are owed, as one batch.
    fn append_callbacks(&mut self, oracle: &Oracle) -> Result<Vec<(Offset, Message)>, Stop> {
        let owed: Vec<_> = {
            let owner = self.owner.lock();
            owner.delivery().unwrap().owed().collect()
        };
        if owed.is_empty() {
            return Ok(Vec::new());
        }
        let reader = self.owner.lock().push_reader();
        let mut messages = Vec::new();
        let mut known = Vec::new();
        for (at, owed) in owed {
            let outcome = reader
                .outcome(at)
                .map_err(|error| self.watch.stop(&error))?;
            let source = self.read(&[owed.message])?.remove(0);
            if owed.callback {
                let (message, one) = callback(&source, &outcome, at, None);
                messages.push(message);
                known.push(one);
            }
            if let Owed {
                failure_callback: true,
                letter: Some(letter),
                ..
            } = owed
            {
                let (message, one) = callback(&source, &outcome, at, Some(letter));
                messages.push(message);
                known.push(one);
            }
        }
        self.watch.phase.set("callbacks");
        let now = TimestampMs(oracle.now);
        let appended = self.rolled(LogKind::Main, |partition| {
            partition.append_messages(&messages, now)
        })?;
        self.sync(LogKind::Main)?;
        self.owner.lock().admit_durable();
        let offsets = (appended.base_offset.0..).map(Offset);
        Ok(offsets.zip(known).collect())
    }
}

fn accept(called: Vec<(Offset, Message)>, oracle: &mut Oracle) -> Result<(), Stop> {
    for (offset, message) in called {
        oracle.accept(offset, message)?;
    }
    Ok(())
}

/// What only mutants do.
impl Machine<'_> {
    pub fn admit_at_once(&self, base: Offset, messages: &[NewMessage], now: TimestampMs) {
        let arrivals: Vec<_> = messages
            .iter()
            .map(|message| {
                let cause = message.cause.clone();
                Some(Arrival::new(message.timestamp, &message.envelope, cause))
            })
            .collect();
        let mut owner = self.owner.lock();
        owner.delivery_mut().unwrap().admit(base, now, &arrivals);
    }

    /// Attempts a message that is not synced, and syncs what becomes of it.
    pub fn attempt_at_once(&mut self, base: Offset, oracle: &mut Oracle) -> Result<(), Stop> {
        let message = oracle.messages.range(base..).next().unwrap().0;
        let intent = Entry::Intent(Intent {
            message: *message,
            attempt: 1,
            time: TimestampMs(oracle.now),
            period: None,
        });
        self.append(&[intent], TimestampMs(oracle.now))?;
        self.sync(LogKind::Delivery)?;
        self.sync(LogKind::Main)?;
        self.owner.lock().admit_durable();
        Ok(())
    }
}

fn recorded(oracle: &mut Oracle) {
    if let Some(Flight::Outcomes(ended)) = oracle.flight.take() {
        oracle.recorded(&ended);
    }
}

fn name_of(message: &PushedMessage) -> String {
    let body = String::from_utf8(message.body.to_vec()).unwrap();
    body.split(" ;").next().unwrap().to_owned()
}

fn attempt(number: u32, now: i64, name: &str) -> Attempt {
    Attempt {
        number,
        time: TimestampMs(now),
        duration_ms: 1,
        result: AttemptResult::Status(500),
        headers: Vec::new(),
        body: Bytes::from(format!("{name} {number}")),
        is_body_cut: false,
        are_headers_cut: false,
    }
}

/// Builds the callback of an outcome, or with `letter` its failure callback.
fn callback(
    source: &PushedMessage,
    outcome: &Outcome,
    at: Offset,
    letter: Option<Offset>,
) -> (NewMessage, Message) {
    let (word, kind, log, offset) = match letter {
        None => ("cb", CauseKind::Callback, LogKind::Delivery, at),
        Some(letter) => (
            "fcb",
            CauseKind::FailureCallback,
            LogKind::DeadLetter,
            letter,
        ),
    };
    let name = format!("{word} {} {}", source.offset, outcome.attempt.number);
    let in_queue = source.envelope.queue.is_some();
    let root = source.envelope.root.or(in_queue.then_some(source.offset));
    let envelope = Envelope {
        url: format!("http://caller/{word}"),
        method: "POST".to_owned(),
        retries: 3,
        queue: source.envelope.queue.clone(),
        root,
        ..Envelope::default()
    };
    let message = NewMessage {
        timestamp: source.timestamp,
        body: body_of(&name, 8),
        envelope,
        cause: Some(Cause {
            kind,
            log: LogId::new(NUMBER, log),
            offset,
            detail: CauseDetail {
                attempt: Some(outcome.attempt.number),
                ..CauseDetail::default()
            },
        }),
    };
    (message, known_callback(&name, source.offset, root))
}

pub fn known_callback(name: &str, source: Offset, root: Option<Offset>) -> Message {
    Message {
        name: name.to_owned(),
        script: "O".to_owned(),
        has_queue: root.is_some(),
        has_callback: false,
        has_failure_callback: false,
        has_rate: false,
        key: 0,
        due: None,
        source: Some(source),
        root,
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
