//! The dead-letter log of a partition, which comes into being with its first letter.

use super::append::Partition;
use crate::dead_letter::{DeadLetterLog, FacetsTask};
use crate::delivery::DeliveryLog;
use crate::error::LogError;
use crate::log::{Log, RollDone, RollTask};
use crate::log_id::{LogId, LogKind};
use crate::offset::TimestampMs;

impl Partition {
    /// Returns the dead-letter log; `None` before the first letter.
    #[must_use]
    pub fn dead_letters(&self) -> Option<&DeadLetterLog> {
        self.dead_letters.as_ref()
    }

    /// Returns the dead-letter log, for its syncs, rolls and heals.
    pub fn dead_letters_mut(&mut self) -> Option<&mut DeadLetterLog> {
        self.dead_letters.as_mut()
    }

    /// Returns the log of one kind, for its syncs and heals; `None` where the partition has none.
    pub fn log_mut(&mut self, kind: LogKind) -> Option<&mut Log> {
        match kind {
            LogKind::Main => Some(&mut self.main),
            LogKind::DeadLetter => self.dead_letters.as_mut().map(DeadLetterLog::log_mut),
            LogKind::Delivery => self.push.as_mut().and_then(DeliveryLog::log_mut),
            LogKind::Control => None,
        }
    }

    /// Begins a new segment of one of the logs.
    ///
    /// # Errors
    /// As [`Log::begin_roll`].
    pub fn begin_roll(&mut self, kind: LogKind) -> Result<RollTask, LogError> {
        let id = LogId::new(self.number, kind);
        self.log_mut(kind)
            .ok_or(LogError::Rolling { log: id })?
            .begin_roll()
    }

    /// Takes a new segment over. The facets of the full segment, if it has any, are written by the task that is returned.
    ///
    /// # Errors
    /// As [`Log::finish_roll`].
    pub fn finish_roll(
        &mut self,
        kind: LogKind,
        done: RollDone,
    ) -> Result<Option<FacetsTask>, LogError> {
        if let (LogKind::DeadLetter, Some(dead_letters)) = (kind, self.dead_letters.as_mut()) {
            return dead_letters.finish_roll(done);
        }
        let log = LogId::new(self.number, kind);
        self.log_mut(kind)
            .ok_or(LogError::Rolling { log })?
            .finish_roll(done)
            .map(|()| None)
    }

    /// Returns the dead-letter log, creating it where there is none yet. Creating syncs a few small files.
    pub(super) fn dead_letters_or_create(
        &mut self,
        now: TimestampMs,
    ) -> Result<&mut DeadLetterLog, LogError> {
        if self.dead_letters.is_none() {
            let place = self.dead_letter_place.clone();
            let config = self.dead_letter_config.clone();
            let id = place.id;
            let created = (self.dead_letters_first_use)
                .create(id, || DeadLetterLog::open(place, config, None, now));
            let (log, _) = created?;
            self.dead_letters = Some(log);
        }
        self.dead_letters.as_mut().ok_or(LogError::Rolling {
            log: self.dead_letter_place.id,
        })
    }
}
