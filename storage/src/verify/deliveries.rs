//! The delivery log against the main and the dead-letter log: it folds as opening folds it, every entry is about a record that
//! is there, every record that is still needed can be read, and no callback stands twice.
//!
//! The log is read twice: first for its entries and the newest snapshot, then, when the main log is known, for the state.

use std::collections::{HashMap, HashSet};

use super::causes::{Causes, LetterSide};
use super::report::{Fault, Finding, LISTED_MAX, Note, Remark, VerifyReport};
use super::scan::{Found, Scanned, Visit};
use crate::batch::Records;
use crate::cause::{CAUSE_HEADER, Cause, CauseKind};
use crate::delivery::fold::{Parts, PartsStep, arrivals_in};
use crate::delivery::{DeliveryState, Entry};
use crate::error::Corruption;
use crate::log::LogPlace;
use crate::log_id::LogKind;
use crate::offset::{FilePosition, Offset};

/// What the first look at a delivery log finds.
#[derive(Default)]
pub(super) struct Entries {
    /// The snapshot that is being read.
    parts: Option<(Offset, Parts)>,
    /// The newest complete one, with the offset of its first part.
    newest: Option<(Offset, DeliveryState)>,
    /// Outcomes that ask for a callback, and the others.
    outcomes: HashMap<Offset, bool>,
    /// Messages that have died: entry, message, letter.
    deaths: Vec<(Offset, Offset, Offset)>,
}

/// The delivery log, as the main log is read against it.
pub(super) struct DeliverySide<'a> {
    place: &'a LogPlace,
    entries: Entries,
    scanned: Scanned,
    /// `None` when some of what it comes from cannot be read.
    state: Option<DeliveryState>,
    /// Where the fold of the entries begins, and that of the main log.
    pub(super) from: Offset,
    admitted_from: Offset,
    /// Outcomes whose callbacks were met.
    met: HashSet<Offset>,
    /// Entries about records that the main log has never held: entry, message.
    unknown: Vec<(Offset, Offset)>,
    is_live: bool,
}

/// Takes the main log for its causes and for its messages.
pub(super) struct MainVisit<'a, 'b> {
    pub(super) causes: &'b mut Causes<'a>,
    pub(super) deliveries: &'b mut DeliverySide<'a>,
}

/// Applies the entries to the state: the second look.
pub(super) struct Fold<'a, 'b> {
    pub(super) side: &'b mut DeliverySide<'a>,
    /// Where the main log ends; `None` when its end is not known.
    pub(super) main_end: Option<Offset>,
}

fn each(
    found: &Found<'_>,
    take: &mut dyn FnMut(Offset, Entry) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for record in Records::new(found.header, found.section) {
        let record = record.map_err(Fault::Undecodable)?;
        let delta = u64::from(record.offset_delta);
        let offset = Offset(found.header.base_offset.0.saturating_add(delta));
        let value = record.value.unwrap_or_default();
        take(offset, Entry::decode(value).map_err(Fault::Undecodable)?)?;
    }
    Ok(())
}

impl Entries {
    fn entry(&mut self, offset: Offset, segment: Offset, entry: Entry) -> Result<(), Corruption> {
        match entry {
            Entry::Outcome(outcome) => {
                self.outcomes.insert(offset, outcome.owes.callback);
            }
            Entry::Dead {
                message, letter, ..
            } => self.deaths.push((offset, message, letter)),
            Entry::Snapshot(part) => {
                if part.index == 0 {
                    self.parts = (offset == segment).then(|| (offset, Parts::default()));
                }
                let Some((start, parts)) = self.parts.as_mut() else {
                    return Ok(());
                };
                match parts.take(&part) {
                    PartsStep::More => {}
                    PartsStep::Broken => self.parts = None,
                    PartsStep::Complete(bytes) => {
                        self.newest = Some((*start, DeliveryState::decode(&bytes)?));
                        self.parts = None;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Visit for Entries {
    fn batch(&mut self, found: &Found<'_>, report: &mut VerifyReport) -> Result<(), Fault> {
        each(found, &mut |offset, entry| {
            report.counts.entries = report.counts.entries.saturating_add(1);
            self.entry(offset, found.segment, entry)
                .map_err(Fault::Undecodable)
        })
    }
}

impl<'a> DeliverySide<'a> {
    /// Takes over what the first look has found. Before the first attempt there is no delivery log, and all messages wait.
    pub(super) fn new(
        place: &'a LogPlace,
        mut entries: Entries,
        scanned: Scanned,
        report: &mut VerifyReport,
    ) -> Self {
        let newest = entries.newest.take();
        let from = newest
            .as_ref()
            .map_or(scanned.log_start, |(start, _)| *start);
        let is_headless = newest.is_none() && scanned.log_start > Offset::ZERO;
        if is_headless && !scanned.is_damaged {
            report.find(finding(
                place,
                (Offset::ZERO, scanned.log_start),
                Fault::DeliveryHeadMissing,
            ));
        }
        let is_lost = |(_, to): &(Offset, Offset)| *to > from;
        let is_folded = !is_headless && !scanned.skipped.iter().any(is_lost);
        let state = newest.map_or_else(DeliveryState::default, |(_, state)| state);
        Self {
            place,
            entries,
            admitted_from: state.admitted_up_to(),
            state: is_folded.then_some(state),
            from,
            scanned,
            met: HashSet::new(),
            unknown: Vec::new(),
            is_live: report.in_use_by.is_some(),
        }
    }

    /// Admits a batch of the main log, and checks the callbacks in it.
    fn admit(&mut self, found: &Found<'_>) -> Result<(), Fault> {
        // Messages are the broker's batches; those of other topics need not be looked through.
        if let Some(state) = self.state.as_mut()
            && found.header.attributes.is_broker_built
        {
            let arrivals = arrivals_in(found.header, found.section).map_err(Fault::Undecodable)?;
            state.admit(
                found.header.base_offset,
                found.header.append_time,
                &arrivals,
            );
        }
        if !found.header.attributes.holds_causes {
            return Ok(());
        }
        for record in Records::new(found.header, found.section) {
            let record = record.map_err(Fault::Undecodable)?;
            let Some(cause) = record.headers.get(CAUSE_HEADER).flatten() else {
                continue;
            };
            self.cause(&Cause::decode(cause).map_err(Fault::Undecodable)?)?;
        }
        Ok(())
    }

    fn cause(&mut self, cause: &Cause) -> Result<(), Fault> {
        let outcome = cause.offset;
        if cause.kind != CauseKind::Callback || cause.log.kind != LogKind::Delivery {
            return Ok(());
        }
        if !self.met.insert(outcome) {
            return Err(Fault::CalledBackTwice { outcome });
        }
        let is_readable = outcome >= self.scanned.log_start && !self.scanned.is_skipped(outcome);
        if !is_readable || (self.is_live && outcome >= self.scanned.log_end) {
            return Ok(());
        }
        match self.entries.outcomes.get(&outcome) {
            Some(true) => Ok(()),
            Some(false) | None => Err(Fault::UnknownOutcome { outcome }),
        }
    }

    /// Ends the check, when the state is whole.
    pub(super) fn finish(
        self,
        main: &Scanned,
        letters: Option<&LetterSide<'_>>,
        report: &mut VerifyReport,
    ) {
        for (at, message, letter) in &self.entries.deaths {
            let (message, letter) = (*message, *letter);
            let is_right = match letters {
                None => false,
                Some(side) => {
                    let is_readable =
                        letter >= side.scanned.log_start && !side.scanned.is_skipped(letter);
                    !is_readable || side.letters.sources.get(&letter) == Some(&message)
                }
            };
            if !is_right && !self.is_live {
                let range = (*at, at.next());
                let fault = Fault::WrongLetter { message, letter };
                report.find(finding(self.place, range, fault));
            }
        }
        for (at, message) in &self.unknown {
            let fault = Fault::UnknownMessage { message: *message };
            report.find(finding(self.place, (*at, at.next()), fault));
        }
        let (place, log_start) = (self.place, self.scanned.log_start);
        let Some(mut state) = self.state else { return };
        if self.scanned.log_end == Offset::ZERO && state.counts().accepted == 0 {
            // The topic is not pushed.
            return;
        }
        if main.log_start > self.admitted_from && !self.is_live {
            let range = (self.admitted_from, main.log_start);
            report.find(finding(place, range, Fault::UnseenMessages));
        }
        state.finish_fold();
        for (message, _) in state.messages_from(Offset::ZERO) {
            let carried = state.carried_at(message).is_some_and(|at| at >= log_start);
            if message < main.log_start && !carried && !self.is_live {
                let fault = Fault::MessageMissing { message };
                report.find(finding(place, (message, message.next()), fault));
            }
        }
        let counts = state.counts();
        let known = [
            counts.pending,
            counts.in_flight,
            counts.delivered,
            counts.cancelled,
            counts.dead_lettered,
        ];
        let known = known.into_iter().fold(0u64, u64::saturating_add);
        let accepted = counts.accepted;
        if known != accepted {
            let fault = Fault::NotConserved { accepted, known };
            report.find(finding(place, (Offset::ZERO, Offset::ZERO), fault));
        }
        report.counts.pending = report.counts.pending.saturating_add(counts.pending);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (letters, callbacks) = (count(state.dying().count()), count(state.owed().count()));
        if letters.saturating_add(callbacks) > 0 {
            report.note(Note {
                path: place.dir.clone(),
                log: Some(place.id),
                offset: self.from,
                what: Remark::DeliveriesDue { letters, callbacks },
            });
        }
    }
}

impl Visit for MainVisit<'_, '_> {
    fn batch(&mut self, found: &Found<'_>, report: &mut VerifyReport) -> Result<(), Fault> {
        self.causes.batch(found, report)?;
        self.deliveries.admit(found)
    }
}

impl Visit for Fold<'_, '_> {
    fn batch(&mut self, found: &Found<'_>, _report: &mut VerifyReport) -> Result<(), Fault> {
        let from = self.side.from;
        each(found, &mut |offset, entry| {
            if let (Some(message), Some(end)) = (entry.message(), self.main_end)
                && message >= end
                && self.side.unknown.len() < LISTED_MAX
            {
                self.side.unknown.push((offset, message));
            }
            if let Some(state) = self.side.state.as_mut().filter(|_| offset >= from) {
                state.apply(offset, &entry);
            }
            Ok(())
        })
    }
}

fn finding(place: &LogPlace, (from, to): (Offset, Offset), what: Fault) -> Finding {
    Finding {
        path: place.dir.clone(),
        position: FilePosition(0),
        log: Some(place.id),
        from,
        to,
        what,
    }
}
