//! The steps of a resolver one by one, in the order that a mutant takes them.

use storage::dead_letter::{DeadLetter, PlacedLetter};
use storage::error::LogError;
use storage::log_id::LogKind;
use storage::partition::{FreshBatch, Outcome, Partition, RejectOutcome, Republished};

use crate::machine::{EVERYTHING, Machine, NOW, WHO};
use crate::mutants::Order;
use crate::oracle::{Fate, Oracle, Stop};

impl Machine<'_> {
    pub fn sync(&self, kind: LogKind) -> Result<(), LogError> {
        let task = self
            .owner
            .lock()
            .log_mut(kind)
            .and_then(storage::log::Log::begin_sync);
        task.map_or(Ok(()), |task| task.run().map(drop))
    }

    pub fn rolled<T>(
        &self,
        kind: LogKind,
        mut act: impl FnMut(&mut Partition) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let mut partition = self.owner.lock();
        match act(&mut partition) {
            Err(LogError::Rolling { .. }) => {
                let done = partition.begin_roll(kind)?.run();
                partition.finish_roll(kind, done)?;
                act(&mut partition)
            }
            acted => acted,
        }
    }

    pub fn reject_at_once(
        &self,
        letters: &[DeadLetter],
        oracle: &mut Oracle,
        numbers: &[usize],
    ) -> Result<Vec<RejectOutcome>, LogError> {
        let outcomes = self.rolled(LogKind::DeadLetter, |partition| {
            partition.reject(letters, NOW)
        })?;
        for (number, outcome) in numbers.iter().zip(&outcomes) {
            oracle.letters[*number].at = Some(outcome.letter());
        }
        oracle.flight = None;
        self.sync(LogKind::DeadLetter)?;
        Ok(outcomes)
    }

    pub fn delete_at_once(&self, letters: &[usize], oracle: &mut Oracle) -> Result<(), Stop> {
        let offsets: Vec<_> = letters
            .iter()
            .map(|letter| oracle.letters[*letter].at.unwrap())
            .collect();
        for at in &offsets {
            self.owner.lock().claim(*at);
        }
        self.rolled(LogKind::DeadLetter, |partition| {
            partition.append_deletions(&offsets, WHO, NOW)
        })
        .map_err(|error| self.watch.stop(&error))?;
        for at in &offsets {
            oracle.answered(*at, Outcome::Deleted, false)?;
        }
        oracle.flight = None;
        self.sync(LogKind::DeadLetter)
            .map_err(|error| self.watch.stop(&error))?;
        self.owner.lock().finish_delete(&offsets);
        Ok(())
    }

    pub fn republish_in_order(
        &mut self,
        batch: Vec<PlacedLetter>,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        let is_claimless = self.order == Order::NoClaim;
        let mine: Vec<_> = batch
            .into_iter()
            .filter(|(at, _)| {
                let claim = self.owner.lock().claim(*at);
                is_claimless || claim == storage::partition::Claim::Yours
            })
            .collect();
        if mine.is_empty() {
            oracle.flight = None;
            return Ok(());
        }
        let stop = |error| self.watch.stop(&error);
        let main = self.owner.lock().main().reader();
        let mut fresh = FreshBatch::build(&main, &mine, WHO).map_err(stop)?;
        let republished = self
            .rolled(LogKind::Main, |partition| {
                partition.append_republished(&mut fresh, NOW)
            })
            .map_err(stop)?;
        self.finish_in_order(&republished, oracle)
    }

    pub fn finish_in_order(
        &mut self,
        republished: &Republished,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        let watch = self.watch;
        let stop = |error| watch.stop(&error);
        let mark = |machine: &Self| {
            machine
                .rolled(LogKind::DeadLetter, |partition| {
                    partition.append_markers(republished, WHO, NOW)
                })
                .map(drop)
        };
        match self.order {
            Order::MarkersBeforeSync => {
                mark(self).map_err(stop)?;
                self.sync(LogKind::DeadLetter).map_err(stop)?;
            }
            Order::AnswerBeforeSync => answer_all(republished, oracle)?,
            Order::CheckpointBeforeSync => self.checkpoint(None)?,
            _ => {}
        }
        self.sync(LogKind::Main).map_err(stop)?;
        self.owner.lock().commit(republished);
        answer_all(republished, oracle)?;
        if self.order == Order::SettledTooEarly {
            self.checkpoint(None)?;
        }
        if self.order != Order::MarkersBeforeSync {
            mark(self).map_err(stop)?;
        }
        if self.order == Order::RetentionPastSettled {
            self.owner.lock().main_mut().roll().map_err(stop)?;
            let plan = {
                let partition = self.owner.lock();
                let log_end = partition.main().next_offset();
                partition.main().plan_retention(&EVERYTHING, log_end, NOW)
            };
            if let Some(start) = plan {
                self.move_start(LogKind::Main, start, oracle)?;
            }
        }
        self.sync(LogKind::DeadLetter).map_err(stop)?;
        let mut partition = self.owner.lock();
        partition.settle();
        // Only a claim that was made before the marker was written is left over.
        partition.finish_delete(&republished.letters);
        Ok(())
    }
}

fn answer_all(republished: &Republished, oracle: &mut Oracle) -> Result<(), Stop> {
    for (at, target) in republished.targets() {
        let letter = oracle.letter_at(at).unwrap();
        let is_repeat = matches!(oracle.letters[letter].fate, Fate::Republished(_));
        oracle.answered(at, Outcome::Republished { target, is_repeat }, true)?;
    }
    oracle.flight = None;
    Ok(())
}
