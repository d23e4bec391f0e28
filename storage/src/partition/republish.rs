//! Republishing and deleting letters, step by step; see the parent module for the order.

use super::append::Partition;
use super::claims::ClaimState;
use super::fresh::{FreshBatch, fresh_envelope, republish_cause};
use crate::dead_letter::{Marker, PlacedLetter, Resolution};
use crate::delivery::Arrival;
use crate::error::LogError;
use crate::log_id::LogKind;
use crate::offset::{Offset, TimestampMs};

/// Markers of one batch.
pub(super) const MARKERS_PER_BATCH_MAX: usize = 10_000;

/// What a caller who wants to resolve a letter is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The letter is the caller's to resolve; every other caller waits.
    Yours,
    /// Somebody is resolving it: wait for a change and claim again.
    Busy,
    /// It was republished.
    Republished {
        /// Offset of the fresh record in the main log.
        target: Offset,
    },
    /// It is not live: never was, was resolved, or has had its time.
    NotLive,
}

/// Who resolves, and under which request.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The caller, for the marker.
    pub name: &'a str,
    /// The request, if it has an id.
    pub request_id: Option<&'a str>,
}

/// Fresh records that stand in the main log, one for each letter of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republished {
    /// The letters, in the order of their fresh records.
    pub letters: Vec<Offset>,
    /// Offset of the first fresh record; the others follow one by one.
    pub base_offset: Offset,
    /// First offset behind them (exclusive end): when the main log's durable end has reached it, they are committed.
    pub next_offset: Offset,
}

impl Republished {
    /// Returns each letter with the offset of its fresh record.
    pub fn targets(&self) -> impl Iterator<Item = (Offset, Offset)> + '_ {
        let base = self.base_offset.0;
        self.letters
            .iter()
            .zip(0u64..)
            .map(move |(letter, at)| (*letter, Offset(base.saturating_add(at))))
    }
}

impl Partition {
    /// Step 1: claims a letter for the caller.
    pub fn claim(&mut self, letter: Offset) -> Claim {
        match self.claims.get(letter) {
            Some(ClaimState::Committed { target }) => return Claim::Republished { target },
            Some(ClaimState::Claimed | ClaimState::Appended | ClaimState::Unknown { .. }) => {
                return Claim::Busy;
            }
            None => {}
        }
        let is_live = self
            .dead_letters
            .as_ref()
            .is_some_and(|log| log.is_live(letter) && letter < log.log().reader().durable_end());
        if !is_live {
            return Claim::NotLive;
        }
        self.claims.set(letter, ClaimState::Claimed);
        Claim::Yours
    }

    /// Gives letters back that were claimed and for which nothing was appended.
    pub fn release(&mut self, letters: &[Offset]) {
        for letter in letters {
            if self.claims.get(*letter) == Some(ClaimState::Claimed) {
                self.claims.remove(*letter);
            }
        }
    }

    /// Step 2: appends the fresh records of claimed letters, with their causes, as one batch.
    ///
    /// # Errors
    /// The main log's error. With [`LogError::Rolling`] the caller rolls and calls again; with any other error the letters
    /// have been released, or stay claimed where the outcome of the append is unknown.
    pub fn append_republished(
        &mut self,
        fresh: &mut FreshBatch<'_>,
        now: TimestampMs,
    ) -> Result<Republished, LogError> {
        let letters: Vec<_> = fresh.letters.iter().map(|(offset, _)| *offset).collect();
        let appended = match self.main.append(&fresh.header, &mut fresh.batch, now) {
            Ok(appended) => appended,
            Err(error) => {
                self.after_failed_append(&letters, &error, LogKind::Main);
                return Err(error);
            }
        };
        self.set_claims(&letters, ClaimState::Appended);
        self.unsettled.insert(appended.base_offset, None);
        if self.push.is_some() {
            let (number, who) = (self.number, fresh.who);
            let arrival = |(offset, letter): &PlacedLetter| {
                let envelope = fresh_envelope(letter)?;
                let cause = republish_cause((number, *offset), letter, who);
                let time = letter.record.timestamp;
                Some(Arrival::new(time, &envelope, Some(cause)))
            };
            let arrivals = fresh.letters.iter().map(arrival).collect();
            self.note_fresh(&appended, &fresh.header, arrivals);
        }
        Ok(Republished {
            letters,
            base_offset: appended.base_offset,
            next_offset: appended.next_offset,
        })
    }

    /// Step 3, when the main log's durable end has reached the fresh records: the republish is committed.
    ///
    /// # Panics
    /// When they are not durable: an answer would then promise what a power cut takes back.
    pub fn commit(&mut self, republished: &Republished) {
        let durable_end = self.main.reader().durable_end();
        assert!(
            durable_end >= republished.next_offset,
            "committed before it is durable"
        );
        self.admit_durable();
        for (letter, target) in republished.targets() {
            self.claims.set(letter, ClaimState::Committed { target });
        }
    }

    /// Step 4: appends the markers of a committed republish, but for those that somebody else has appended since. Returns the
    /// end that step 5 syncs up to.
    ///
    /// # Errors
    /// The dead-letter log's error. The letters stay committed, and the markers can be appended later.
    pub fn append_markers(
        &mut self,
        republished: &Republished,
        who: Who<'_>,
        now: TimestampMs,
    ) -> Result<Offset, LogError> {
        let number = self.number;
        // Without a claim the entry of this batch may be gone, and the nearest one would be another batch's.
        let due: Vec<_> = republished
            .targets()
            .filter(|(letter, target)| {
                let committed = ClaimState::Committed { target: *target };
                self.claims.get(*letter) == Some(committed)
            })
            .collect();
        if due.is_empty() {
            return Ok(self.dead_letters_or_create(now)?.log().reader().log_end());
        }
        let markers: Vec<_> = due
            .iter()
            .map(|(letter, target)| {
                let republished = Resolution::Republished {
                    partition: number,
                    offset: *target,
                };
                marker(*letter, republished, who, now)
            })
            .collect();
        let end = self
            .dead_letters_or_create(now)?
            .append_markers(&markers, now)?;
        if let Some((_, due)) = self
            .unsettled
            .range_mut(..=republished.base_offset)
            .next_back()
        {
            *due = Some(end);
        }
        for (letter, _) in &due {
            self.claims.remove(*letter);
        }
        Ok(end)
    }

    /// Step 5, after any sync of the dead-letter log: forgets the causes whose markers are durable.
    pub fn settle(&mut self) {
        let Some(dead_letters) = self.dead_letters.as_ref() else {
            return;
        };
        let durable_end = dead_letters.log().reader().durable_end();
        self.unsettled
            .retain(|_, end| end.is_none_or(|end| end > durable_end));
    }

    /// Appends markers that delete claimed letters. They are deleted when the dead-letter log's durable end has reached the
    /// offset that is returned; then [`Partition::finish_delete`].
    ///
    /// # Errors
    /// The dead-letter log's error, as in [`Partition::append_republished`].
    pub fn append_deletions(
        &mut self,
        letters: &[Offset],
        who: Who<'_>,
        now: TimestampMs,
    ) -> Result<Offset, LogError> {
        let markers: Vec<_> = letters
            .iter()
            .map(|letter| marker(*letter, Resolution::Deleted, who, now))
            .collect();
        match self
            .dead_letters_or_create(now)
            .and_then(|log| log.append_markers(&markers, now))
        {
            Ok(end) => {
                self.set_claims(letters, ClaimState::Appended);
                Ok(end)
            }
            Err(error) => {
                self.after_failed_append(letters, &error, LogKind::DeadLetter);
                Err(error)
            }
        }
    }

    /// Forgets the claims of letters whose deletion is durable.
    pub fn finish_delete(&mut self, letters: &[Offset]) {
        for letter in letters {
            self.claims.remove(*letter);
        }
    }

    /// After a failed write of the main or the dead-letter log was healed: what it had tried to append is known not to
    /// stand there, so its letters are free again. Of the other log nothing is known.
    pub fn release_unknown(&mut self, log: LogKind) {
        self.claims
            .retain(|_, state| state != ClaimState::Unknown { log });
    }

    fn set_claims(&mut self, letters: &[Offset], state: ClaimState) {
        for letter in letters {
            self.claims.set(*letter, state);
        }
    }

    /// Nothing was written unless the append poisoned its log.
    fn after_failed_append(&mut self, letters: &[Offset], error: &LogError, log: LogKind) {
        let poison = self.log_mut(log).and_then(|log| log.poison());
        match (error, poison) {
            (LogError::Rolling { .. }, _) => {}
            (LogError::Io { .. }, Some(_)) => {
                self.set_claims(letters, ClaimState::Unknown { log });
            }
            _ => self.release(letters),
        }
    }
}

fn marker(letter: Offset, resolution: Resolution, who: Who<'_>, now: TimestampMs) -> Marker {
    Marker {
        letter,
        resolution,
        request_id: who.request_id.map(str::to_owned),
        time: now,
        who: who.name.to_owned(),
    }
}
