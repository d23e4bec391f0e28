//! Finishing what a crash interrupted: messages whose letters stand, and whose deaths were not noted.

use super::append::letter_of;
use super::recent::RecentBatches;
use crate::dead_letter::letter::destination_source_key;
use crate::delivery::Entry;
use crate::error::LogError;
use crate::log_id::LogKind;
use crate::offset::{Offset, TimestampMs};
use crate::partition::Partition;

/// Deaths of one batch.
const DEATHS_PER_BATCH_MAX: usize = 10_000;

impl Partition {
    /// Appends and syncs the dead entries of dying messages whose letters stand. The others die by the engine's doing. Returns how
    /// many there were.
    pub(in crate::partition) fn finish_deaths(
        &mut self,
        now: TimestampMs,
    ) -> Result<usize, LogError> {
        let deaths = self.standing_letters(now)?;
        for deaths in deaths.chunks(DEATHS_PER_BATCH_MAX) {
            match self.append_entries(deaths, now) {
                Err(LogError::Rolling { .. }) => {
                    let done = self.begin_roll(LogKind::Delivery)?.run();
                    self.finish_roll(LogKind::Delivery, done)?;
                    self.append_entries(deaths, now)?;
                }
                appended => {
                    appended?;
                }
            }
        }
        let log = self.log_mut(LogKind::Delivery);
        if let Some(task) = log.and_then(crate::log::Log::begin_sync) {
            task.run()?;
        }
        if let Some(state) = self.delivery_mut() {
            state.forget_answers();
        }
        Ok(deaths.len())
    }

    fn standing_letters(&self, now: TimestampMs) -> Result<Vec<Entry>, LogError> {
        let (Some(state), Some(dead_letters)) = (self.delivery(), self.dead_letters.as_ref())
        else {
            return Ok(Vec::new());
        };
        let reader = self.push_reader();
        let dying: Vec<Offset> = state.dying().map(|(message, _)| message).collect();
        let mut deaths = Vec::new();
        let mut recent = RecentBatches::default();
        for message in dying {
            let place = (message, state.carried_at(message));
            let record = match reader.message_near(place, &mut recent) {
                // Its letter cannot be looked for, nor made.
                Err(LogError::Corrupt { .. } | LogError::OffsetOutOfRange { .. }) => continue,
                record => record?,
            };
            let key = destination_source_key(&record.envelope.url, self.number, message);
            if let Some(letter) = letter_of(dead_letters, (self.number, message), key)? {
                deaths.push(Entry::Dead {
                    message,
                    letter,
                    time: now,
                });
            }
        }
        Ok(deaths)
    }
}
