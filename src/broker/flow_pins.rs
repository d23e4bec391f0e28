//! What an operator decides about flow-control keys: pauses and pinned limits. What is under way below the limits is the
//! delivery engine's to tell.

use storage::control::push::{FlowOverride, PushEntry};

use super::Broker;
use crate::names::FlowKey;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Limits to pin. What is not given stays as it is, but that a rate comes with its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowPin {
    /// Attempts under way at a time, at least 1.
    pub parallelism: Option<u32>,
    /// Attempts begun in one period, at least 1.
    pub rate: Option<u32>,
    /// Length of a period, in milliseconds, at least 1; with a rate, `None` is one second.
    pub period_ms: Option<u64>,
}

/// Limits to pin no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowUnpin {
    /// The parallelism.
    pub parallelism: bool,
    /// The rate, with its period.
    pub rate: bool,
}

impl Broker {
    /// Pauses or resumes a flow-control key, whether or not there are messages with it. Blocks on the disk, unless it is so
    /// already.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] for one key too many, or the control log's.
    pub fn pause_flow_key(&self, key: &FlowKey, is_paused: bool) -> Result<FlowOverride, Refusal> {
        self.change_flow_key(key, |known| Ok(FlowOverride { is_paused, ..known }))
    }

    /// Pins limits of a flow-control key, whether or not there are messages with it. Blocks on the disk, unless they are so
    /// already.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSettings`] when nothing is given, for a limit out of its range, or for a period without a rate;
    /// [`ErrorCode::LimitExceeded`] for one key too many; or the control log's.
    pub fn pin_flow_key(&self, key: &FlowKey, pin: FlowPin) -> Result<FlowOverride, Refusal> {
        self.change_flow_key(key, |known| pinned(known, pin))
    }

    /// Pins limits of a flow-control key no longer. Blocks on the disk, unless none was pinned.
    ///
    /// # Errors
    /// The control log's.
    pub fn unpin_flow_key(&self, key: &FlowKey, unpin: FlowUnpin) -> Result<FlowOverride, Refusal> {
        self.change_flow_key(key, |known| Ok(unpinned(known, unpin)))
    }

    /// Returns what was decided about a flow-control key; the default when nothing was. Never blocks on the disk.
    #[must_use]
    pub fn flow_override(&self, key: &FlowKey) -> FlowOverride {
        let settings = self.control.push().borrow();
        settings.state.flow_key(key.as_str()).unwrap_or_default()
    }

    /// Lists the flow-control keys of which something was decided, by key. Never blocks on the disk.
    #[must_use]
    pub fn list_flow_overrides(&self) -> Vec<(String, FlowOverride)> {
        let settings = self.push_settings();
        let keys = settings.state.flow_keys();
        keys.map(|(key, flow)| (key.to_owned(), flow)).collect()
    }

    fn change_flow_key(
        &self,
        key: &FlowKey,
        decide: impl FnOnce(FlowOverride) -> Result<FlowOverride, Refusal>,
    ) -> Result<FlowOverride, Refusal> {
        self.change_push(self.clock.now(), |state| {
            let known = state.flow_key(key.as_str()).unwrap_or_default();
            let flow = decide(known)?;
            let key = key.to_string();
            // A key of which nothing is decided is not stored.
            let entry = if flow == known {
                None
            } else if flow == FlowOverride::default() {
                Some(PushEntry::FlowKeyCleared { key })
            } else {
                Some(PushEntry::FlowKeySet { key, flow })
            };
            Ok((entry, flow))
        })
    }
}

fn pinned(known: FlowOverride, pin: FlowPin) -> Result<FlowOverride, Refusal> {
    let refused = |message| Err(Refusal::new(ErrorCode::InvalidSettings, message));
    if pin == FlowPin::default() {
        return refused("nothing is pinned: parallelism, rate or period is needed");
    }
    let rate = pin.rate.or(known.rate);
    if pin.period_ms.is_some() && rate.is_none() {
        return refused("a period is pinned without a rate: give the rate too");
    }
    let is_rate_kept = pin.rate.is_none() && pin.period_ms.is_none();
    Ok(FlowOverride {
        is_paused: known.is_paused,
        parallelism: pin.parallelism.or(known.parallelism),
        rate,
        period_ms: if is_rate_kept {
            known.period_ms
        } else {
            pin.period_ms
        },
    })
}

fn unpinned(known: FlowOverride, unpin: FlowUnpin) -> FlowOverride {
    let mut flow = known;
    if unpin.parallelism {
        flow.parallelism = None;
    }
    if unpin.rate {
        flow.rate = None;
        flow.period_ms = None;
    }
    flow
}
