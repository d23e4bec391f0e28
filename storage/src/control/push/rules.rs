//! Which entries the state takes; the two sets of rules are those of [`crate::control::ControlState`].

use super::entry::PushEntry;
use super::flow_override::FlowOverride;
use super::schedule::Schedule;
use super::signing_keys::SigningKeys;
use super::state::PushState;
use super::url_group::UrlGroup;
use crate::control::refusal::{Refusal, bounded, rising, room};
use crate::limits::{
    CALLER_IP_BYTES_MAX, CRON_BYTES_MAX, ENDPOINT_COUNT_MAX, FLOW_KEY_BYTES_MAX,
    FLOW_KEY_COUNT_MAX, FLOW_PERIOD_MS_MAX, HEADER_VALUE_BYTES_MAX, NAME_BYTES_MAX,
    QUEUE_COUNT_MAX, QUEUE_PARALLELISM_MAX, RECORD_BYTES_CEILING, SCHEDULE_CONTENT_BYTES_MAX,
    SCHEDULE_COUNT_MAX, SIGNING_KEY_BYTES_MAX, URL_BYTES_MAX, URL_GROUP_COUNT_MAX,
    URL_GROUP_ENDPOINT_COUNT_MAX,
};

impl PushState {
    /// The limits for what somebody asks for now.
    pub(in crate::control) fn check(&self, entry: &PushEntry) -> Result<(), Refusal> {
        match entry {
            PushEntry::QueueSet { name, queue } => {
                bounded("length of the queue's name", name.len(), NAME_BYTES_MAX)?;
                let parallelism = queue.parallelism;
                bounded("queue's parallelism", parallelism, QUEUE_PARALLELISM_MAX)?;
                let is_new = !self.queues.contains_key(name);
                room_for(
                    "number of queues",
                    self.queues.len(),
                    is_new,
                    QUEUE_COUNT_MAX,
                )
            }
            PushEntry::UrlGroupSet { name, group } => self.check_url_group(name, group),
            PushEntry::ScheduleSet { id, schedule } => self.check_schedule(id, schedule),
            PushEntry::FlowKeySet { key, flow } => self.check_flow_key(key, *flow),
            PushEntry::SigningKeysSet(keys) => check_signing_keys(keys),
            PushEntry::QueueDeleted { .. }
            | PushEntry::UrlGroupDeleted { .. }
            | PushEntry::ScheduleDeleted { .. }
            | PushEntry::SchedulePaused { .. }
            | PushEntry::FlowKeyCleared { .. } => Ok(()),
        }
    }

    fn check_url_group(&self, name: &str, group: &UrlGroup) -> Result<(), Refusal> {
        bounded("length of the URL group's name", name.len(), NAME_BYTES_MAX)?;
        let is_new = !self.url_groups.contains_key(name);
        let count = self.url_groups.len();
        room_for("number of URL groups", count, is_new, URL_GROUP_COUNT_MAX)?;
        let endpoints = group.endpoints.len();
        let what = "number of the URL group's endpoints";
        bounded(what, endpoints, URL_GROUP_ENDPOINT_COUNT_MAX)?;
        let others = self.url_groups.iter().filter(|(other, _)| *other != name);
        let all = others.fold(endpoints, |sum, (_, other)| {
            sum.saturating_add(other.endpoints.len())
        });
        room("number of endpoints", all, ENDPOINT_COUNT_MAX.into())?;
        for endpoint in &group.endpoints {
            bounded(
                "length of the endpoint's URL",
                endpoint.url.len(),
                URL_BYTES_MAX,
            )?;
            let what = "length of the endpoint's name";
            bounded_if_any(what, endpoint.name.as_deref(), NAME_BYTES_MAX)?;
        }
        Ok(())
    }

    fn check_schedule(&self, id: &str, schedule: &Schedule) -> Result<(), Refusal> {
        bounded("length of the schedule's id", id.len(), NAME_BYTES_MAX)?;
        let known = self.schedules.get(id);
        let count = self.schedules.len();
        room_for(
            "number of schedules",
            count,
            known.is_none(),
            SCHEDULE_COUNT_MAX,
        )?;
        bounded(
            "length of the cron expression",
            schedule.cron.len(),
            CRON_BYTES_MAX,
        )?;
        let what = "length of the schedule's destination";
        bounded(what, schedule.destination.len(), URL_BYTES_MAX)?;
        let what = "length of the schedule's queue";
        bounded_if_any(what, schedule.queue.as_deref(), NAME_BYTES_MAX)?;
        let what = "length of the schedule's caller IP";
        bounded_if_any(what, schedule.caller_ip.as_deref(), CALLER_IP_BYTES_MAX)?;
        let what = "length of the schedule's headers and settings";
        bounded(what, schedule.envelope.len(), HEADER_VALUE_BYTES_MAX)?;
        // A body may be empty.
        let what = "length of the schedule's body";
        bounded(what, schedule.body.len().max(1), RECORD_BYTES_CEILING)?;
        let others = self.schedules.iter().filter(|(other, _)| *other != id);
        let all = others.fold(schedule.content_bytes(), |sum, (_, other)| {
            sum.saturating_add(other.content_bytes())
        });
        room("bytes of all schedules", all, SCHEDULE_CONTENT_BYTES_MAX)
    }

    fn check_flow_key(&self, key: &str, flow: FlowOverride) -> Result<(), Refusal> {
        bounded(
            "length of the flow-control key",
            key.len(),
            FLOW_KEY_BYTES_MAX,
        )?;
        let is_new = !self.flow_keys.contains_key(key);
        let count = self.flow_keys.len();
        room_for(
            "number of flow-control keys",
            count,
            is_new,
            FLOW_KEY_COUNT_MAX,
        )?;
        bounded(
            "pinned parallelism",
            flow.parallelism.unwrap_or(1),
            u32::MAX,
        )?;
        bounded("pinned rate", flow.rate.unwrap_or(1), u32::MAX)?;
        bounded(
            "pinned period in ms",
            flow.period_ms.unwrap_or(1),
            FLOW_PERIOD_MS_MAX,
        )
    }

    /// The rules that every entry of a log keeps, whatever the limits were when it was written.
    pub(in crate::control) fn contradicts(&self, entry: &PushEntry) -> Result<(), Refusal> {
        match entry {
            PushEntry::QueueDeleted { name } => {
                known("queue", name, self.queues.contains_key(name))
            }
            PushEntry::UrlGroupDeleted { name } => {
                known("URL group", name, self.url_groups.contains_key(name))
            }
            PushEntry::ScheduleSet { id, schedule } => {
                // A schedule keeps its number, and a new one never gets a number that another had.
                let (min, max) = match self.schedules.get(id) {
                    Some(known) => (known.number, known.number),
                    None => (self.next_schedule_number, u64::MAX.saturating_sub(1)),
                };
                rising("schedule's number", schedule.number, min, max)
            }
            PushEntry::ScheduleDeleted { id } | PushEntry::SchedulePaused { id, .. } => {
                known("schedule", id, self.schedules.contains_key(id))
            }
            PushEntry::FlowKeyCleared { key } => {
                known("flow-control key", key, self.flow_keys.contains_key(key))
            }
            PushEntry::QueueSet { .. }
            | PushEntry::UrlGroupSet { .. }
            | PushEntry::FlowKeySet { .. }
            | PushEntry::SigningKeysSet(_) => Ok(()),
        }
    }
}

fn check_signing_keys(keys: &SigningKeys) -> Result<(), Refusal> {
    for key in [&keys.current, &keys.next] {
        let length = key.expose().len();
        bounded("length of the signing key", length, SIGNING_KEY_BYTES_MAX)?;
    }
    Ok(())
}

fn known(what: &'static str, name: &str, is_known: bool) -> Result<(), Refusal> {
    if is_known {
        return Ok(());
    }
    let name = name.to_owned();
    Err(Refusal::Unknown { what, name })
}

fn bounded_if_any(what: &'static str, text: Option<&str>, max: u32) -> Result<(), Refusal> {
    text.map_or(Ok(()), |text| bounded(what, text.len(), max))
}

/// Checks that there is room for one more. What is there already may be changed also when there are too many.
fn room_for(what: &'static str, count: usize, is_new: bool, max: u32) -> Result<(), Refusal> {
    if is_new {
        return room(what, count.saturating_add(1), max.into());
    }
    Ok(())
}
