//! Schedules: setting, pausing and deleting them. What they publish, and when, is the delivery engine's work.

use std::fmt;

use std::sync::Arc;

use bytes::Bytes;
use storage::control::push::{PushEntry, Schedule};
use storage::delivery::Envelope;
use storage::hidden::Hidden;

use super::Broker;
use super::random::{no_random, random_text};
use crate::names::{QueueName, ScheduleId};
use crate::protocol::error_code::{ErrorCode, Refusal};

/// What ids that the broker gives begin with.
const ID_PREFIX: &str = "scd_";

/// A schedule as it is asked for.
#[derive(Clone)]
pub struct NewSchedule {
    /// Its id; `None` is a new one.
    pub id: Option<ScheduleId>,
    /// When it publishes. The caller has parsed it.
    pub cron: String,
    /// Where its messages go: a URL or the name of a URL group. The caller has parsed it.
    pub destination: String,
    /// The queue that its messages stand in.
    pub queue: Option<QueueName>,
    /// By which rules its messages go. The URL in it counts for nothing.
    pub envelope: Envelope,
    /// The body of its messages.
    pub body: Bytes,
    /// Address of who asks.
    pub caller_ip: Option<String>,
}

impl fmt::Debug for NewSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSchedule")
            .field("id", &self.id)
            .field("cron", &self.cron)
            .field("destination", &self.destination)
            .field("queue", &self.queue)
            .field("envelope", &self.envelope)
            .field("body", &Hidden(&self.body))
            .field("caller_ip", &self.caller_ip)
            .finish()
    }
}

impl Broker {
    /// Sets a schedule. One that has the id already gets the new settings; it keeps its number, when it was created, and
    /// whether it is paused, and publishes nothing for what was due before. Returns its id with it. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSettings`] for a field that is too long, [`ErrorCode::LimitExceeded`] for one schedule or byte too
    /// many, or the control log's.
    pub fn set_schedule(&self, new: NewSchedule) -> Result<(String, Arc<Schedule>), Refusal> {
        let id = match &new.id {
            Some(id) => id.to_string(),
            None => random_text(ID_PREFIX).map_err(no_random)?,
        };
        let envelope = Envelope {
            url: String::new(),
            ..new.envelope
        };
        let now = self.clock.now();
        self.change_push(now, |state| {
            let known = state.schedule(&id);
            let number = known.map_or(state.next_schedule_number(), |known| known.number);
            let schedule = Schedule {
                number,
                cron: new.cron,
                destination: new.destination,
                created: known.map_or(now, |known| known.created),
                since: now,
                is_paused: known.is_some_and(|known| known.is_paused),
                queue: new.queue.map(|queue| queue.to_string()),
                envelope: envelope.encode().into(),
                body: new.body,
                caller_ip: new.caller_ip,
            };
            let entry = PushEntry::ScheduleSet {
                id: id.clone(),
                schedule: schedule.clone(),
            };
            Ok((Some(entry), (id, Arc::new(schedule))))
        })
    }

    /// Pauses or resumes a schedule. One that is resumed publishes nothing for what was due while it was paused. Blocks on
    /// the disk, unless it is so already.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the control log's.
    pub fn pause_schedule(&self, id: &ScheduleId, is_paused: bool) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.change_push(now, |state| {
            let known = state.schedule(id.as_str());
            let known = known.ok_or_else(|| no_schedule(id))?;
            let entry = PushEntry::SchedulePaused {
                id: id.to_string(),
                is_paused,
                time: now,
            };
            Ok(((known.is_paused != is_paused).then_some(entry), ()))
        })
    }

    /// Deletes a schedule. What it has published stays. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the control log's.
    pub fn delete_schedule(&self, id: &ScheduleId) -> Result<(), Refusal> {
        self.change_push(self.clock.now(), |state| {
            let known = state.schedule(id.as_str());
            known.ok_or_else(|| no_schedule(id))?;
            let id = id.to_string();
            Ok((Some(PushEntry::ScheduleDeleted { id }), ()))
        })
    }

    /// Returns a schedule. Never blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn schedule(&self, id: &ScheduleId) -> Result<Arc<Schedule>, Refusal> {
        let settings = self.control.push().borrow();
        let schedule = settings.state.schedule(id.as_str());
        schedule.cloned().ok_or_else(|| no_schedule(id))
    }

    /// Lists the schedules, by id. Never blocks on the disk.
    #[must_use]
    pub fn list_schedules(&self) -> Vec<(String, Arc<Schedule>)> {
        let settings = self.push_settings();
        let schedules = settings.state.schedules();
        schedules
            .map(|(id, schedule)| (id.to_owned(), Arc::clone(schedule)))
            .collect()
    }
}

fn no_schedule(id: &ScheduleId) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no schedule {id}"))
}
