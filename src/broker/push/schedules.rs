//! Firing schedules: at each due time the message of a schedule is published, once.
//!
//! A firing is a batch whose records carry their cause: the schedule and the time that was due. What stands in a log is
//! never appended again; the last firing of each schedule follows from the logs. After a downtime the time that was missed
//! last is made good, the ones before it are not. A clock that was set back by little makes a schedule wait until it has caught
//! up; one that was set back by more than [`AHEAD_MS_MAX`] was wrong before, and what is due goes by the new time at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use storage::address::Address;
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::control::push::{PushState, Schedule};
use storage::delivery::Envelope;
use storage::log_id::LogId;
use storage::offset::{Offset, TimestampMs};

use super::Firing;
use super::publish::firing_messages;
use crate::broker::Broker;
use crate::delivery::cron;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Longest wait for the next due time: the wall clock may jump.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Wait after a firing has failed.
const BACKOFF: Duration = Duration::from_secs(1);

/// Schedules that fire at a time: they share syncs.
const FIRING_MAX: usize = 64;
/// How far ahead of the clock, in milliseconds, what has fired may lie: three hours, as cron daemons have it.
const AHEAD_MS_MAX: i64 = 3 * 3600 * 1000;

/// The messages of a schedule's last firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFiring {
    /// When it was due.
    pub due: TimestampMs,
    /// Its messages: each id, and whether it has come to its end.
    pub messages: Vec<(String, bool)>,
}

/// A schedule with its expression parsed, for as long as the text stays the same.
struct Clockwork {
    cron: String,
    schedule: cron::Schedule,
}

impl Broker {
    /// Fires schedules until the broker shuts down.
    pub(super) async fn fire_schedules(self: Arc<Self>) {
        let mut changes = self.subscribe_push_settings();
        let mut parsed = BTreeMap::new();
        let mut told = BTreeMap::new();
        loop {
            let settings = changes.borrow_and_update().clone();
            keep_parsed(&mut parsed, &settings.state);
            let looks: Vec<_> = parsed
                .iter()
                .map(|(id, clockwork)| self.fire_if_due(id, clockwork))
                .collect();
            let looked_at = stream::iter(looks)
                .buffer_unordered(FIRING_MAX)
                .collect::<Vec<_>>();
            let mut next = None;
            let mut has_failed = false;
            for (id, result) in looked_at.await {
                match result {
                    Ok(due) => {
                        told.remove(id);
                        next = [next, due].into_iter().flatten().min();
                    }
                    Err(error) => {
                        has_failed = true;
                        // Said once, however often it is tried.
                        if told.get(id) != Some(&error.message) {
                            tracing::warn!(schedule = id, error = %error.message, "a schedule has not fired; it is tried again");
                            told.insert(id.to_owned(), error.message);
                        }
                    }
                }
            }
            told.retain(|id: &String, _| settings.state.schedule(id).is_some());
            let now = self.clock.now();
            let until = next.map_or(LOOK_AGAIN, |next: TimestampMs| {
                Duration::from_millis(next.since(now).max(0).unsigned_abs())
            });
            // The others fire in time.
            let wait = if has_failed {
                until.min(BACKOFF)
            } else {
                until
            };
            tokio::select! {
                () = tokio::time::sleep(wait.min(LOOK_AGAIN)) => {}
                seen = changes.changed() => if seen.is_err() { return },
                () = self.shutdown.wait() => return,
            }
        }
    }

    /// Fires a schedule as it is now, if it is due. Returns when it is due next.
    async fn fire_if_due<'a>(
        &self,
        id: &'a str,
        clockwork: &Clockwork,
    ) -> (&'a str, Result<Option<TimestampMs>, Refusal>) {
        (id, self.try_to_fire(id, clockwork).await)
    }

    async fn try_to_fire(
        &self,
        id: &str,
        clockwork: &Clockwork,
    ) -> Result<Option<TimestampMs>, Refusal> {
        let settings = self.push_settings();
        let schedule = settings.state.schedule(id);
        // One whose times were changed since is looked at again at once.
        let is_going =
            |schedule: &&Arc<Schedule>| !schedule.is_paused && schedule.cron == clockwork.cron;
        let Some(schedule) = schedule.filter(is_going) else {
            return Ok(None);
        };
        let clockwork = &clockwork.schedule;
        let now = self.clock.now();
        let from = self.fired_up_to(id, schedule);
        let Some(first) = clockwork.next_after(from) else {
            return Ok(None);
        };
        if first > now {
            return Ok(Some(first));
        }
        let due = clockwork.last_until(now).unwrap_or(first).max(first);
        self.fire(id, schedule, due).await?;
        Ok(clockwork.next_after(due))
    }

    /// Returns the time up to which nothing of a schedule is due any more. From when the clock was found to have been wrong on, what
    /// lies ahead of it does not count, until it has caught up with all of that.
    fn fired_up_to(&self, id: &str, schedule: &Schedule) -> TimestampMs {
        let now = self.clock.now();
        let fired = self.push().fired.lock().get(id).map(|firing| firing.due);
        let known = [Some(schedule.since), fired];
        let newest = known.into_iter().flatten().max().unwrap_or(now);
        let mut set_back = self.push().set_back.lock();
        if newest <= now {
            set_back.remove(id);
            return newest;
        }
        if newest.since(now) > AHEAD_MS_MAX {
            set_back.entry(id.to_owned()).or_insert(now);
        }
        let Some(found) = set_back.get(id).copied() else {
            return newest;
        };
        let past = known.into_iter().flatten().filter(|time| *time <= now);
        past.fold(found, TimestampMs::max)
    }

    /// Returns when a schedule fires next; `None` while it is paused, or when it never does.
    #[must_use]
    pub fn next_firing(&self, id: &str, schedule: &Schedule) -> Option<TimestampMs> {
        if schedule.is_paused {
            return None;
        }
        let clockwork = cron::Schedule::parse(&schedule.cron).ok()?;
        clockwork.next_after(self.fired_up_to(id, schedule))
    }

    /// Returns a schedule's last firing, if it is known.
    #[must_use]
    pub fn last_firing(&self, id: &str) -> Option<LastFiring> {
        let firing = self.push().fired.lock().get(id).cloned()?;
        let desk = self.push().desk(firing.partition)?;
        let owner = desk.partition.owner().lock();
        let messages = (0..u64::from(firing.count)).map(|at| {
            let offset = Offset(firing.base.0.saturating_add(at));
            let id = Address::message(desk.partition.number(), offset).to_string();
            let is_pending = owner
                .delivery()
                .is_some_and(|state| state.is_pending(offset));
            (id, !is_pending)
        });
        Some(LastFiring {
            due: firing.due,
            messages: messages.collect(),
        })
    }

    async fn fire(&self, id: &str, schedule: &Schedule, due: TimestampMs) -> Result<(), Refusal> {
        let envelopes = self.envelopes_of(id, schedule)?;
        let cause = Cause {
            kind: CauseKind::Schedule,
            log: LogId::CONTROL,
            offset: Offset(schedule.number),
            detail: CauseDetail {
                request_id: Some(id.to_owned()),
                due: Some(due),
                ..CauseDetail::default()
            },
        };
        let messages = firing_messages(envelopes, &schedule.body, self.clock.now(), &cause);
        let push = self.push();
        let place = push.partition_of_name(schedule.queue.as_deref().unwrap_or(id));
        let desk = push.desk(place).ok_or_else(|| {
            Refusal::new(ErrorCode::Internal, "there is no partition to publish to")
        })?;
        let appended = self
            .append_messages(desk, &messages)
            .await
            .map_err(|unpublished| unpublished.refusal())?;
        let firing = Firing {
            due,
            partition: place,
            base: appended.base_offset,
            count: u32::try_from(messages.len()).unwrap_or(u32::MAX),
        };
        push.fired.lock().insert(id.to_owned(), firing);
        self.metrics.deliveries.scheduled.inc();
        Ok(())
    }

    /// Returns the envelopes of a firing: one, or one for each endpoint of the URL group that the schedule goes to.
    fn envelopes_of(&self, id: &str, schedule: &Schedule) -> Result<Vec<Envelope>, Refusal> {
        let unreadable = |error: storage::error::Corruption| {
            let message = format!("schedule {id} cannot be read: {error}");
            Refusal::new(ErrorCode::StorageFailed, message)
        };
        let template = Envelope::decode(&schedule.envelope).map_err(unreadable)?;
        // A delay counts from each firing, and stands in the template as a time after zero.
        let not_before = template
            .not_before
            .map(|delay| self.clock.now().saturating_add(delay.0));
        let envelope = Envelope {
            not_before,
            queue: schedule.queue.clone(),
            schedule: Some(id.to_owned()),
            caller_ip: schedule.caller_ip.clone(),
            dedup: None,
            ..template
        };
        let destination = &schedule.destination;
        if destination.contains("://") {
            return Ok(vec![Envelope {
                url: destination.clone(),
                ..envelope
            }]);
        }
        self.envelopes_of_group(&envelope, destination)
    }
}

/// Keeps the clockworks of the schedules that there are.
fn keep_parsed(parsed: &mut BTreeMap<String, Clockwork>, state: &PushState) {
    parsed.retain(|id, known| {
        let schedule = state.schedule(id);
        schedule.is_some_and(|schedule| schedule.cron == known.cron)
    });
    for (id, schedule) in state.schedules() {
        if parsed.contains_key(id) {
            continue;
        }
        // It was checked when it was set.
        if let Ok(clockwork) = cron::Schedule::parse(&schedule.cron) {
            let cron = schedule.cron.clone();
            let clockwork = Clockwork {
                cron,
                schedule: clockwork,
            };
            parsed.insert(id.to_owned(), clockwork);
        }
    }
}
