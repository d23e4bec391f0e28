//! The task of a partition that makes dead letters of what has failed for good, and appends the callbacks that are owed.
//!
//! It goes by the state alone: what the state says is dying or owed is done, whether an attempt has just ended or the broker
//! has just started. One step of it is under way at a time, and nothing is appended twice: a letter by the message that it
//! is of, a callback by its cause.

use std::sync::Arc;
use std::time::Duration;

use storage::address::Address;
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::dead_letter::DeadLetter;
use storage::delivery::{Callback, DeliveryLog, Entry, Envelope, Outcome, Owed};
use storage::error::LogError;
use storage::log_id::{LogId, LogKind};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{
    NewMessage, Partition, PushDeath, PushReader, PushedMessage, push_letter,
};

use super::death::{disposition, ended_at, reason};
use super::desk::Desk;
use super::postponed::Postponed;
use super::recent::Recent;
use crate::broker::Broker;
use crate::causes::Causes;
use crate::delivery::callback::{Told, callback_body, callback_envelope};
use crate::metrics::DispositionLabel;
use crate::topic::PUSH_TOPIC;

/// Messages of one step.
const STEP_MAX: usize = 64;
/// Bytes of letters or of callbacks at which a step ends early: bounds what it holds in memory.
const STEP_BYTES_GOAL: usize = 8 << 20;
/// How soon it looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// First and longest wait after a failure.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Returns the end of the outcomes that are durable: nothing follows from one that a power cut may take back.
fn durable_end(owner: &Partition) -> Offset {
    let log = owner.delivery_log().and_then(DeliveryLog::log);
    log.map_or(Offset::ZERO, |log| log.reader().durable_end())
}

/// Turns ends into what follows from them, for one partition.
pub(super) struct Aftermath {
    broker: Arc<Broker>,
    desk: Arc<Desk>,
    /// Dying messages that could not be read.
    unburied: Postponed,
    /// Outcomes whose callbacks could not be made.
    untold: Postponed,
    recent: Recent,
}

impl Aftermath {
    pub(super) fn new(broker: Arc<Broker>, desk: Arc<Desk>) -> Self {
        Self {
            broker,
            desk,
            unburied: Postponed::default(),
            untold: Postponed::default(),
            recent: Recent::default(),
        }
    }

    /// Works until the broker shuts down.
    pub(super) async fn run(mut self) {
        let shutdown = self.broker.shutdown().clone();
        let mut backoff = BACKOFF;
        while !shutdown.is_triggered() {
            match self.step().await {
                Ok(has_done) => {
                    backoff = BACKOFF;
                    if has_done {
                        continue;
                    }
                }
                Err(error) => {
                    if backoff == BACKOFF {
                        tracing::warn!(partition = self.desk.partition.number().0, error = %Causes(&error), "dead letters and callbacks wait");
                    }
                    backoff = backoff.saturating_mul(2).min(BACKOFF_MAX);
                    // Each round of the dispatcher tells of ends, and none of them makes a log well.
                    tokio::time::timeout(backoff, shutdown.wait()).await.ok();
                    continue;
                }
            }
            tokio::select! {
                () = self.desk.aftermath.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = shutdown.wait() => {}
            }
        }
    }

    /// Does some of what is due; returns whether there was anything.
    pub(super) async fn step(&mut self) -> Result<bool, LogError> {
        self.unburied.release();
        self.untold.release();
        let buried = self.bury().await;
        // A dead-letter log that takes nothing is no reason for the callbacks of others to wait.
        let told = self.tell().await;
        if !matches!((&buried, &told), (Ok(true), _) | (_, Ok(true))) {
            self.recent = Recent::default();
        }
        Ok(buried? | told?)
    }

    /// Makes letters of dying messages. The synced letter is the commit point; the entry that says so follows it.
    async fn bury(&mut self) -> Result<bool, LogError> {
        let dying = self.dying();
        if dying.is_empty() {
            return Ok(false);
        }
        let letters = self.letters(&dying);
        if letters.is_empty() {
            return Ok(true);
        }
        let partition = &self.desk.partition;
        let places = partition
            .with_room(
                LogKind::DeadLetter,
                &|| self.broker.clock.now(),
                |owner, now| owner.append_push_letters(&letters, now),
            )
            .await?;
        if let Some(last) = places.iter().max() {
            self.make_durable(LogKind::DeadLetter, last.next()).await?;
        }
        let entries: Vec<_> = letters
            .iter()
            .zip(&places)
            .map(|((message, letter), place)| Entry::Dead {
                message: *message,
                letter: *place,
                time: letter.died_at,
            })
            .collect();
        let appended = partition
            .with_room(
                LogKind::Delivery,
                &|| self.broker.clock.now(),
                |owner, now| owner.append_entries(&entries, now),
            )
            .await?;
        for (_, letter) in &letters {
            let label = DispositionLabel::new(letter.disposition.0);
            let counter = &self.broker.metrics.dead_letters.appended;
            counter.get_or_create(&label).inc();
        }
        self.make_durable(LogKind::Delivery, appended.next_offset)
            .await?;
        Ok(true)
    }

    fn dying(&self) -> Vec<Dying> {
        let owner = self.desk.partition.owner().lock();
        let Some(state) = owner.delivery() else {
            return Vec::new();
        };
        let durable_end = durable_end(&owner);
        state
            .dying()
            .filter(|(_, outcome)| *outcome < durable_end)
            .filter(|(message, _)| !self.unburied.holds(*message))
            .take(STEP_MAX)
            .map(|(message, outcome)| {
                let known = state.get(message);
                Dying {
                    message,
                    outcome,
                    attempts: known.as_ref().map_or(1, |known| known.attempts),
                    carried_at: state.carried_at(message),
                    history_at: known.and_then(|known| known.history_at),
                }
            })
            .collect()
    }

    /// Makes the letters of the first of these messages. One that cannot be read is told, and comes later again.
    fn letters(&mut self, dying: &[Dying]) -> Vec<(Offset, DeadLetter)> {
        let reader = self.desk.partition.push_reader();
        let mut letters = Vec::new();
        let mut bytes = 0usize;
        for one in dying {
            if bytes >= STEP_BYTES_GOAL {
                break;
            }
            match self.letter(&reader, one) {
                Ok(letter) => {
                    bytes = bytes.saturating_add(letter.record.weight());
                    letters.push((one.message, letter));
                }
                Err(error) => {
                    self.tell_unreadable(one.message, &error);
                    self.unburied.add(one.message);
                }
            }
        }
        letters
    }

    fn tell_unreadable(&self, message: Offset, error: &LogError) {
        tracing::error!(partition = self.desk.partition.number().0, offset = message.0, error = %Causes(&error), "a message cannot be read: its dead letter or its callbacks wait");
    }

    fn letter(&mut self, reader: &PushReader, dying: &Dying) -> Result<DeadLetter, LogError> {
        let now = self.broker.clock.now();
        let message = (self.recent).message(reader, (dying.message, dying.carried_at))?;
        let history = self.recent.history(reader, dying.history_at)?;
        let known = (dying.message, dying.attempts);
        let outcome = self.recent.outcome(reader, dying.outcome, known, now)?;
        let death = PushDeath {
            topic: PUSH_TOPIC,
            partition_index: self.desk.index,
            partition: self.desk.partition.number(),
            history,
            disposition: disposition(&outcome),
            reason: &reason(&outcome),
        };
        Ok(push_letter(&message, death, ended_at(&outcome)))
    }

    /// Appends callbacks that are owed, as messages of their own. Their synced append is the commit point.
    pub(super) async fn tell(&mut self) -> Result<bool, LogError> {
        let owed = self.owed();
        if owed.is_empty() {
            return Ok(false);
        }
        let messages = self.all_callbacks(&owed);
        if messages.is_empty() {
            return Ok(true);
        }
        let partition = &self.desk.partition;
        let appended = partition
            .with_room(LogKind::Main, &|| self.broker.clock.now(), |owner, now| {
                owner.append_messages(&messages, now)
            })
            .await?;
        self.make_durable(LogKind::Main, appended.next_offset)
            .await?;
        let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        self.broker.metrics.deliveries.callbacks.inc_by(count);
        self.desk.arrived.notify_one();
        Ok(true)
    }

    pub(super) fn owed(&self) -> Vec<Due> {
        let mut owner = self.desk.partition.owner().lock();
        // A callback may be durable that whoever has synced it has not admitted yet: it is owed no more.
        owner.admit_durable();
        let Some(state) = owner.delivery() else {
            return Vec::new();
        };
        let durable_end = durable_end(&owner);
        let due = state
            .owed()
            .filter(|(outcome, _)| *outcome < durable_end && !self.untold.holds(*outcome));
        let due = due.take(STEP_MAX);
        due.map(|(outcome, owed)| Due {
            outcome,
            owed,
            attempts: state.get(owed.message).map_or(1, |known| known.attempts),
            carried_at: state.carried_at(owed.message),
        })
        .collect()
    }

    /// Makes the callbacks of the first of these outcomes, those of one together.
    fn all_callbacks(&mut self, owed: &[Due]) -> Vec<NewMessage> {
        let reader = self.desk.partition.push_reader();
        let mut messages: Vec<NewMessage> = Vec::new();
        let mut bytes = 0usize;
        for one in owed {
            if bytes >= STEP_BYTES_GOAL {
                break;
            }
            match self.callbacks(&reader, one) {
                Ok(made) if !made.is_empty() => {
                    let made_bytes: usize = made.iter().map(|message| message.body.len()).sum();
                    bytes = bytes.saturating_add(made_bytes);
                    messages.extend(made);
                }
                Ok(_none) => self.untold.add(one.outcome),
                Err(error) => {
                    self.tell_unreadable(one.owed.message, &error);
                    self.untold.add(one.outcome);
                }
            }
        }
        messages
    }

    fn callbacks(&mut self, reader: &PushReader, due: &Due) -> Result<Vec<NewMessage>, LogError> {
        let now = self.broker.clock.now();
        let source = (self.recent).message(reader, (due.owed.message, due.carried_at))?;
        let known = (due.owed.message, due.attempts);
        let outcome = self.recent.outcome(reader, due.outcome, known, now)?;
        let mut messages = Vec::new();
        if let Some(callback) = source
            .envelope
            .callback
            .as_ref()
            .filter(|_| due.owed.callback)
        {
            let cause = (CauseKind::Callback, LogKind::Delivery, due.outcome);
            messages.push(self.callback(&source, callback, &outcome, due, cause));
        }
        if let (Some(callback), Some(letter)) = (&source.envelope.failure_callback, due.owed.letter)
            && due.owed.failure_callback
        {
            let cause = (CauseKind::FailureCallback, LogKind::DeadLetter, letter);
            messages.push(self.callback(&source, callback, &outcome, due, cause));
        }
        Ok(messages)
    }

    fn callback(
        &self,
        source: &PushedMessage,
        callback: &Callback,
        outcome: &Outcome,
        due: &Due,
        (kind, log, offset): (CauseKind, LogKind, Offset),
    ) -> NewMessage {
        let number = self.desk.partition.number();
        let now = self.broker.clock.now();
        let id = Address::message(number, source.offset).to_string();
        let dlq_id = due
            .owed
            .letter
            .map(|letter| Address::letter(number, letter).to_string());
        let body = callback_body(&Told {
            envelope: &source.envelope,
            message_id: &id,
            source_body: &source.body,
            created_at: source.timestamp,
            attempt: outcome.attempt.number,
            result: outcome.attempt.result,
            headers: &outcome.attempt.headers,
            body: &outcome.attempt.body,
            is_body_cut: outcome.attempt.is_body_cut,
            dlq_id: dlq_id.as_deref(),
        });
        NewMessage {
            timestamp: now,
            body,
            envelope: kept_place(source, callback, now),
            cause: Some(Cause {
                kind,
                log: LogId::new(number, log),
                offset,
                detail: CauseDetail {
                    attempt: Some(outcome.attempt.number),
                    ..CauseDetail::default()
                },
            }),
        }
    }

    async fn make_durable(&self, kind: LogKind, end: Offset) -> Result<(), LogError> {
        self.desk.partition.schedule_sync(kind);
        self.desk.partition.wait_durable_of(kind, end).await
    }
}

/// A message whose letter is not known durable.
struct Dying {
    message: Offset,
    outcome: Offset,
    attempts: u32,
    carried_at: Option<Offset>,
    history_at: Option<Offset>,
}

/// Callbacks that can be appended.
pub(super) struct Due {
    outcome: Offset,
    owed: Owed,
    attempts: u32,
    carried_at: Option<Offset>,
}

/// The callback of a queue's message keeps that message's place in the queue.
fn kept_place(source: &PushedMessage, callback: &Callback, now: TimestampMs) -> Envelope {
    let queue = source.envelope.queue.clone();
    let root = queue.as_ref().map(|_| source.offset);
    Envelope {
        queue,
        ..callback_envelope(&source.envelope, callback, now, root)
    }
}
