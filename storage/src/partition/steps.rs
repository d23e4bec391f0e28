//! Going through steps of a partition on one thread, with the owner's lock held only for deciding and writing.

use parking_lot::Mutex;

use super::append::Partition;
use crate::error::LogError;
use crate::log::LogReader;
use crate::log_id::LogKind;
use crate::offset::{Offset, TimestampMs};

/// What every such way needs.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    pub(super) owner: &'a Mutex<Partition>,
    pub(super) now: &'a dyn Fn() -> TimestampMs,
    /// Called to wait until somebody else's roll may have got on.
    pub(super) wait: &'a dyn Fn(),
    /// Called when a log has a new segment: others may wait for that.
    pub(super) rolled: &'a dyn Fn(LogKind),
}

impl Steps<'_> {
    /// Calls `act` under the owner's lock, rolling the log as often as it asks for that.
    pub(super) fn with_room<T>(
        &self,
        kind: LogKind,
        mut act: impl FnMut(&mut Partition, TimestampMs) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let acted = act(&mut self.owner.lock(), (self.now)());
            match acted {
                Err(LogError::Rolling { .. }) => self.roll(kind)?,
                acted => return acted,
            }
        }
    }

    /// Rolls a log, or waits for whoever is rolling it.
    fn roll(&self, kind: LogKind) -> Result<(), LogError> {
        let begun = {
            let mut owner = self.owner.lock();
            owner.begin_roll(kind)
        };
        match begun {
            Ok(task) => {
                let done = task.run();
                let finished = self.owner.lock().finish_roll(kind, done);
                (self.rolled)(kind);
                let facets = finished?;
                if let Some(facets) = facets {
                    facets.run();
                }
                Ok(())
            }
            Err(LogError::Rolling { .. }) => {
                (self.wait)();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns when everything below `end` is durable.
    pub(super) fn make_durable(&self, kind: LogKind, end: Offset) -> Result<(), LogError> {
        loop {
            let (reader, task): (LogReader, _) = {
                let mut owner = self.owner.lock();
                let Some(log) = owner.log_mut(kind) else {
                    return Ok(());
                };
                if log.reader().durable_end() >= end {
                    return Ok(());
                }
                (log.reader(), log.begin_sync())
            };
            match (task, reader.poison()) {
                (Some(task), _) => {
                    task.run()?;
                }
                // Another thread's sync may have come between, whatever has poisoned the log since.
                (None, _) if reader.durable_end() >= end => return Ok(()),
                (None, Some(cause)) => {
                    return Err(LogError::Poisoned {
                        log: reader.id(),
                        cause,
                    });
                }
                // A roll is under way, and its sync covers what we wait for.
                (None, None) => (self.wait)(),
            }
        }
    }
}
