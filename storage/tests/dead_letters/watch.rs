//! Where the machine is, and where it is to stop.

use std::cell::{Cell, RefCell};

use storage::disk::sim::SimDisk;
use storage::error::LogError;
use storage::partition::Step;

use crate::oracle::{Stop, ensure};

/// Where the machine is, and where it is to stop.
#[derive(Debug)]
pub struct Watch {
    pub disk: SimDisk,
    pub phase: Cell<&'static str>,
    pub steps: RefCell<Vec<Step>>,
    /// Cuts the power behind the n-th step, counted from 1.
    pub cut_at_step: Option<usize>,
    /// A sync will fail: whatever ends the run comes from that.
    pub fails: bool,
}

impl Watch {
    pub fn new(disk: &SimDisk) -> Self {
        Self {
            disk: disk.clone(),
            phase: Cell::new("open"),
            steps: RefCell::default(),
            cut_at_step: None,
            fails: false,
        }
    }

    pub fn after(&self, step: Step) {
        self.phase.set(match step {
            Step::Claimed => "claimed, writing",
            Step::Written => "written, syncing",
            Step::Synced => "synced, writing markers",
            Step::MarkersWritten => "markers written, syncing",
            Step::MarkersSynced => "markers synced",
        });
        let mut steps = self.steps.borrow_mut();
        steps.push(step);
        if self.cut_at_step == Some(steps.len()) {
            self.disk.cut_power();
        }
    }

    /// Returns whether the run is over: the power is cut, or a sync was made to fail.
    pub fn is_cut(&self) -> bool {
        self.disk.is_power_cut() || self.fails
    }

    /// An error is the power cut's, or a broken promise.
    pub fn stop(&self, error: &LogError) -> Stop {
        if self.is_cut() {
            return Stop::Cut;
        }
        let failed = ensure(false, "nothing fails", || {
            format!("{}: {error:?}", self.phase.get())
        });
        failed.unwrap_err().into()
    }
}
