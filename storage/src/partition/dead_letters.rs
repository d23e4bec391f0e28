//! The dead-letter log of a partition, which comes into being with its first letter.

use super::append::Partition;
use crate::dead_letter::DeadLetterLog;
use crate::error::LogError;
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

    /// Returns the dead-letter log, creating it where there is none yet. Creating syncs a few small files.
    pub(super) fn dead_letters_or_create(
        &mut self,
        now: TimestampMs,
    ) -> Result<&mut DeadLetterLog, LogError> {
        if self.dead_letters.is_none() {
            let place = self.dead_letter_place.clone();
            let (log, _) = DeadLetterLog::open(place, self.dead_letter_config.clone(), None, now)?;
            self.dead_letters = Some(log);
        }
        self.dead_letters.as_mut().ok_or(LogError::Rolling { log: self.dead_letter_place.id })
    }
}
