//! The control log, folded without being opened.

use super::report::{Fault, VerifyReport};
use super::scan::{Found, Visit};
use crate::control::ControlState;
use crate::control::fold::Fold;
use crate::offset::Offset;

/// Folds the entries of a control log.
#[derive(Debug)]
pub(super) struct ControlFold {
    fold: Fold,
    is_broken: bool,
}

impl ControlFold {
    pub(super) fn new(log_start: Offset) -> Self {
        Self {
            fold: Fold::new(log_start),
            is_broken: false,
        }
    }

    /// Returns the state; `None` when something that it depends on cannot be read.
    pub(super) fn finish(self) -> Option<ControlState> {
        if self.is_broken {
            return None;
        }
        self.fold.finish()
    }

    /// Returns whether the log holds what the state comes from, as far as it can be told.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl Visit for ControlFold {
    fn batch(&mut self, found: &Found<'_>, _report: &mut VerifyReport) -> Result<(), Fault> {
        self.fold.take(found.header, found.body).map_err(|error| {
            self.is_broken = true;
            let source = std::error::Error::source(&error).map(ToString::to_string);
            Fault::Control(source.map_or_else(|| error.to_string(), |s| format!("{error}: {s}")))
        })
    }

    fn skipped(&mut self, _from: Offset, _to: Offset) {
        self.fold.skip_damage();
    }
}
