//! Folding both logs into the state when a delivery log is opened, and refusing what it cannot be folded from.

use super::DeliveryLog;
use crate::delivery::fold;
use crate::delivery::snapshots::{Snapshot, Snapshots};
use crate::delivery::state::DeliveryState;
use crate::error::{Corruption, LogError, PoisonCause};
use crate::log::{DamagedRange, LogReader, RecoveryReport};
use crate::offset::{FilePosition, Offset};

impl DeliveryLog {
    pub(super) fn fold(
        &mut self,
        report: &RecoveryReport,
        main: &LogReader,
    ) -> Result<(), LogError> {
        let found = match &self.log {
            Some(log) => fold::newest_snapshot(&log.reader())?,
            None => None,
        };
        let (snapshot, mut state) = found.map_or_else(Default::default, |(snapshot, state)| {
            (Some(snapshot), state)
        });
        self.check_head(snapshot, report)?;
        check_main(main, &state)?;
        let main_bytes = fold::admit_main(main, &mut state)?;
        let mut delivery_bytes = 0;
        if let Some(log) = &self.log {
            let reader = log.reader();
            let from = snapshot.map_or(reader.log_start(), |snapshot| snapshot.start);
            let counted_from = snapshot.map_or(from, |snapshot| snapshot.end);
            // What a damaged tail of the main log hides is not lost.
            let main_end = (main.poison() != Some(PoisonCause::Damaged)).then(|| main.log_end());
            delivery_bytes =
                fold::apply_entries(&reader, (from, counted_from), main_end, &mut state)?;
        }
        state.finish_fold();
        self.state = state;
        self.snapshots = Snapshots::found(snapshot, delivery_bytes, main_bytes);
        Ok(())
    }

    /// Refuses a log of which anything is missing or damaged that the state comes from.
    fn check_head(
        &self,
        snapshot: Option<Snapshot>,
        report: &RecoveryReport,
    ) -> Result<(), LogError> {
        let Some(log) = &self.log else { return Ok(()) };
        let log_start = log.reader().log_start();
        let start = snapshot.map_or(Offset::ZERO, |snapshot| snapshot.start);
        let is_read_only = log.poison().is_some();
        let counts =
            |range: &&DamagedRange| is_read_only || range.to > start || range.from >= start;
        if let Some(range) = report.damage.iter().find(counts) {
            return Err(range.clone().into());
        }
        if snapshot.is_none() && log_start > Offset::ZERO {
            return Err(LogError::Corrupt {
                path: self.place.dir.clone(),
                position: FilePosition(0),
                from: Offset::ZERO,
                to: log_start,
                reason: Corruption::MissingSegment,
            });
        }
        Ok(())
    }
}

/// Refuses a main log that has lost records which the state has not seen, or that the state has.
fn check_main(main: &LogReader, state: &DeliveryState) -> Result<(), LogError> {
    let seen = state.admitted_up_to();
    let (start, end) = (main.log_start(), main.log_end());
    let is_cut = end < seen && main.poison() != Some(PoisonCause::Damaged);
    let (from, to) = match (start > seen, is_cut) {
        (true, _) => (seen, start),
        (false, true) => (end, seen),
        (false, false) => return Ok(()),
    };
    match main.undecodable(from, Corruption::MissingSegment) {
        LogError::Corrupt {
            path,
            position,
            from,
            reason,
            ..
        } => Err(LogError::Corrupt {
            path,
            position,
            from,
            to,
            reason,
        }),
        error => Err(error),
    }
}
