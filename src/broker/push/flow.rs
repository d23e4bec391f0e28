//! Looking at flow control.

use crate::broker::Broker;
use crate::delivery::api::{FlowView, ParallelismView};

impl Broker {
    /// Returns what is known of a flow-control key; `None` when nobody has used it lately and nothing is decided about it.
    #[must_use]
    pub fn flow_view(&self, key: &str) -> Option<FlowView> {
        self.push().gates.lock().view(key, self.clock.now())
    }

    /// Returns what is known of every flow-control key, by name.
    #[must_use]
    pub fn flow_views(&self) -> Vec<FlowView> {
        self.push().gates.lock().views(self.clock.now())
    }

    /// Begins a new period of a key now. Returns whether the key is known.
    pub fn reset_rate(&self, key: &str) -> bool {
        let push = self.push();
        let passes = push.gates.lock().reset_rate(key, self.clock.now());
        let is_known = passes.is_some();
        push.hand_out(passes.unwrap_or_default());
        is_known
    }

    /// Returns how many attempts are under way over all destinations, and how many may be.
    #[must_use]
    pub fn global_parallelism(&self) -> ParallelismView {
        let gates = self.push().gates.lock();
        ParallelismView {
            max: u32::try_from(gates.limits().total_max).unwrap_or(u32::MAX),
            count: u32::try_from(gates.in_flight()).unwrap_or(u32::MAX),
        }
    }

    /// Forgets flow-control keys and deduplication keys that nothing depends on any more.
    pub(in crate::broker) fn sweep_push(&self) {
        let now = self.clock.now();
        let mut used = std::collections::BTreeSet::new();
        for desk in &self.push().desks {
            let owner = desk.partition.owner().lock();
            if let Some(state) = owner.delivery() {
                used.extend(state.flow_keys().map(|(key, _)| key.to_owned()));
            }
        }
        self.push()
            .gates
            .lock()
            .sweep(now, &|key| used.contains(key));
    }
}
