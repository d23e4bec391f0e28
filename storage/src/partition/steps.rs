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
        let mut acted = act(&mut self.owner.lock(), (self.now)());
        while let Err(LogError::Rolling { .. }) = acted {
            acted = self.roll_and(kind, &mut act)?;
        }
        acted
    }

    /// Rolls a log, or waits for whoever is rolling it, and calls `act`: behind its own roll before anybody else can come.
    fn roll_and<T>(
        &self,
        kind: LogKind,
        act: &mut impl FnMut(&mut Partition, TimestampMs) -> Result<T, LogError>,
    ) -> Result<Result<T, LogError>, LogError> {
        let begun = {
            let mut owner = self.owner.lock();
            owner.begin_roll(kind)
        };
        match begun {
            Ok(task) => {
                let done = task.run();
                let (finished, acted) = {
                    let mut owner = self.owner.lock();
                    let finished = owner.finish_roll(kind, done);
                    let acted = finished.is_ok().then(|| act(&mut owner, (self.now)()));
                    (finished, acted)
                };
                (self.rolled)(kind);
                if let Some(facets) = finished? {
                    facets.run();
                }
                Ok(acted.unwrap_or_else(|| act(&mut self.owner.lock(), (self.now)())))
            }
            Err(LogError::Rolling { .. }) => {
                (self.wait)();
                Ok(act(&mut self.owner.lock(), (self.now)()))
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
