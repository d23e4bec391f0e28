//! The bytes of a whole state, for a snapshot in the delivery log.
//!
//! Numbers are big-endian; blocks, options and varints are those of `fields.rs`. Lists have a u64 count before their items.
//!
//! | field | content |
//! |---|---|
//! | version | u8, [`STATE_VERSION`]; version 1, which ends with the periods, is still read |
//! | admitted up to | u64: the state holds nothing of the main log from this offset on |
//! | counts | accepted, delivered, cancelled, dead-lettered: u64 each; the others follow from the messages |
//! | names | list of blocks; messages name them by their place, from 1; 0 is none |
//! | messages | list of: offset u64, due i64, history at u64 (all ones: none), history from u64, queue u32, flow-control key u32, attempts u16, phase u8 (1 waiting, 2 dying, 3 owing) |
//! | roots | list of: callback u64, root u64 |
//! | dying | list of: message u64, outcome u64 |
//! | owed | list of: outcome u64, message u64, bits u8 (0 callback, 1 failure callback, 2 dead), letter u64 (all ones: none) |
//! | carried | list of: message u64, delivery-log offset u64 |
//! | duplicates | list of: key 16 bytes, base u64, count u32, time i64 |
//! | fired | list of: schedule block, due i64, base u64, count u32 |
//! | periods | list of: key block, start i64, count u32 |
//! | limits | list of: key block, since i64, bits u8 (0 parallelism, 1 rate, 2 period), those of the three: u32, u32, u64 |
//!
//! A message in flight is written as one that waits: its attempt is made again unless the log behind the snapshot knows its
//! outcome. Equal states have equal bytes.

use std::collections::{BTreeMap, HashMap};

use super::{
    DeliveryState, Duplicate, Fired, FlowLimits, NO_NAME, NameId, Owed, Pending, Period, Phase,
    count_in,
};
use crate::error::Corruption;
use crate::fields::{Reader, missing, put_block, text, wrong};
use crate::offset::{Offset, TimestampMs};

/// The version of the layout above.
pub(super) const STATE_VERSION: u8 = 2;
/// The first version that has the limits of flow-control keys.
const LIMITS_SINCE: u8 = 2;

const PART: &str = "delivery snapshot";
const NONE: u64 = u64::MAX;

impl DeliveryState {
    /// Encodes the state.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        put_u64(&mut out, self.admitted_up_to.0);
        let counts = &self.counts;
        for count in [
            counts.accepted,
            counts.delivered,
            counts.cancelled,
            counts.dead_lettered,
        ] {
            put_u64(&mut out, count);
        }
        let places = self.put_names(&mut out);
        put_count(&mut out, self.messages.len());
        for (message, pending) in &self.messages {
            let place = |name: Option<&std::sync::Arc<str>>| {
                name.and_then(|name| places.get(&**name)).copied()
            };
            let queue = place(self.queues.names().name(pending.queue)).unwrap_or(NO_NAME);
            let flow = place(self.flows.name(pending.flow)).unwrap_or(NO_NAME);
            put_message(&mut out, *message, pending, (queue, flow));
        }
        put_pairs(&mut out, sorted(&self.roots));
        put_pairs(&mut out, self.dying.iter().map(|(m, o)| (*m, *o)));
        put_count(&mut out, self.owed.len());
        for (outcome, owed) in &self.owed {
            put_u64(&mut out, outcome.0);
            put_u64(&mut out, owed.message.0);
            out.push(
                u8::from(owed.callback)
                    | u8::from(owed.failure_callback) << 1
                    | u8::from(owed.is_dead) << 2,
            );
            put_u64(&mut out, owed.letter.map_or(NONE, |letter| letter.0));
        }
        put_pairs(&mut out, self.carried.iter().map(|(m, at)| (*m, *at)));
        self.put_tables(&mut out);
        out
    }

    /// Writes the names of queues and keys and returns the place of each.
    fn put_names(&self, out: &mut Vec<u8>) -> BTreeMap<String, u32> {
        let queues = self.queues.names().iter();
        let names = queues.chain(self.flows.iter());
        let mut places: BTreeMap<_, _> = names.map(|(_, name, _)| (name.to_owned(), 0)).collect();
        put_count(out, places.len());
        for (at, (name, place)) in (1u32..).zip(&mut places) {
            *place = at;
            put_block(out, name.as_bytes());
        }
        places
    }

    fn put_tables(&self, out: &mut Vec<u8>) {
        put_count(out, self.duplicates.len());
        for duplicate in &self.duplicates {
            out.extend_from_slice(&duplicate.key);
            put_u64(out, duplicate.base.0);
            out.extend_from_slice(&duplicate.count.to_be_bytes());
            out.extend_from_slice(&duplicate.time.0.to_be_bytes());
        }
        put_count(out, self.fired.len());
        for (id, fired) in &self.fired {
            put_block(out, id.as_bytes());
            out.extend_from_slice(&fired.due.0.to_be_bytes());
            put_u64(out, fired.base.0);
            out.extend_from_slice(&fired.count.to_be_bytes());
        }
        let periods: BTreeMap<_, _> = self.periods.iter().collect();
        put_count(out, periods.len());
        for (key, period) in periods {
            put_block(out, key.as_bytes());
            out.extend_from_slice(&period.start.0.to_be_bytes());
            out.extend_from_slice(&period.count.to_be_bytes());
        }
        let limits: BTreeMap<_, _> = self.keys.iter().collect();
        put_count(out, limits.len());
        for (key, limits) in limits {
            put_block(out, key.as_bytes());
            put_limits(out, limits);
        }
    }

    /// Decodes a state, to be folded on: [`DeliveryState::finish_fold`] is still to be called.
    ///
    /// # Errors
    /// The [`Corruption`] that was met first.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new(PART, bytes);
        let version = reader.u8()?;
        if !(1..=STATE_VERSION).contains(&version) {
            return Err(wrong("delivery snapshot version", u64::from(version)));
        }
        let mut state = Self {
            admitted_up_to: Offset(reader.u64()?),
            ..Self::default()
        };
        state.counts.accepted = reader.u64()?;
        state.counts.delivered = reader.u64()?;
        state.counts.cancelled = reader.u64()?;
        state.counts.dead_lettered = reader.u64()?;
        let mut names = Vec::new();
        for _ in 0..reader.u64()? {
            names.push(reader.text("name")?);
        }
        let mut messages = Vec::new();
        for _ in 0..reader.u64()? {
            messages.push(read_message(&mut reader)?);
        }
        for _ in 0..reader.u64()? {
            let (callback, root) = read_pair(&mut reader)?;
            state.roots.insert(callback, root);
        }
        for (message, pending) in messages {
            state.restore(message, pending, &names)?;
        }
        state.read_lists(&mut reader)?;
        if version >= LIMITS_SINCE {
            state.read_limits(&mut reader)?;
        }
        reader.finish()?;
        state.place_all();
        Ok(state)
    }

    fn restore(
        &mut self,
        message: Offset,
        mut pending: Pending,
        names: &[String],
    ) -> Result<(), Corruption> {
        let name = |place: u32| {
            let at = usize::try_from(place.checked_sub(1)?).ok()?;
            names.get(at)
        };
        if pending.flow != NO_NAME {
            let key = name(pending.flow).ok_or_else(|| wrong("name", u64::from(pending.flow)))?;
            pending.flow = self.flows.take(key);
        }
        if pending.queue != NO_NAME {
            let queue =
                name(pending.queue).ok_or_else(|| wrong("name", u64::from(pending.queue)))?;
            pending.queue = match self.roots.get(&message) {
                Some(root) => {
                    let holds = self.holds.entry(*root).or_default();
                    *holds = holds.saturating_add(1);
                    self.queues.hold(queue, *root)
                }
                None => self.queues.join(queue, message),
            };
            if pending.phase == Phase::Owing && !self.roots.contains_key(&message) {
                self.queues.processed(pending.queue);
            }
        }
        count_in(&mut self.counts, pending.phase);
        if self.messages.insert(message, pending).is_some() {
            return Err(wrong("repeated message", message.0));
        }
        Ok(())
    }

    fn read_lists(&mut self, reader: &mut Reader<'_>) -> Result<(), Corruption> {
        for _ in 0..reader.u64()? {
            let (message, outcome) = read_pair(reader)?;
            self.dying.insert(message, outcome);
        }
        for _ in 0..reader.u64()? {
            let outcome = Offset(reader.u64()?);
            let owed = read_owed(reader)?;
            if let (Some(letter), true) = (owed.letter, owed.failure_callback) {
                self.owed_letters.insert(letter, outcome);
            }
            let pending = self
                .messages
                .get_mut(&owed.message)
                .ok_or_else(|| missing("message that owes"))?;
            pending.owed = pending.owed.saturating_add(1);
            self.owed.insert(outcome, owed);
        }
        for _ in 0..reader.u64()? {
            let (message, at) = read_pair(reader)?;
            self.carried.insert(message, at);
        }
        for _ in 0..reader.u64()? {
            let mut key = [0; 16];
            key.copy_from_slice(reader.bytes(16)?);
            self.duplicates.push_back(Duplicate {
                key,
                base: Offset(reader.u64()?),
                count: reader.u32()?,
                time: TimestampMs(reader.i64()?),
            });
        }
        for _ in 0..reader.u64()? {
            let id = reader.text("schedule")?;
            let fired = Fired {
                due: TimestampMs(reader.i64()?),
                base: Offset(reader.u64()?),
                count: reader.u32()?,
            };
            self.fired.insert(id, fired);
        }
        for _ in 0..reader.u64()? {
            let key = text("key", reader.block()?)?;
            let period = Period {
                start: TimestampMs(reader.i64()?),
                count: reader.u32()?,
            };
            self.periods.insert(key, period);
        }
        Ok(())
    }

    fn read_limits(&mut self, reader: &mut Reader<'_>) -> Result<(), Corruption> {
        for _ in 0..reader.u64()? {
            let key = text("key", reader.block()?)?;
            let limits = read_limits(reader)?;
            self.keys.restore(key, limits);
        }
        Ok(())
    }

    /// Gives every queue's places to its oldest messages and sets all timers.
    fn place_all(&mut self) {
        let queues: Vec<NameId> = self.queues.names().iter().map(|(id, ..)| id).collect();
        for queue in queues {
            self.queues.promote(queue);
        }
        let waiting: Vec<_> = self.messages.keys().copied().collect();
        for message in waiting {
            self.arm(message);
        }
    }
}

fn put_message(
    out: &mut Vec<u8>,
    message: Offset,
    pending: &Pending,
    (queue, flow): (NameId, NameId),
) {
    put_u64(out, message.0);
    out.extend_from_slice(&pending.due.0.to_be_bytes());
    put_u64(out, pending.history_at.map_or(NONE, |at| at.0));
    put_u64(out, pending.history_from.0);
    out.extend_from_slice(&queue.to_be_bytes());
    out.extend_from_slice(&flow.to_be_bytes());
    out.extend_from_slice(&pending.attempts.to_be_bytes());
    out.push(match pending.phase {
        Phase::Waiting | Phase::Ready | Phase::InFlight => 1,
        Phase::Dying => 2,
        Phase::Owing => 3,
    });
}

fn read_message(reader: &mut Reader<'_>) -> Result<(Offset, Pending), Corruption> {
    let message = Offset(reader.u64()?);
    let pending = Pending {
        due: TimestampMs(reader.i64()?),
        history_at: Some(reader.u64()?).filter(|at| *at != NONE).map(Offset),
        history_from: Offset(reader.u64()?),
        queue: reader.u32()?,
        flow: reader.u32()?,
        attempts: reader.u16()?,
        owed: 0,
        phase: match reader.u8()? {
            1 => Phase::Waiting,
            2 => Phase::Dying,
            3 => Phase::Owing,
            other => return Err(wrong("phase", u64::from(other))),
        },
    };
    Ok((message, pending))
}

fn put_limits(out: &mut Vec<u8>, limits: FlowLimits) {
    out.extend_from_slice(&limits.since.0.to_be_bytes());
    out.push(
        u8::from(limits.parallelism.is_some())
            | u8::from(limits.rate.is_some()) << 1
            | u8::from(limits.period_ms.is_some()) << 2,
    );
    for limit in [limits.parallelism, limits.rate].into_iter().flatten() {
        out.extend_from_slice(&limit.to_be_bytes());
    }
    if let Some(period_ms) = limits.period_ms {
        put_u64(out, period_ms);
    }
}

fn read_limits(reader: &mut Reader<'_>) -> Result<FlowLimits, Corruption> {
    let since = TimestampMs(reader.i64()?);
    let bits = reader.u8()?;
    if bits & !7 != 0 {
        return Err(wrong("limits", u64::from(bits)));
    }
    let has = |bit: u8| bits & (1 << bit) != 0;
    Ok(FlowLimits {
        since,
        parallelism: has(0).then(|| reader.u32()).transpose()?,
        rate: has(1).then(|| reader.u32()).transpose()?,
        period_ms: has(2).then(|| reader.u64()).transpose()?,
    })
}

fn read_owed(reader: &mut Reader<'_>) -> Result<Owed, Corruption> {
    let message = Offset(reader.u64()?);
    let bits = reader.u8()?;
    if bits & !7 != 0 {
        return Err(wrong("owed", u64::from(bits)));
    }
    Ok(Owed {
        message,
        callback: bits & 1 != 0,
        failure_callback: bits & 2 != 0,
        is_dead: bits & 4 != 0,
        letter: Some(reader.u64()?)
            .filter(|letter| *letter != NONE)
            .map(Offset),
    })
}

fn read_pair(reader: &mut Reader<'_>) -> Result<(Offset, Offset), Corruption> {
    Ok((Offset(reader.u64()?), Offset(reader.u64()?)))
}

fn sorted(pairs: &HashMap<Offset, Offset>) -> impl ExactSizeIterator<Item = (Offset, Offset)> {
    let sorted: BTreeMap<_, _> = pairs.iter().map(|(one, two)| (*one, *two)).collect();
    sorted.into_iter()
}

fn put_pairs(out: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = (Offset, Offset)>) {
    put_count(out, pairs.len());
    for (one, two) in pairs {
        put_u64(out, one.0);
        put_u64(out, two.0);
    }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u64(out, u64::try_from(count).unwrap_or(u64::MAX));
}
