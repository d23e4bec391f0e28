//! Reading the control log when it is opened, and which damage to it counts.

use std::ops::ControlFlow;
use std::path::Path;

use super::ControlError;
use crate::control::fold::{Fold, Snapshot};
use crate::error::{Corruption, LogError};
use crate::log::{Log, LogReader, ReadBound, RecoveryReport};
use crate::offset::{FilePosition, Offset};

/// Folds the whole log. Damage makes everything before it count for nothing.
pub(super) fn replay(reader: &LogReader) -> Result<Fold, ControlError> {
    let mut fold = Fold::new(reader.log_start());
    let mut damage = None;
    let mut next = reader.log_start();
    loop {
        let mut failure = None;
        let scanned = reader.scan(next, ReadBound::LogEnd, &mut |header, body| {
            failure = fold.take(header, body).err();
            failure
                .as_ref()
                .map_or(ControlFlow::Continue(()), |_| ControlFlow::Break(()))
        });
        if let Some(error) = failure {
            return Err(error);
        }
        match scanned {
            Ok(()) => break,
            Err(error) => match &error {
                LogError::Corrupt { to, .. } if *to > next => {
                    fold.skip_damage();
                    next = *to;
                    damage = Some(error);
                }
                _ => return Err(error.into()),
            },
        }
    }
    match damage {
        Some(damage) if fold.snapshot.is_none() => Err(damage.into()),
        _ => Ok(fold),
    }
}

/// Refuses a log that is damaged where the state comes from.
pub(super) fn check_damage(
    log: &Log,
    report: &RecoveryReport,
    snapshot: Option<Snapshot>,
) -> Result<(), LogError> {
    let start = snapshot.map_or(Offset::ZERO, |snapshot| snapshot.start);
    let is_read_only = log.poison().is_some();
    let counts = report
        .damage
        .iter()
        .find(|range| is_read_only || range.to > start || range.from >= start);
    counts.map_or(Ok(()), |range| Err(range.clone().into()))
}

/// The error of a log that neither begins with its first record nor has a complete snapshot.
pub(super) fn head_missing(reader: &LogReader, dir: &Path) -> LogError {
    LogError::Corrupt {
        path: dir.to_path_buf(),
        position: FilePosition(0),
        from: Offset::ZERO,
        to: reader.log_start(),
        reason: Corruption::MissingSegment,
    }
}
