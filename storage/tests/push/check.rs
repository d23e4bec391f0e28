//! Comparing a partition with the oracle, after it was opened and at rest.

use std::collections::BTreeMap;

use storage::cause::CauseKind;
use storage::delivery::{DeliveryState, Entry, Phase};
use storage::offset::Offset;
use storage::partition::{Partition, PartitionReport};

use crate::machine::{KEY, again};
use crate::oracle::{Broken, End, Flight, Message, Oracle, Result_, ensure, period_of};
use crate::pusher::known_callback;
use crate::truth::{Found, Truth};

/// When a partition is looked at.
#[derive(Debug, Clone, Copy)]
pub enum When<'a> {
    /// It was just opened.
    Opened(&'a PartitionReport),
    /// Everything that was owed is done.
    AtRest,
}

/// Checks a partition, and settles what was in flight by what is there now.
pub fn check(partition: &Partition, when: When<'_>, oracle: &mut Oracle) -> Result<(), Broken> {
    if let When::Opened(report) = when {
        let damage = [
            &report.main.damage,
            &report.dead_letters.damage,
            &report.delivery.damage,
        ];
        ensure(
            damage.iter().all(|d| d.is_empty()),
            "no damage is reported",
            || format!("{damage:?}"),
        )?;
    }
    ensure(
        partition.delivery_damage().is_none(),
        "what the state comes from is there",
        || format!("{:?}", partition.delivery_damage()),
    )?;
    let truth = Truth::read(partition).map_err(|error| Broken {
        check: "the logs can be read",
        seen: format!("{error:?}"),
    })?;
    let state = partition.delivery().unwrap();
    let flight = oracle.flight.take();
    outcomes_in_flight(state, flight.as_ref(), oracle)?;
    records(&truth, flight.as_ref(), oracle)?;
    letters(&truth, oracle)?;
    if let Some(Flight::Cancel(message)) = flight {
        let known = oracle.messages.get_mut(&message).unwrap();
        if known.end.is_none() && !known.is_dying && !state.is_pending(message) {
            known.end = Some(End::Cancelled);
        }
    }
    deaths(state, &truth, oracle)?;
    causes(&truth, oracle)?;
    messages(state, oracle)?;
    counts(state, oracle)?;
    remembered(state, oracle)?;
    readable(partition, state, oracle)?;
    if matches!(when, When::AtRest) {
        at_rest(state, oracle)?;
    }
    Ok(())
}

/// The outcomes of a batch are there, all of them or none.
fn outcomes_in_flight(
    state: &DeliveryState,
    flight: Option<&Flight>,
    oracle: &mut Oracle,
) -> Result<(), Broken> {
    let Some(Flight::Outcomes(ended)) = flight else {
        return Ok(());
    };
    let there = ended.iter().filter(|(message, number, _)| {
        let known = state.get(*message);
        known.is_none_or(|known| known.attempts >= *number)
    });
    let count = there.count();
    ensure(
        count == 0 || count == ended.len(),
        "outcomes of one batch are there together",
        || format!("{count} of {ended:?}"),
    )?;
    if count > 0 {
        oracle.recorded(ended);
    }
    Ok(())
}

fn records(truth: &Truth, flight: Option<&Flight>, oracle: &mut Oracle) -> Result<(), Broken> {
    let mut published = 0;
    for (offset, found) in &truth.records {
        if let Some(known) = oracle.messages.get(offset) {
            ensure(
                known.name == found.name(),
                "an accepted message stays what it is",
                || format!("{offset}: {} instead of {known:?}", found.body),
            )?;
            continue;
        }
        let message = unknown(*offset, found, flight, oracle).ok_or_else(|| Broken {
            check: "no message is invented",
            seen: format!("{offset}: {found:?} with {flight:?} in flight"),
        })?;
        published += usize::from(message.source.is_none());
        oracle.accept(*offset, message)?;
    }
    if let Some(Flight::Publish(all)) = flight {
        ensure(
            published == 0 || published == all.len(),
            "what is published together is there together",
            || format!("{published} of {all:?}"),
        )?;
    }
    let first = truth.records.keys().next().copied();
    let first = first.unwrap_or(oracle.main_start);
    let lost = oracle
        .messages
        .range(first..)
        .find(|(offset, _)| !truth.records.contains_key(offset));
    ensure(lost.is_none(), "an accepted message is there", || {
        format!("{lost:?}")
    })
}

/// Returns what a record is that nobody was told of, if it may be there.
fn unknown(
    offset: Offset,
    found: &Found,
    flight: Option<&Flight>,
    oracle: &Oracle,
) -> Option<Message> {
    let kind = found.cause.as_ref().map(|cause| cause.kind);
    match (kind, flight) {
        (Some(CauseKind::Callback | CauseKind::FailureCallback), _) => {
            let source = found.name().split(' ').nth(1)?.parse().ok()?;
            oracle.messages.get(&Offset(source))?;
            Some(known_callback(
                found.name(),
                Offset(source),
                found.envelope.root,
            ))
        }
        (Some(CauseKind::Republish), Some(Flight::Republish(source))) => {
            let source = &oracle.messages[source];
            let is_it = source.name == found.name()
                && source.letter == found.cause.as_ref().map(|cause| cause.offset);
            is_it.then(|| again(source))
        }
        (None | Some(CauseKind::Schedule), Some(Flight::Publish(messages))) => {
            let message = messages.get(offset.since(found.base)? as usize)?;
            (message.name == found.name()).then(|| message.clone())
        }
        _ => None,
    }
}

fn letters(truth: &Truth, oracle: &mut Oracle) -> Result<(), Broken> {
    for (at, letter) in &truth.letters {
        let Some(known) = oracle.messages.get_mut(&letter.source.offset) else {
            return ensure(false, "a letter is of an accepted message", || {
                format!("{at}: {letter:?}")
            });
        };
        ensure(
            known.letter.is_none_or(|before| before == *at),
            "a message has one letter",
            || format!("{at} and {:?} of {known:?}", known.letter),
        )?;
        known.letter = Some(*at);
        let attempts = letter.history.attempts().len() as u32 + letter.history.left_out();
        let is_kept = letter.record.header("redrive.envelope").is_some();
        ensure(
            attempts == known.recorded && is_kept,
            "a letter holds all attempts, and the envelope",
            || format!("{at}: {letter:?} of {known:?}"),
        )?;
    }
    Ok(())
}

/// A message has died if and only if its letter stands.
fn deaths(state: &DeliveryState, truth: &Truth, oracle: &mut Oracle) -> Result<(), Broken> {
    for (offset, known) in &mut oracle.messages {
        let is_ended = !state.is_pending(*offset);
        if !known.is_dying {
            ensure(
                known.letter.is_none(),
                "a letter stands only of what has failed for good",
                || format!("{offset}: {known:?}"),
            )?;
            continue;
        }
        ensure(
            is_ended == known.letter.is_some(),
            "a message has died when its letter stands",
            || format!("{offset}: {known:?}, {:?}", state.get(*offset)),
        )?;
        if is_ended {
            known.end = Some(End::Dead);
        }
        let expired = truth.letters.keys().next().copied();
        let is_there = known.letter.is_none_or(|at| {
            truth.letters.contains_key(&at) || expired.is_none_or(|first| at < first)
        });
        ensure(is_there, "a letter that stood stays", || {
            format!("{offset}: {known:?}")
        })?;
    }
    Ok(())
}

/// No cause is appended twice, and each is what it says.
fn causes(truth: &Truth, oracle: &mut Oracle) -> Result<(), Broken> {
    for (offset, found) in &truth.records {
        let Some(cause) = &found.cause else { continue };
        let (at, which) = match cause.kind {
            CauseKind::Schedule => (
                cause.detail.due.unwrap().0.unsigned_abs(),
                offset.since(found.base).unwrap(),
            ),
            _ => (cause.offset.0, 0),
        };
        let key = (cause.kind.byte(), at, which);
        let before = *oracle.causes.entry(key).or_insert(*offset);
        ensure(before == *offset, "no cause is appended twice", || {
            format!("{cause:?} at {before} and {offset}")
        })?;
        let seen = || format!("{offset}: {found:?}");
        match cause.kind {
            CauseKind::Callback if cause.offset >= truth.entries_start => {
                let source: u64 = found.name().split(' ').nth(1).unwrap().parse().unwrap();
                let is_it = match truth.entries.get(&cause.offset) {
                    Some(Entry::Outcome(outcome)) => {
                        outcome.message == Offset(source)
                            && Some(outcome.attempt.number) == cause.detail.attempt
                            && outcome.owes.callback
                    }
                    _ => false,
                };
                ensure(is_it, "a callback answers an outcome that stands", seen)?;
            }
            CauseKind::FailureCallback => {
                let is_it = oracle
                    .messages
                    .values()
                    .any(|message| message.letter == Some(cause.offset));
                ensure(is_it, "a failure callback names a letter that stands", seen)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn messages(state: &DeliveryState, oracle: &Oracle) -> Result<(), Broken> {
    for (offset, known) in &oracle.messages {
        let found = state.get(*offset);
        let seen = || format!("{offset}: {known:?}, {found:?}");
        ensure(
            state.is_pending(*offset) == known.end.is_none(),
            "a message is pending or at its end",
            seen,
        )?;
        if known.end.is_none() {
            let attempts = found.as_ref().map(|found| found.attempts);
            ensure(
                attempts == Some(known.recorded),
                "attempts are what was recorded",
                seen,
            )?;
            let is_dying = found.as_ref().map(|f| f.phase == Phase::Dying);
            ensure(is_dying == Some(known.is_dying), "it dies if it must", seen)?;
        }
        ensure(
            known.recorded <= known.made && known.made <= known.recorded + oracle.crashes,
            "recorded <= made <= recorded + crashes",
            seen,
        )?;
        if known.end == Some(End::Delivered) {
            let last = known.result(known.recorded);
            ensure(last == Result_::Taken, "what was taken is delivered", seen)?;
        }
    }
    Ok(())
}

fn counts(state: &DeliveryState, oracle: &Oracle) -> Result<(), Broken> {
    let counts = state.counts();
    let ended = |end| {
        let of = oracle.messages.values().filter(|m| m.end == Some(end));
        of.count() as u64
    };
    let is = (
        counts.accepted,
        counts.delivered,
        counts.cancelled,
        counts.dead_lettered,
    );
    let must = (
        oracle.messages.len() as u64,
        ended(End::Delivered),
        ended(End::Cancelled),
        ended(End::Dead),
    );
    let sum = counts.pending
        + counts.in_flight
        + counts.delivered
        + counts.cancelled
        + counts.dead_lettered;
    ensure(
        is == must && sum == counts.accepted,
        "messages are conserved",
        || format!("{counts:?}, not {must:?}"),
    )
}

fn remembered(state: &DeliveryState, oracle: &Oracle) -> Result<(), Broken> {
    let known: BTreeMap<u8, Offset> = state.duplicates().map(|d| (d.key[0], d.base)).collect();
    ensure(
        oracle
            .keys
            .iter()
            .all(|(key, base)| known.get(key) == Some(base)),
        "a deduplication key survives",
        || format!("{known:?}, not {:?}", oracle.keys),
    )?;
    let fired = state.fired().map(|(_, fired)| fired.due.0).max();
    ensure(fired >= oracle.fired, "a firing survives", || {
        format!("{fired:?}, not {:?}", oracle.fired)
    })?;
    let (start, made) = oracle.period;
    let found = state.periods().find(|(key, _)| *key == KEY);
    let counted = found.map_or((i64::MIN, 0), |(_, p)| (p.start.0, p.count));
    ensure(
        made == 0 || counted.0 > start || (counted.0 == start && counted.1 >= made),
        "an attempt counts in its period",
        || {
            format!(
                "{counted:?}, not {:?} at {}",
                oracle.period,
                period_of(oracle.now)
            )
        },
    )
}

/// What is held can be read, with all its attempts.
fn readable(partition: &Partition, state: &DeliveryState, oracle: &Oracle) -> Result<(), Broken> {
    let reader = partition.push_reader();
    let held: Vec<_> = state.messages_from(Offset::ZERO).collect();
    for (offset, _) in held {
        let known = &oracle.messages[&offset];
        let carried_at = state.carried_at(offset);
        let read = reader.message(offset, carried_at);
        let is_it = read.as_ref().is_ok_and(|message| {
            let body = String::from_utf8_lossy(&message.body);
            body.split(" ;").next() == Some(&known.name)
        });
        ensure(is_it, "a message that is held can be read", || {
            format!("{offset} {known:?} carried at {carried_at:?}: {read:?}")
        })?;
        let history = reader.history(state.history_at(offset));
        let is_whole = history.as_ref().is_ok_and(|history| {
            history.attempts().len() as u32 + history.left_out() == known.recorded
        });
        ensure(is_whole, "the attempts of a message can be read", || {
            format!("{offset} {known:?}: {history:?}")
        })?;
    }
    for (at, owed) in state.owed() {
        let outcome = reader.outcome(at);
        let is_it = outcome.as_ref().is_ok_and(|o| o.message == owed.message);
        ensure(is_it, "an outcome that owes can be read", || {
            format!("{at} {owed:?}: {outcome:?}")
        })?;
    }
    Ok(())
}

/// Nothing is owed.
fn at_rest(state: &DeliveryState, oracle: &Oracle) -> Result<(), Broken> {
    for (offset, known) in &oracle.messages {
        let is = (known.callbacks, known.failure_callbacks);
        let due = (known.callbacks_due, known.failure_callbacks_due);
        ensure(
            is == due,
            "everybody who asked is called back, once",
            || format!("{offset}: {known:?}"),
        )?;
        ensure(
            !known.is_dying || known.end == Some(End::Dead),
            "what dies has a letter",
            || format!("{offset}: {known:?}"),
        )?;
    }
    let owed = state.owed().count() + state.dying().count();
    ensure(owed == 0, "nothing is owed at rest", || format!("{owed}"))
}
