//! `/v2/schedules`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use storage::control::push::Schedule;
use storage::delivery::Envelope;

use super::call::{Answer, Call, done, ok};
use super::limits::FILTER_VALUE_COUNT_MAX;
use super::messages::{check_group, make_queues};
use super::publication::PublishRequest;
use super::target::PublishTarget;
use super::views::{ScheduleFacts, ScheduleJson};
use crate::broker::Broker;
use crate::delivery::api::MessageState;
use crate::http::ApiError;
use crate::limits::LETTER_PAGE_MAX;
use crate::names::{ScheduleId, UrlGroupName};
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::selection::{LetterFilter, Order, Page, Selection};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    schedule_id: String,
}

/// Makes or overwrites a schedule.
pub(super) async fn set(call: Call) -> Answer {
    let request = PublishRequest {
        target: PublishTarget::from_path(&call.rest, call.raw_query.as_deref())?,
        headers: call.schedule_headers()?,
        body: call.body.clone(),
        queue: None,
        caller_ip: call.caller_ip.clone(),
    };
    if let PublishTarget::UrlGroup(name) = &request.target {
        check_group(&call, name.as_str())?;
    }
    let new = request.schedule()?;
    let queue = new.queue.iter().cloned();
    let missing = queue.filter(|queue| call.broker.queue(queue).is_err());
    make_queues(&call, missing.collect()).await?;
    let (schedule_id, _) = call
        .blocking(move |broker| broker.set_schedule(new))
        .await?;
    ok(&Set { schedule_id })
}

/// Lists the schedules.
pub(super) async fn list(call: Call) -> Answer {
    let shown = call.blocking(|broker| {
        let schedules = broker.list_schedules();
        let known = |(id, schedule): &(String, Arc<Schedule>)| facts(broker, id, schedule);
        let all = schedules.iter().map(known).collect::<Result<_, _>>()?;
        views(broker, all)
    });
    ok(&shown.await?)
}

/// Returns a schedule.
pub(super) async fn get(call: Call) -> Answer {
    let id = parse(&call.name)?;
    let shown = call.blocking(move |broker| {
        let schedule = broker.schedule(&id)?;
        views(broker, vec![facts(broker, id.as_str(), &schedule)?])
    });
    ok(&shown.await?.first())
}

/// Deletes a schedule.
pub(super) async fn delete(call: Call) -> Answer {
    let id = parse(&call.name)?;
    call.blocking(move |broker| broker.delete_schedule(&id))
        .await?;
    done()
}

/// Lets a schedule not fire.
pub(super) async fn pause(call: Call) -> Answer {
    set_paused(&call, true).await
}

/// Lets a schedule fire again.
pub(super) async fn resume(call: Call) -> Answer {
    set_paused(&call, false).await
}

async fn set_paused(call: &Call, is_paused: bool) -> Answer {
    let id = parse(&call.name)?;
    call.blocking(move |broker| broker.pause_schedule(&id, is_paused))
        .await?;
    done()
}

fn parse(id: &str) -> Result<ScheduleId, ApiError> {
    ScheduleId::parse(id).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// What is known of a schedule before its messages are looked up.
fn facts(broker: &Broker, id: &str, schedule: &Schedule) -> Result<ScheduleFacts, Refusal> {
    let template = Envelope::decode(&schedule.envelope).map_err(|error| {
        let message = format!("schedule {id} cannot be read: {error}");
        Refusal::new(ErrorCode::StorageFailed, message)
    })?;
    let last = broker.last_firing(id);
    let messages = last.iter().flat_map(|last| &last.messages);
    let state = |has_ended: bool| {
        if has_ended {
            MessageState::Delivered
        } else {
            MessageState::Active
        }
    };
    let states = messages.map(|(id, has_ended)| (id.clone(), state(*has_ended)));
    Ok(ScheduleFacts {
        id: id.to_owned(),
        cron: schedule.cron.clone(),
        destination: schedule.destination.clone(),
        envelope: Envelope {
            queue: schedule.queue.clone(),
            caller_ip: schedule.caller_ip.clone(),
            ..template
        },
        body: schedule.body.clone(),
        created_at: schedule.created,
        is_paused: schedule.is_paused,
        next: broker.next_firing(id, schedule),
        states: states.collect(),
        last: last.map(|last| last.due),
        problem: problem(broker, &schedule.destination),
    })
}

/// Says why a schedule cannot fire: a URL group may be gone that was there when the schedule was set.
fn problem(broker: &Broker, destination: &str) -> Option<String> {
    let group = UrlGroupName::parse(destination).ok()?;
    let refusal = broker.url_group(&group).err()?;
    Some(refusal.message)
}

/// Shows schedules. Of the messages that have come to their end, those that are dead letters have failed.
fn views(broker: &Broker, mut all: Vec<ScheduleFacts>) -> Result<Vec<ScheduleJson>, Refusal> {
    let states = all.iter().flat_map(|facts| &facts.states);
    let ended = states.filter(|(_, state)| *state == MessageState::Delivered);
    let ended: Vec<String> = ended.map(|(id, _)| id.clone()).collect();
    let mut dead = BTreeSet::new();
    for ids in ended.chunks(FILTER_VALUE_COUNT_MAX) {
        let filter = LetterFilter {
            message_ids: ids.to_vec(),
            ..LetterFilter::default()
        };
        let page = Page::first(Order::OldestFirst, LETTER_PAGE_MAX);
        let (messages, _) = broker.dead_messages(&Selection::Filter(filter), &page)?;
        dead.extend(
            messages
                .into_iter()
                .filter_map(|dead| dead.letter.message_id),
        );
    }
    for (id, state) in all.iter_mut().flat_map(|facts| &mut facts.states) {
        if dead.contains(id) {
            *state = MessageState::Failed;
        }
    }
    Ok(all.into_iter().map(ScheduleJson::from).collect())
}
