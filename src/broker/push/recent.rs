//! What was read of a partition's messages and entries a moment ago: what a destination fails, it fails in the order of batches.

use storage::dead_letter::History;
use storage::delivery::Outcome;
use storage::error::LogError;
use storage::offset::{Offset, TimestampMs};
use storage::partition::{MessagePlace, PushReader, PushedMessage, RecentBatches};

use super::death::given_up_outcome;

/// Recent batches of the main and of the delivery log.
#[derive(Debug, Default)]
pub(super) struct Recent {
    messages: RecentBatches,
    entries: RecentBatches,
}

impl Recent {
    pub(super) fn message(
        &mut self,
        reader: &PushReader,
        place: MessagePlace,
    ) -> Result<PushedMessage, LogError> {
        reader.message_near(place, &mut self.messages)
    }

    pub(super) fn history(
        &mut self,
        reader: &PushReader,
        at: Option<Offset>,
    ) -> Result<History, LogError> {
        reader.history_near(at, &mut self.entries)
    }

    /// Reads an outcome. One that an operator has given up is told as such, so that nothing waits for it.
    pub(super) fn outcome(
        &mut self,
        reader: &PushReader,
        at: Offset,
        (message, attempts): (Offset, u32),
        now: TimestampMs,
    ) -> Result<Outcome, LogError> {
        if reader.is_given_up(at) {
            return Ok(given_up_outcome(message, attempts, now));
        }
        reader.outcome_near(at, &mut self.entries)
    }
}
