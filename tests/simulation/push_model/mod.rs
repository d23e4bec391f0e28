//! What the broker has promised about pushed messages, written from the design page, from answers and from what reaches the
//! destinations alone, and what breaks it.

pub(crate) mod flow;
mod groups;
pub(crate) mod known;
mod letters;
mod order;
mod published;
pub(crate) mod schedules;

use std::collections::{BTreeMap, BTreeSet};

use storage::address::Address;
use storage::delivery::DeliveryCounts;

use crate::log_model::Broken;
use flow::{FlowModel, KEYS, Now};
use groups::GroupModel;
use letters::PushLetter;
use published::Deduplicated;
use schedules::{Fired, ScheduleModel};

/// Simulated time in which a broker whose disk is well has written down how an attempt ended.
const WRITTEN_WITHIN_MS: u64 = 2_000;

/// What a publisher asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) retries: u32,
    pub(crate) queue: Option<String>,
    pub(crate) dedup: Option<String>,
    pub(crate) has_callback: bool,
    pub(crate) has_failure_callback: bool,
    /// Its flow-control key, by its place among all.
    pub(crate) flow: Option<usize>,
    /// The URL group that it goes to.
    pub(crate) group: Option<String>,
    /// The schedule whose messages these are.
    pub(crate) schedule: Option<String>,
}

impl Asked {
    /// What is said of queues and of flow control.
    pub(crate) fn more_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if self.schedule.is_some() {
            let queue = self.queue.iter().cloned();
            headers.extend(queue.map(|queue| ("upstash-queue-name", queue)));
        }
        if let Some(at) = self.flow {
            headers.push(("upstash-flow-control-key", KEYS[at].name.to_owned()));
            headers.push(("upstash-flow-control-value", KEYS[at].header()));
        }
        headers
    }
}

/// An attempt, as its destination sees it.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) id: &'a str,
    pub(crate) token: u64,
    pub(crate) retried: u32,
    pub(crate) url: &'a str,
    /// What its headers say of a URL group and of a schedule.
    pub(crate) group: &'a str,
    pub(crate) schedule: &'a str,
}

/// A message, by what reached a destination of it and what its publisher was told.
#[derive(Debug, Default)]
struct Message {
    token: u64,
    /// Where it stands: messages of a queue go in this order.
    at: (u32, u64),
    is_accepted: bool,
    arrived: u32,
    /// Brokers that had ended before its first arrival.
    ends_before: u32,
    under_way: u32,
    /// Number of its last attempt, from 0, and how many brokers had ended before that.
    last: Option<(u32, u32)>,
    /// Attempts of which it is sure that they are written down: something has followed from them, or their end came long
    /// before a broker's.
    written: u32,
    /// When its last answer came, in simulated time.
    answered_ms: Option<u64>,
    /// Its last answer ended it.
    is_final: bool,
    /// It was taken, and by which broker's attempt.
    taken: Option<u32>,
    is_cancel_tried: bool,
    is_cancelled: bool,
    letter: Option<String>,
    callbacks: u32,
}

/// The model of everything that was pushed.
#[derive(Debug, Default)]
pub(crate) struct PushModel {
    asked: BTreeMap<u64, Asked>,
    messages: BTreeMap<String, Message>,
    deduplicated: BTreeMap<String, Deduplicated>,
    /// Publishes to URL groups with a deduplication id that were answered, and the ids of all their messages.
    fanned_out: BTreeMap<String, (Deduplicated, Vec<String>)>,
    repeated: u64,
    callbacks: BTreeMap<(String, u64, String), String>,
    /// Messages of callbacks: what they tell of, and whether they have come to their end.
    told: BTreeMap<String, (String, bool)>,
    pub(crate) letters: BTreeMap<String, PushLetter>,
    /// Messages of each token at each URL.
    copies: BTreeMap<(u64, String), BTreeSet<String>>,
    pub(crate) flow: FlowModel,
    pub(crate) groups: GroupModel,
    pub(crate) schedules: ScheduleModel,
    ends: u32,
    jumps: u32,
    pub(crate) counts: PushTotals,
}

/// How much was done.
#[derive(Debug, Default, Clone)]
pub(crate) struct PushTotals {
    pub(crate) published: u64,
    pub(crate) attempts: u64,
    pub(crate) callbacks: u64,
}

/// Every message is in exactly one state.
pub(crate) fn conserves(c: &DeliveryCounts) -> Result<(), Broken> {
    let sum = c.pending + c.in_flight + c.delivered + c.cancelled + c.dead_lettered;
    if sum == c.accepted {
        return Ok(());
    }
    Err(format!(
        "{} messages were accepted, {sum} are there: {c:?}",
        c.accepted
    ))
}

fn place(id: &str) -> Result<(u32, u64), Broken> {
    let address: Result<Address, _> = id.parse();
    let address = address.map_err(|error| format!("message id {id:?}: {error}"))?;
    Ok((address.partition.0, address.offset.0))
}

/// An attempt has the number behind the last one's, or, after a crash, the same one: what was counted stays counted.
fn check_number(
    id: &str,
    retried: u32,
    last: Option<(u32, u32)>,
    (written, ends): (u32, u32),
) -> Result<(), Broken> {
    let is_next = match last {
        None => retried == 0,
        Some((number, ends_before)) => {
            retried == number + 1 || (retried == number && ends_before < ends)
        }
    };
    if is_next && retried >= written {
        return Ok(());
    }
    Err(format!(
        "message {id} is sent with {retried} retried, behind {last:?} of {ends} lives; {written} attempts were written down"
    ))
}

impl PushModel {
    /// A broker has ended. With `is_well` its disk had failed nothing: it has written down what came some time before.
    pub(crate) fn broker_has_ended(&mut self, now: Now, is_well: bool) {
        self.ends += 1;
        self.flow.broker_has_ended(now.wall_ms);
        self.groups.broker_has_ended();
        self.schedules.broker_has_ended(now.wall_ms);
        for message in self.messages.values_mut() {
            message.under_way = 0;
            let answered_ms = message.answered_ms.take();
            let is_long_ago =
                answered_ms.is_some_and(|ms| ms + WRITTEN_WITHIN_MS < now.simulated_ms);
            if is_well
                && is_long_ago
                && let Some((number, _)) = message.last
            {
                message.written = message.written.max(number + 1);
            }
        }
    }

    pub(crate) fn clock_jumps(&mut self) {
        self.jumps += 1;
        self.flow.clock_jumps();
        self.schedules.clock_jumps();
    }

    pub(crate) fn jump_count(&self) -> u32 {
        self.jumps
    }

    pub(crate) fn has_clock_jumped(&self) -> bool {
        self.jumps > 0
    }

    /// Makes the token of a new message: its body says it.
    pub(crate) fn ask(&mut self, asked: Asked) -> u64 {
        let token = self.asked.len() as u64 + 1;
        self.asked.insert(token, asked);
        token
    }

    fn message(&mut self, id: &str, token: u64) -> Result<&mut Message, Broken> {
        let (ends, at) = (self.ends, place(id)?);
        let message = self.messages.entry(id.to_owned()).or_insert(Message {
            token,
            at,
            ends_before: ends,
            ..Message::default()
        });
        if message.token != token {
            return Err(format!(
                "message {id} has the body of {token} and of {}",
                message.token
            ));
        }
        Ok(message)
    }

    /// An attempt reaches a destination.
    pub(crate) fn arrived(&mut self, arrival: &Arrival<'_>, now: Now) -> Result<(), Broken> {
        self.counts.attempts += 1;
        let Arrival {
            id, token, retried, ..
        } = *arrival;
        let ends = self.ends;
        let asked = self.asked.get(&token).cloned().unwrap_or_default();
        let is_of = |name: &Option<String>| name.clone().unwrap_or_default();
        if (arrival.group, arrival.schedule) != (&is_of(&asked.group), &is_of(&asked.schedule)) {
            return Err(format!("{arrival:?} was asked for as {asked:?}"));
        }
        if let Some(key) = asked.flow {
            self.flow.arrived(key, now)?;
        }
        self.groups.arrived(token, arrival.url)?;
        self.check_copies(arrival, &asked)?;
        let message = self.message(id, token)?;
        message.arrived += 1;
        message.under_way += 1;
        let allowed = 1 + asked.retries + (ends - message.ends_before);
        let (arrived, at) = (message.arrived, message.at);
        if message.under_way > 1 {
            return Err(format!("message {id} is under way twice"));
        }
        let last = message.last.replace((retried, ends));
        message.answered_ms = None;
        check_number(id, retried, last, (message.written, ends))?;
        if arrived > allowed || retried > asked.retries {
            return Err(format!(
                "message {id} is sent for the {arrived}th time ({retried} retried): {asked:?}, {} crashes",
                ends - message.ends_before
            ));
        }
        if message.is_cancelled {
            return Err(format!("message {id} is sent and was cancelled"));
        }
        if message.taken == Some(ends) {
            return Err(format!("message {id} is sent again and was taken"));
        }
        if message.letter.is_some() {
            return Err(format!("message {id} is sent and has died"));
        }
        match &asked.queue {
            Some(queue) => self.check_order(queue, id, at),
            None => Ok(()),
        }
    }

    /// What is sent once is one message, and one more for each time that somebody sends it back when it has died.
    fn check_copies(&mut self, arrival: &Arrival<'_>, asked: &Asked) -> Result<(), Broken> {
        if asked.schedule.is_some() {
            return Ok(());
        }
        let key = (arrival.token, arrival.url.to_owned());
        let copies = self.copies.entry(key).or_default();
        copies.insert(arrival.id.to_owned());
        let is_sent_back =
            |letter: &&PushLetter| letter.is_retry_tried && copies.contains(&letter.message);
        if copies.len() <= 1 + self.letters.values().filter(is_sent_back).count() {
            return Ok(());
        }
        Err(format!(
            "{} was published once and is sent to {} as {copies:?}",
            arrival.token, arrival.url
        ))
    }

    /// The destination has answered an attempt.
    pub(crate) fn answered(
        &mut self,
        (id, retried): (&str, u32),
        (is_taken, is_last): (bool, bool),
        now_ms: u64,
    ) {
        let ends = self.ends;
        let asked = &self.asked;
        let retries = |token| asked.get(&token).map_or(0, |asked: &Asked| asked.retries);
        if let Some((source, has_ended)) = self.told.get_mut(id) {
            let token = self.messages.get(source).map(|message| message.token);
            *has_ended |= is_taken || is_last || retried >= token.map_or(0, retries);
        }
        let Some(message) = self.messages.get_mut(id) else {
            return;
        };
        if let Some(key) = asked.get(&message.token).and_then(|asked| asked.flow) {
            self.flow.answered(key);
        }
        message.under_way = message.under_way.saturating_sub(1);
        message.answered_ms = Some(now_ms);
        message.is_final |= is_taken || is_last || retried >= retries(message.token);
        if is_taken {
            message.taken = Some(ends);
        }
    }

    /// Whether a message counts in the periods of a key.
    pub(crate) fn has_rate(&self, id: &str) -> bool {
        let asked = self
            .messages
            .get(id)
            .and_then(|one| self.asked.get(&one.token));
        let key = asked.and_then(|asked| asked.flow);
        key.is_some_and(|at| KEYS[at].rate.is_some())
    }

    /// Looks at everything that schedules have made, when nothing is pending.
    pub(crate) fn check_fired(&mut self, fired: &[Fired]) -> Result<(), Broken> {
        let arrived: BTreeSet<_> = self
            .messages
            .values()
            .map(|one| (one.token, one.at.1))
            .collect();
        let has_arrived = |one: &Fired| arrived.contains(&(one.token, one.offset));
        self.schedules.check_fired(fired, has_arrived)
    }

    /// Returns how many firings, publishes to groups, attempts with a flow-control key, publishes to groups that repeated
    /// another, and changes of limits there were.
    pub(crate) fn more_counts(&self) -> [u64; 5] {
        [
            self.schedules.firings,
            self.groups.published,
            self.flow.attempts,
            self.repeated,
            self.flow.turned,
        ]
    }

    /// Every message that was accepted has come to its end. Called when nothing is pending, and every letter has been seen.
    pub(crate) fn check_ends(&self) -> Result<(), Broken> {
        for (id, message) in self.messages.iter().filter(|(_, one)| one.is_accepted) {
            let has_ended =
                message.taken.is_some() || message.letter.is_some() || message.is_cancel_tried;
            if !has_ended {
                return Err(format!("message {id} is lost: {message:?}"));
            }
            let asked = self.asked.get(&message.token);
            let is_to_be_told = asked.is_some_and(|asked| asked.has_callback);
            if is_to_be_told
                && message.taken.is_some()
                && !message.is_cancel_tried
                && message.callbacks == 0
            {
                return Err(format!("nobody was told of the end of {id}: {message:?}"));
            }
        }
        self.groups.check_ends()?;
        for first in self.deduplicated.values() {
            if !self.messages.contains_key(&first.id) {
                return Err(format!("message {} is lost: {first:?}", first.id));
            }
        }
        for (first, ids) in self.fanned_out.values() {
            if let Some(id) = ids.iter().find(|id| !self.messages.contains_key(*id)) {
                return Err(format!("message {id} is lost: {first:?}, {ids:?}"));
            }
        }
        Ok(())
    }
}
