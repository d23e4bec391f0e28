//! The task of a partition that begins attempts and writes down how they ended.
//!
//! It goes in rounds. A round takes what lies on the desk and what is due, writes outcomes and intents as one batch, syncs
//! it, and begins the attempts. What comes meanwhile is the next round's, so that one sync serves many attempts. Where all that
//! a round has begun waits for places, the next one comes a little later, so that it serves more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::delivery::{DeliveryState, Outcome};
use storage::error::LogError;
use storage::log_id::LogKind;
use storage::offset::Offset;
use storage::partition::{MessagePlace, PushedMessage, RecentBatches};
use tokio::sync::watch;

use super::attempt::{Attempts, Start};
use super::claim::claim;
use super::desk::{Desk, Held, Inbox, Prepared};
use super::destinations::Destinations;
use super::round::Round;
use crate::broker::Broker;
use crate::causes::Causes;
use crate::delivery::client::AttemptClient;
use crate::delivery::gates::{Pass, Ticket, Turn};
use crate::limits::ATTEMPT_DRAIN_WAIT_MAX;
use crate::shutdown::Shutdown;

/// Messages that one round takes up.
const ROUND_MESSAGES_MAX: usize = 256;
/// Messages that are read together before it shows which of them may start: the others' bodies are let go at once.
const READ_TOGETHER_MAX: usize = 16;
/// Pause behind a round of which nothing could be sent at once: the next one is larger for it, and one sync serves more.
const PACE: Duration = Duration::from_millis(1);
/// Longest wait for the next due message: the wall clock may jump.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Wait after a log has refused an append.
const BACKOFF: Duration = Duration::from_millis(250);
/// When a message that could not be read, or not be begun, is tried again.
const PUT_BACK_MS: i64 = 5_000;

/// The dispatcher of one partition.
pub(super) struct Dispatcher {
    pub(super) broker: Arc<Broker>,
    pub(super) desk: Arc<Desk>,
    pub(super) client: Arc<dyn AttemptClient>,
    /// What was read a moment ago: a message is looked at when it is due, and again when it may start.
    pub(super) recent: RecentBatches,
    pub(super) destinations: Destinations,
    /// It was told that the log takes nothing.
    pub(super) is_stuck: bool,
}

impl Dispatcher {
    /// Works until the broker shuts down and the attempts under way have ended, or have had their time.
    pub(super) async fn run(mut self) {
        let shutdown = self.broker.shutdown().clone();
        loop {
            let mut changes = self.desk.partition.subscribe(LogKind::Main);
            changes.borrow_and_update();
            let next = self.round(true).await;
            self.tell_stuck(&next);
            match next {
                Ok(Next::AtOnce | Next::Unwritten) => {}
                Ok(Next::Pause) => drop(tokio::time::timeout(PACE, shutdown.wait()).await),
                Ok(Next::Rest) => self.rest(&mut changes, &shutdown).await,
                Err(_told) => {
                    tokio::select! {
                        () = tokio::time::sleep(BACKOFF) => {}
                        () = shutdown.wait() => break,
                    }
                }
            }
            if shutdown.is_triggered() {
                break;
            }
        }
        self.desk.drop_prepared();
        tokio::time::timeout(ATTEMPT_DRAIN_WAIT_MAX, self.drain())
            .await
            .ok();
    }

    /// Says once that the log takes nothing, and once that it does again.
    fn tell_stuck(&mut self, round: &Result<Next, LogError>) {
        let partition = self.desk.partition.number().0;
        match round {
            Err(error) if !self.is_stuck => {
                self.is_stuck = true;
                tracing::warn!(partition, error = %Causes(error), "deliveries wait for the delivery log");
            }
            Ok(Next::AtOnce | Next::Pause) if self.is_stuck => {
                self.is_stuck = false;
                tracing::info!(partition, "deliveries go on");
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Waits until there may be something to do.
    async fn rest(&mut self, changes: &mut watch::Receiver<u64>, shutdown: &Shutdown) {
        let wait = self.until_due();
        tokio::select! {
            () = self.desk.arrived.notified() => {}
            _ = changes.changed() => {}
            () = tokio::time::sleep(wait) => {
                if wait == LOOK_AGAIN {
                    // Nothing goes on: the memory is better used elsewhere.
                    self.recent.clear();
                }
            }
            () = shutdown.wait() => {}
        }
    }

    /// Writes down the ends of attempts that are under way; begins none.
    async fn drain(&mut self) {
        loop {
            match self.round(false).await {
                Ok(Next::Rest) if self.desk.is_idle() => return,
                Ok(Next::Rest) => self.desk.arrived.notified().await,
                Ok(Next::AtOnce | Next::Unwritten | Next::Pause) => {}
                Err(_) => tokio::time::sleep(BACKOFF).await,
            }
        }
    }

    pub(super) fn until_due(&self) -> Duration {
        let owner = self.desk.partition.owner().lock();
        if !Desk::takes_entries(&owner) {
            return BACKOFF;
        }
        let Some(due) = owner.delivery().and_then(DeliveryState::next_due) else {
            return LOOK_AGAIN;
        };
        let wait = due.since(self.broker.clock.now()).max(0);
        Duration::from_millis(wait.unsigned_abs()).min(LOOK_AGAIN)
    }

    /// Does what there is to do.
    pub(super) async fn round(&mut self, may_begin: bool) -> Result<Next, LogError> {
        let Inbox {
            granted,
            ended,
            placed,
        } = self.desk.take();
        for place in placed {
            self.attempts().launch(place);
        }
        let due = if may_begin {
            self.take_due()
        } else {
            Vec::new()
        };
        if granted.is_empty() && ended.is_empty() && due.is_empty() {
            return Ok(Next::Rest);
        }
        // A pass that comes while the broker drains is not given back: its place would only go to the next one who waits.
        let mut starts = if may_begin {
            self.granted(granted)
        } else {
            Vec::new()
        };
        for due in due.chunks(READ_TOGETHER_MAX) {
            self.pass_gates(due, &mut starts);
        }
        self.write(ended, starts).await
    }

    /// Takes the messages whose time has come, with where the copies of their records stand. None while the delivery log takes
    /// no intents: they would only go through the gates for nothing, in the places of others.
    fn take_due(&self) -> Vec<MessagePlace> {
        let mut owner = self.desk.partition.owner().lock();
        if !Desk::takes_entries(&owner) {
            return Vec::new();
        }
        // Behind a refusal, one is enough to find out whether it takes them again.
        let count_max = if self.is_stuck { 1 } else { ROUND_MESSAGES_MAX };
        let due = owner.take_due(self.broker.clock.now(), count_max);
        let state = owner.delivery();
        due.into_iter()
            .map(|message| (message, state.and_then(|state| state.carried_at(message))))
            .collect()
    }

    /// Reads the messages that passes were granted for. A pass whose message is called off meanwhile is given back.
    fn granted(&mut self, passes: Vec<Held>) -> Vec<Start> {
        let places: Vec<_> = {
            let owner = self.desk.partition.owner().lock();
            let state = owner.delivery();
            passes
                .iter()
                .map(|pass| {
                    let message = pass.ticket.message;
                    (message, state.and_then(|state| state.carried_at(message)))
                })
                .collect()
        };
        let mut starts = Vec::new();
        for (pass, message) in passes.into_iter().zip(self.read(&places)) {
            match message {
                Some(message) => {
                    let destination = self.destinations.parse(&message.envelope.url);
                    starts.push(Start::new(message, destination, pass));
                }
                None => self.give_up(&pass),
            }
        }
        starts
    }

    /// Lets due messages through the gates; those that may not start wait there.
    fn pass_gates(&mut self, due: &[MessagePlace], starts: &mut Vec<Start>) {
        let messages = self.read(due);
        let claimed: Vec<_> = messages
            .into_iter()
            .flatten()
            .map(|message| {
                let destination = self.destinations.parse(&message.envelope.url);
                let claim = claim(&message, &destination);
                (message, destination, claim)
            })
            .collect();
        let push = self.broker.push();
        let now = self.broker.clock.now();
        let mut has_to_wait = false;
        let mut passes = Vec::new();
        let keys = claimed
            .iter()
            .filter_map(|(message, ..)| message.envelope.flow.as_ref())
            .map(|flow| flow.key.as_str());
        let keys: Vec<_> = keys.collect();
        let mut gates = push.gates_for(&keys);
        for (message, destination, claim) in claimed {
            let ticket = Ticket {
                partition: self.desk.index,
                message: message.offset,
            };
            let flow = message.envelope.flow.as_ref();
            let flow = flow.map(|flow| (flow, message.append_time));
            let (pass, others) = gates.enter(ticket, flow, claim, now);
            passes.extend(others);
            let Some(pass) = pass else {
                has_to_wait = true;
                continue;
            };
            push.keep_place(&gates, &pass);
            let pass = Held::new(&self.desk, pass);
            starts.push(Start::new(message, destination, pass));
        }
        push.hand_out(gates, passes, now);
        if has_to_wait {
            push.ticks.notify_one();
        }
    }

    /// Reads messages. One that cannot be read comes later again: its damage is told, and nothing is lost.
    fn read(&mut self, places: &[MessagePlace]) -> Vec<Option<Box<PushedMessage>>> {
        if places.is_empty() {
            return Vec::new();
        }
        let reader = self.desk.partition.push_reader();
        let mut messages = Vec::with_capacity(places.len());
        for (offset, read) in reader.messages_near(places, &mut self.recent) {
            messages.push(match read {
                Ok(message) => Some(message),
                Err(error) => {
                    tracing::error!(partition = self.desk.partition.number().0, offset = offset.0, error = %Causes(&error), "a message cannot be read; it is tried again");
                    self.put_back(offset);
                    None
                }
            });
        }
        messages
    }

    fn put_back(&self, message: Offset) {
        let due = self.broker.clock.now().saturating_add(PUT_BACK_MS);
        let mut owner = self.desk.partition.owner().lock();
        if let Some(state) = owner.delivery_mut() {
            state.put_back(message, due);
        }
    }

    fn give_up(&self, pass: &Pass) {
        self.put_back(pass.ticket.message);
        self.leave_unsent(pass);
    }

    fn leave_unsent(&self, pass: &Pass) {
        let now = self.broker.clock.now();
        for place in self.broker.push().leave_unsent(pass, now) {
            self.attempts().launch(place);
        }
    }

    fn attempts(&self) -> Attempts {
        Attempts {
            broker: Arc::clone(&self.broker),
            client: Arc::clone(&self.client),
        }
    }

    /// Writes outcomes and intents, syncs them, and begins the attempts.
    async fn write(&self, ended: Vec<Outcome>, starts: Vec<Start>) -> Result<Next, LogError> {
        let partition = &self.desk.partition;
        let has_ended = !ended.is_empty();
        let mut round = Round::new(starts, ended);
        let appended = partition
            .with_room(
                LogKind::Delivery,
                &|| self.broker.clock.now(),
                |owner, now| round.append(owner, now),
            )
            .await;
        for pass in std::mem::take(&mut round.given_up) {
            self.give_up(&pass);
        }
        if appended.is_ok() && !round.ended.is_empty() {
            self.desk.put_back(std::mem::take(&mut round.ended));
            self.desk.arrived.notify_one();
        }
        let end = match appended {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(Next::Unwritten),
            Err(error) => {
                self.desk.put_back(round.ended);
                for start in round.starts {
                    self.give_up(&start.pass);
                }
                return Err(error);
            }
        };
        partition.schedule_sync(LogKind::Delivery);
        if let Err(error) = partition.wait_durable_of(LogKind::Delivery, end).await {
            // Whether the intents survive is unknown: nothing is sent, and the next start of the broker tries again.
            for start in round.starts {
                self.leave_unsent(&start.pass);
            }
            return Err(error);
        }
        if has_ended {
            self.desk.aftermath.notify_one();
        }
        Ok(self.begin(round.starts))
    }

    /// Makes the attempts for which there are places. The others wait for theirs.
    fn begin(&self, starts: Vec<Start>) -> Next {
        if starts.is_empty() {
            return Next::AtOnce;
        }
        let (push, now) = (self.broker.push(), self.broker.clock.now());
        let called_off_before = self.desk.called_off_count();
        // Put down first: somebody else's end may call for them at once.
        let Prepared { claims, called_off } = self.desk.prepare(starts);
        for start in called_off {
            self.leave_unsent(&start.pass);
        }
        let mut places = Vec::new();
        {
            let mut all = push.places.lock();
            for (ticket, claim) in claims {
                places.extend(match claim.turn {
                    Turn::InOrder => Some(all.take_kept(ticket, claim)),
                    Turn::Ahead => all.enter(ticket, None, claim, now).0,
                });
            }
        }
        if self.desk.called_off_count() != called_off_before {
            // One may have been called off in between: its ticket has come behind the sweep that was to take it out.
            push.has_cancelled.store(true, Ordering::Release);
        }
        let attempts = self.attempts();
        // As long as nobody was waited for, there is no hurry.
        let next = if places.is_empty() {
            Next::Pause
        } else {
            Next::AtOnce
        };
        for place in places {
            attempts.launch(place);
        }
        next
    }
}

/// When the next round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// When there is something to do: there was nothing.
    Rest,
    AtOnce,
    /// At once; nothing was written, so that nothing is known of the log.
    Unwritten,
    /// A little later: what this round has begun waits for others to end.
    Pause,
}
