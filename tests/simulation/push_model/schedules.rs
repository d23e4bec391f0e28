//! Schedules: which there are, and that each due time makes messages once, never before it, and after a downtime once in all.
//!
//! A schedule that is set anew has another token, which its messages' bodies say: so each message tells which setting it came
//! of. Of the times everything holds only while the wall clock does not jump.

use std::collections::{BTreeMap, BTreeSet};

use super::known::Known;
use crate::log_model::Broken;

/// One setting of a schedule.
#[derive(Debug, Default)]
struct Setting {
    id: String,
    step_ms: i64,
    /// When it was asked for, by the wall clock.
    sent_ms: i64,
    /// When it was sure to be in force no more.
    ended_ms: Option<i64>,
    /// When it was sure to be paused: from then on, and until then if that has ended.
    pauses: Vec<(i64, Option<i64>)>,
}

/// What is known of a schedule.
#[derive(Debug, Default)]
struct One {
    is_there: Known,
    is_paused: Known,
}

/// A record in a log that says it came of a schedule.
#[derive(Debug, Clone)]
pub(crate) struct Fired {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) token: u64,
    pub(crate) url: String,
    /// The schedule's number and the time that was due.
    pub(crate) firing: (u64, i64),
    /// When it was made, by the wall clock.
    pub(crate) made_ms: i64,
}

/// Schedules and what they have made.
#[derive(Debug, Default)]
pub(crate) struct ScheduleModel {
    known: BTreeMap<String, One>,
    settings: BTreeMap<u64, Setting>,
    /// By schedule: due times that were shown, with their messages.
    shown: BTreeMap<(String, i64), BTreeSet<String>>,
    /// Between two brokers: when the one ended, and when the next one began.
    downtimes: Vec<(i64, i64)>,
    ended_ms: Option<i64>,
    has_jumped: bool,
    pub(super) firings: u64,
}

impl ScheduleModel {
    pub(crate) fn clock_jumps(&mut self) {
        self.has_jumped = true;
    }

    pub(crate) fn broker_serves(&mut self, now_ms: i64) {
        let ended_ms = self.ended_ms.take();
        self.downtimes.extend(ended_ms.map(|ended| (ended, now_ms)));
    }

    pub(crate) fn broker_has_ended(&mut self, now_ms: i64) {
        // One that never served has ended nothing.
        self.ended_ms.get_or_insert(now_ms);
        for one in self.known.values_mut() {
            one.is_there.broker_has_ended();
            one.is_paused.broker_has_ended();
        }
    }

    /// A schedule is to be set.
    pub(crate) fn set_tried(&mut self, id: &str, token: u64, step_ms: i64, now_ms: i64) {
        let setting = Setting {
            id: id.to_owned(),
            step_ms,
            sent_ms: now_ms,
            ..Setting::default()
        };
        self.settings.insert(token, setting);
        let one = self.known.entry(id.to_owned()).or_default();
        one.is_there.tried();
    }

    pub(crate) fn is_there(&self, id: &str) -> Known {
        self.known.get(id).map_or(Known::No, |one| one.is_there)
    }

    pub(crate) fn set_answered(&mut self, id: &str, token: u64, now_ms: i64) {
        let one = self.known.entry(id.to_owned()).or_default();
        one.is_there.answered(true);
        let (is_sure, is_paused) = (one.is_there == Known::Yes, one.is_paused);
        if is_sure {
            self.end_others(id, Some(token), now_ms);
            if is_paused == Known::Yes
                && let Some(setting) = self.settings.get_mut(&token)
            {
                setting.pauses.push((now_ms, None));
            }
        }
    }

    fn end_others(&mut self, id: &str, but: Option<u64>, now_ms: i64) {
        for (token, setting) in &mut self.settings {
            if setting.id == id && Some(*token) != but {
                setting.ended_ms.get_or_insert(now_ms);
            }
        }
    }

    pub(crate) fn delete_tried(&mut self, id: &str) {
        let one = self.known.entry(id.to_owned()).or_default();
        one.is_there.tried();
        one.is_paused.tried();
    }

    pub(crate) fn delete_answered(&mut self, id: &str, now_ms: i64) {
        let one = self.known.entry(id.to_owned()).or_default();
        one.is_there.answered(false);
        one.is_paused.answered(false);
        if one.is_there == Known::No {
            self.end_others(id, None, now_ms);
        }
    }

    /// A schedule is to be paused, or to go on.
    pub(crate) fn pause_tried(&mut self, id: &str, now_ms: i64) {
        self.known
            .entry(id.to_owned())
            .or_default()
            .is_paused
            .tried();
        for setting in self.settings.values_mut().filter(|one| one.id == id) {
            if let Some((_, until @ None)) = setting.pauses.last_mut() {
                *until = Some(now_ms);
            }
        }
    }

    pub(crate) fn pause_answered(&mut self, id: &str, is_paused: bool, now_ms: i64) {
        let one = self.known.entry(id.to_owned()).or_default();
        one.is_paused.answered(is_paused);
        if one.is_paused == Known::Yes {
            self.begin_pause(id, now_ms);
        }
    }

    fn begin_pause(&mut self, id: &str, now_ms: i64) {
        for setting in self.settings.values_mut().filter(|one| one.id == id) {
            if !matches!(setting.pauses.last(), Some((_, None))) {
                setting.pauses.push((now_ms, None));
            }
        }
    }

    /// The first answer of a life about the schedules: each id with its token and whether it is paused.
    pub(crate) fn found(
        &mut self,
        all: &BTreeMap<String, (u64, bool)>,
        now_ms: i64,
    ) -> Result<(), Broken> {
        for id in all.keys() {
            self.known.entry(id.clone()).or_default();
        }
        let ids: Vec<_> = self.known.keys().cloned().collect();
        for id in ids {
            let there = all.get(&id);
            let one = self.known.entry(id.clone()).or_default();
            let held = one.is_there.found(there.is_some());
            held.map_err(|error| format!("schedule {id}: {error}"))?;
            let is_paused = there.is_some_and(|(_, is_paused)| *is_paused);
            let held = one.is_paused.found(is_paused);
            held.map_err(|error| format!("schedule {id}, paused: {error}"))?;
            let is_sure = matches!(one.is_there, Known::Yes | Known::No);
            let is_paused = one.is_paused == Known::Yes;
            if let Some((token, _)) = there
                && let Some(setting) = self.settings.get(token)
                && is_sure
                && setting.ended_ms.is_some()
            {
                return Err(format!("schedule {id} is {token} again: {setting:?}"));
            }
            if is_sure {
                self.end_others(&id, there.map(|(token, _)| *token), now_ms);
            }
            if is_paused {
                self.begin_pause(&id, now_ms);
            }
        }
        Ok(())
    }

    /// A schedule is shown with its last firing.
    pub(crate) fn shown(
        &mut self,
        id: &str,
        due_ms: i64,
        messages: BTreeSet<String>,
    ) -> Result<(), Broken> {
        let known = self.shown.entry((id.to_owned(), due_ms));
        let before = known.or_insert_with(|| messages.clone());
        if *before == messages || self.has_jumped {
            return Ok(());
        }
        Err(format!(
            "schedule {id} fired at {due_ms} as {before:?} and as {messages:?}"
        ))
    }

    /// Looks at everything that schedules have made. `has_arrived` says of a record whether a destination has seen it.
    pub(crate) fn check_fired(
        &mut self,
        fired: &[Fired],
        has_arrived: impl Fn(&Fired) -> bool,
    ) -> Result<(), Broken> {
        let mut firings: BTreeMap<(u64, i64), Vec<&Fired>> = BTreeMap::new();
        for one in fired {
            firings.entry(one.firing).or_default().push(one);
            if !has_arrived(one) {
                return Err(format!("what a schedule has made never arrived: {one:?}"));
            }
            self.check_any_time(one)?;
            if !self.has_jumped {
                self.check_time(one)?;
            }
        }
        self.firings = firings.len() as u64;
        for records in firings.values() {
            let first = records[0];
            let is_next = |(at, one): (u64, &&Fired)| {
                (one.partition, one.offset) == (first.partition, first.offset + at)
                    && one.token == first.token
            };
            let urls: BTreeSet<_> = records.iter().map(|one| &one.url).collect();
            if !(0..).zip(records).all(is_next) || urls.len() != records.len() {
                return Err(format!("a schedule fired twice: {records:?}"));
            }
        }
        self.check_downtimes(&firings)
    }

    /// What holds of a firing however the clock jumps: it is of a time that the schedule has, and came when the clock showed that
    /// time or a later one.
    fn check_any_time(&self, fired: &Fired) -> Result<(), Broken> {
        let Some(setting) = self.settings.get(&fired.token) else {
            return Err(format!("no schedule was set for {fired:?}"));
        };
        let due = fired.firing.1;
        if due % setting.step_ms == 0 && fired.made_ms >= due {
            return Ok(());
        }
        Err(format!("{fired:?} came of {setting:?}, before its time"))
    }

    fn check_time(&self, fired: &Fired) -> Result<(), Broken> {
        let Some(setting) = self.settings.get(&fired.token) else {
            return Err(format!("no schedule was set for {fired:?}"));
        };
        let due = fired.firing.1;
        let was_paused = setting
            .pauses
            .iter()
            .any(|(from, until)| due > *from && until.is_none_or(|until| due < until));
        let is_right = due % setting.step_ms == 0
            && due > setting.sent_ms
            && fired.made_ms >= due
            && setting.ended_ms.is_none_or(|ended| due <= ended)
            && !was_paused;
        is_right
            .then_some(())
            .ok_or_else(|| format!("{fired:?} came of {setting:?}"))
    }

    /// What was missed while no broker ran is made good once for each schedule.
    fn check_downtimes(&self, firings: &BTreeMap<(u64, i64), Vec<&Fired>>) -> Result<(), Broken> {
        let mut missed = BTreeSet::new();
        for (number, due) in firings.keys().filter(|_| !self.has_jumped) {
            let downtime = self
                .downtimes
                .iter()
                .find(|(from, until)| from < due && due <= until);
            if let Some(downtime) = downtime
                && !missed.insert((number, downtime))
            {
                return Err(format!(
                    "schedule {number} fired more than once for {downtime:?}: {:?}",
                    firings.keys().collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }
}
