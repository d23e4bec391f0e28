//! What the entries add up to.
//!
//! A copy shares everything until it changes, and then all of what did not: readers get a copy after each change, so that
//! they never wait for one that is being synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::PushEntry;
use super::flow_override::FlowOverride;
use super::queue::Queue;
use super::schedule::Schedule;
use super::signing_keys::SigningKeys;
use super::url_group::UrlGroup;

/// What deliveries over HTTP go by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushState {
    pub(super) queues: Arc<BTreeMap<String, Queue>>,
    pub(super) url_groups: Arc<BTreeMap<String, Arc<UrlGroup>>>,
    pub(super) schedules: Arc<BTreeMap<String, Arc<Schedule>>>,
    pub(super) next_schedule_number: u64,
    pub(super) flow_keys: Arc<BTreeMap<String, FlowOverride>>,
    pub(super) signing_keys: Option<SigningKeys>,
}

impl PushState {
    /// Returns the queue with this name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<Queue> {
        self.queues.get(name).copied()
    }

    /// Returns the queues, by name.
    pub fn queues(&self) -> impl ExactSizeIterator<Item = (&str, Queue)> {
        self.queues
            .iter()
            .map(|(name, queue)| (name.as_str(), *queue))
    }

    /// Returns the URL group with this name.
    #[must_use]
    pub fn url_group(&self, name: &str) -> Option<&Arc<UrlGroup>> {
        self.url_groups.get(name)
    }

    /// Returns the URL groups, by name.
    pub fn url_groups(&self) -> impl ExactSizeIterator<Item = (&str, &Arc<UrlGroup>)> {
        self.url_groups
            .iter()
            .map(|(name, group)| (name.as_str(), group))
    }

    /// Returns the schedule with this id.
    #[must_use]
    pub fn schedule(&self, id: &str) -> Option<&Arc<Schedule>> {
        self.schedules.get(id)
    }

    /// Returns the schedules, by id.
    pub fn schedules(&self) -> impl ExactSizeIterator<Item = (&str, &Arc<Schedule>)> {
        self.schedules
            .iter()
            .map(|(id, schedule)| (id.as_str(), schedule))
    }

    /// Returns the number that the next new schedule gets. It is never one that was used before.
    #[must_use]
    pub fn next_schedule_number(&self) -> u64 {
        self.next_schedule_number
    }

    /// Returns what was decided about a flow-control key.
    #[must_use]
    pub fn flow_key(&self, key: &str) -> Option<FlowOverride> {
        self.flow_keys.get(key).copied()
    }

    /// Returns the flow-control keys of which something was decided, by key.
    pub fn flow_keys(&self) -> impl ExactSizeIterator<Item = (&str, FlowOverride)> {
        self.flow_keys
            .iter()
            .map(|(key, flow)| (key.as_str(), *flow))
    }

    /// Returns the keys that sign deliveries, once there are any.
    #[must_use]
    pub fn signing_keys(&self) -> Option<&SigningKeys> {
        self.signing_keys.as_ref()
    }

    /// Applies an entry that does not contradict the state.
    pub(in crate::control) fn apply(&mut self, entry: &PushEntry) {
        match entry {
            PushEntry::QueueSet { name, queue } => {
                Arc::make_mut(&mut self.queues).insert(name.clone(), *queue);
            }
            PushEntry::QueueDeleted { name } => {
                Arc::make_mut(&mut self.queues).remove(name);
            }
            PushEntry::UrlGroupSet { name, group } => {
                let group = Arc::new(group.clone());
                Arc::make_mut(&mut self.url_groups).insert(name.clone(), group);
            }
            PushEntry::UrlGroupDeleted { name } => {
                Arc::make_mut(&mut self.url_groups).remove(name);
            }
            PushEntry::ScheduleSet { id, schedule } => {
                let behind = schedule.number.saturating_add(1);
                self.next_schedule_number = self.next_schedule_number.max(behind);
                let schedule = Arc::new(schedule.clone());
                Arc::make_mut(&mut self.schedules).insert(id.clone(), schedule);
            }
            PushEntry::ScheduleDeleted { id } => {
                Arc::make_mut(&mut self.schedules).remove(id);
            }
            PushEntry::SchedulePaused {
                id,
                is_paused,
                time,
            } => {
                if let Some(schedule) = Arc::make_mut(&mut self.schedules).get_mut(id) {
                    let schedule = Arc::make_mut(schedule);
                    schedule.is_paused = *is_paused;
                    if !is_paused {
                        schedule.since = *time;
                    }
                }
            }
            PushEntry::FlowKeySet { key, flow } => {
                Arc::make_mut(&mut self.flow_keys).insert(key.clone(), *flow);
            }
            PushEntry::FlowKeyCleared { key } => {
                Arc::make_mut(&mut self.flow_keys).remove(key);
            }
            PushEntry::SigningKeysSet(keys) => self.signing_keys = Some(keys.clone()),
        }
    }
}
