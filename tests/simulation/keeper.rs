//! Keepers: they set, pause and delete schedules, change URL groups, and pause flow-control keys, one thing at a time; and at
//! the beginning of a life they look whether everything is as they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use redrive::clock::Clock;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::destination::token_of;
use crate::life::Life;
use crate::push_model::Asked;
use crate::push_model::flow::{KEYS, any_key};
use crate::push_model::known::Known;

pub(crate) const GROUPS: [&str; 2] = ["g0", "g1"];
const SCHEDULES: [&str; 2] = ["s0", "s1"];
/// What a schedule fires by, and how many minutes lie between two due times.
const CRONS: [(&str, i64); 2] = [("* * * * *", 1), ("*/2 * * * *", 2)];
/// Longer than the time between two due times of any schedule.
const EVERY_SCHEDULE_FIRES: Duration = Duration::from_secs(125);
const TRIES: u32 = 4;
/// An attempt that was counted has arrived within this time.
const COUNTED_ARRIVES: Duration = Duration::from_millis(1_500);

/// Keeps things for a life.
pub(crate) async fn keep(life: Arc<Life>) {
    let mut chance = life.world.chance("keeper", 0);
    look(&life).await;
    tokio::join!(keep_things(&life, &mut chance), turn_limits(&life));
}

async fn keep_things(life: &Life, chance: &mut Chance) {
    // Schedules fire by the minute: some lives are long enough for that.
    let pause_ms = if chance.one_in(3) { 30_000 } else { 700 };
    for _ in 0..chance.between(2, 9) {
        match chance.below(8) {
            0 | 1 => set(life, chance).await,
            2 => {
                let id = *chance.pick(&SCHEDULES);
                delete(life, id).await;
            }
            3 => {
                let id = *chance.pick(&SCHEDULES);
                pause(life, id, chance.one_in(2)).await;
            }
            4 => change_group(life, chance, true).await,
            5 => {
                let is_added = !chance.one_in(3);
                change_group(life, chance, is_added).await;
            }
            _ => {
                let at = usize::try_from(chance.below(KEYS.len() as u64)).unwrap();
                pause_key(life, at, chance.one_in(2)).await;
            }
        }
        tokio::time::sleep(chance.ms(0, pause_ms)).await;
    }
    // What is due soon is waited for, a while.
    tokio::time::sleep(chance.ms(0, 2 * pause_ms)).await;
}

async fn ask(
    life: &Life,
    method: Method,
    target: &str,
    headers: &[(&str, String)],
    body: String,
) -> Option<(u16, Value)> {
    let what = format!("{method} {target}");
    let answer = life.net.http(method, target, headers, body).await;
    life.world.note(&format!("{what}: {answer:?}"));
    answer
}

fn is_done(answer: Option<&(u16, Value)>) -> bool {
    matches!(answer, Some((200..300, _)))
}

fn wall_ms(life: &Life) -> i64 {
    life.clock.now().0
}

/// Asks until it is answered with what is there or with 404, a few times.
async fn get(life: &Life, target: &str) -> Option<Value> {
    for _ in 0..TRIES {
        match ask(life, Method::GET, target, &[], String::new()).await {
            Some((200, value)) => return Some(value),
            Some((404, _)) => return Some(Value::Null),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    None
}

/// Looks at everything that may be switched, before anything of it is changed in this life.
pub(crate) async fn look(life: &Life) {
    if let Some(found) = get(life, "/v2/schedules").await {
        let all = found.as_array().into_iter().flatten();
        let all: BTreeMap<_, _> = all
            .filter_map(|one| {
                let token = token_of(one["body"].as_str()?)?;
                let id = one["scheduleId"].as_str()?.to_owned();
                Some((id, (token, one["isPaused"].as_bool()?)))
            })
            .collect();
        let held = life.world.push.lock().schedules.found(&all, wall_ms(life));
        life.world.check(held);
        show(life, &found);
    }
    for group in GROUPS {
        if let Some(found) = get(life, &format!("/v2/topics/{group}")).await {
            let all = found["endpoints"].as_array().into_iter().flatten();
            let urls: BTreeSet<_> = all
                .filter_map(|one| Some(one["url"].as_str()?.to_owned()))
                .collect();
            let held = life.world.push.lock().groups.found(group, &urls);
            life.world.check(held);
        }
    }
    for (at, key) in KEYS.iter().enumerate() {
        if let Some(found) = get(life, &format!("/v2/flowControl/{}", key.name)).await {
            let is_paused = found["isPaused"].as_bool().unwrap_or_default();
            let held = life.world.push.lock().flow.found(at, is_paused, life.now());
            life.world.check(held);
            let is = |name: &str| found[name].as_bool().unwrap_or_default();
            let is_pinned = is("isPinnedParallelism") || is("isPinnedRate");
            let now = life.now();
            let held = life.world.push.lock().flow.found_pinned(at, is_pinned, now);
            life.world.check(held);
        }
    }
}

/// Tells the model of the last firing of each schedule.
fn show(life: &Life, schedules: &Value) {
    for one in schedules.as_array().into_iter().flatten() {
        let id = one["scheduleId"].as_str().unwrap_or_default();
        let states = one["lastScheduleStates"].as_object();
        if let (Some(due), Some(states)) = (one["lastScheduleTime"].as_i64(), states) {
            let messages = states.keys().cloned().collect();
            let held = life.world.push.lock().schedules.shown(id, due, messages);
            life.world.check(held);
        }
    }
}

async fn set(life: &Life, chance: &mut Chance) {
    let id = *chance.pick(&SCHEDULES);
    let (cron, minutes) = *chance.pick(&CRONS);
    let group = chance.one_in(2).then(|| *chance.pick(&GROUPS));
    let asked = Asked {
        retries: u32::try_from(chance.below(2)).unwrap(),
        queue: chance.one_in(4).then(|| "q0".to_owned()),
        flow: chance.one_in(4).then(|| any_key(chance)),
        group: group.map(str::to_owned),
        schedule: Some(id.to_owned()),
        ..Asked::default()
    };
    let mut headers = vec![
        ("upstash-cron", cron.to_owned()),
        ("upstash-schedule-id", id.to_owned()),
        ("upstash-retries", asked.retries.to_string()),
        ("upstash-retry-delay", chance.between(1, 4_000).to_string()),
    ];
    headers.extend(asked.more_headers());
    let token = {
        let mut push = life.world.push.lock();
        let token = push.ask(asked);
        push.schedules
            .set_tried(id, token, minutes * 60_000, wall_ms(life));
        token
    };
    let url = format!("http://h{}.example/tick", chance.below(3));
    let target = format!("/v2/schedules/{}", group.unwrap_or(&url));
    let body = format!("{token}:tick");
    let answer = ask(life, Method::POST, &target, &headers, body).await;
    if is_done(answer.as_ref()) {
        let mut push = life.world.push.lock();
        push.schedules.set_answered(id, token, wall_ms(life));
    }
}

/// Says what is wrong with a 404 for a schedule that was sure to be there.
fn check_missing(life: &Life, id: &str, before: Known, answer: Option<&(u16, Value)>) {
    if before == Known::Yes && matches!(answer, Some((404, _))) {
        let broken = format!("schedule {id} was there, and is not known: {answer:?}");
        life.world.check(Err(broken));
    }
}

async fn delete(life: &Life, id: &str) {
    let before = {
        let mut push = life.world.push.lock();
        let before = push.schedules.is_there(id);
        push.schedules.delete_tried(id);
        before
    };
    let target = format!("/v2/schedules/{id}");
    let answer = ask(life, Method::DELETE, &target, &[], String::new()).await;
    check_missing(life, id, before, answer.as_ref());
    if is_done(answer.as_ref()) {
        let mut push = life.world.push.lock();
        push.schedules.delete_answered(id, wall_ms(life));
    }
}

async fn pause(life: &Life, id: &str, is_paused: bool) {
    let before = {
        let mut push = life.world.push.lock();
        push.schedules.pause_tried(id, wall_ms(life));
        push.schedules.is_there(id)
    };
    let what = if is_paused { "pause" } else { "resume" };
    let target = format!("/v2/schedules/{id}/{what}");
    let answer = ask(life, Method::POST, &target, &[], String::new()).await;
    check_missing(life, id, before, answer.as_ref());
    if is_done(answer.as_ref()) {
        let mut push = life.world.push.lock();
        let now_ms = wall_ms(life);
        push.schedules.pause_answered(id, is_paused, now_ms);
    }
}

async fn change_group(life: &Life, chance: &mut Chance, is_added: bool) {
    let group = *chance.pick(&GROUPS);
    let count = if is_added { chance.between(1, 3) } else { 1 };
    let first = chance.below(3);
    let endpoints: Vec<_> = (0..count).map(|at| (first + at) % 3).collect();
    switch_endpoints(life, group, &endpoints, is_added).await;
}

async fn switch_endpoints(life: &Life, group: &str, endpoints: &[u64], is_added: bool) {
    let url = |at: &u64| format!("http://h{at}.example/{group}");
    for at in endpoints {
        let mut push = life.world.push.lock();
        push.groups.change_tried(group, &url(at));
    }
    let all: Vec<_> = endpoints
        .iter()
        .map(|at| json!({"name": format!("e{at}"), "url": url(at)}))
        .collect();
    let method = if is_added {
        Method::POST
    } else {
        Method::DELETE
    };
    let target = format!("/v2/topics/{group}/endpoints");
    let headers = [("content-type", "application/json".to_owned())];
    let body = json!({"endpoints": all}).to_string();
    let answer = ask(life, method, &target, &headers, body).await;
    if is_done(answer.as_ref()) {
        for at in endpoints {
            let mut push = life.world.push.lock();
            push.groups.change_answered(group, &url(at), is_added);
        }
    }
}

async fn pause_key(life: &Life, at: usize, is_paused: bool) {
    life.world.push.lock().flow.pause_tried(at);
    let what = if is_paused { "pause" } else { "resume" };
    let target = format!("/v2/flowControl/{}/{what}", KEYS[at].name);
    let answer = ask(life, Method::POST, &target, &[], String::new()).await;
    if is_done(answer.as_ref()) {
        let now = life.now();
        let mut push = life.world.push.lock();
        push.flow.pause_answered(at, is_paused, now);
    }
}

/// Pins limits of keys, pins them no longer, and ends periods.
async fn turn_limits(life: &Life) {
    let mut chance = life.world.chance("limits", 0);
    if !life.world.plan.has_pins {
        return;
    }
    for _ in 0..chance.between(2, 9) {
        let at = any_key(&mut chance);
        match chance.below(6) {
            0 => pin_key(life, at, false).await,
            1 => reset_rate(life, at).await,
            _ => pin_key(life, at, true).await,
        }
        tokio::time::sleep(chance.ms(0, 2_500)).await;
    }
}

async fn pin_key(life: &Life, at: usize, is_pinned: bool) {
    life.world.push.lock().flow.pin_tried(at, life.now());
    let key = &KEYS[at];
    let what = if is_pinned {
        format!("pin?{}", key.pin_query())
    } else {
        format!("unpin?{}", key.unpin_query())
    };
    let target = format!("/v2/flowControl/{}/{what}", key.name);
    let answer = ask(life, Method::POST, &target, &[], String::new()).await;
    if is_done(answer.as_ref()) {
        let now = life.now();
        life.world.push.lock().flow.pin_answered(at, is_pinned, now);
    }
}

/// Ends the period of a key. What the broker has counted a moment later has begun since, and arrives.
async fn reset_rate(life: &Life, at: usize) {
    let arrived = |life: &Life| life.world.push.lock().flow.arrived_count(at, life.now());
    let jumps = life.world.push.lock().jump_count();
    life.world.push.lock().flow.reset_tried(at, life.now());
    let before = arrived(life);
    let target = format!("/v2/flowControl/{}", KEYS[at].name);
    let reset = format!("{target}/resetRate");
    let answer = ask(life, Method::POST, &reset, &[], String::new()).await;
    if !is_done(answer.as_ref()) {
        return;
    }
    life.world.push.lock().flow.reset_answered(at, life.now());
    let found = ask(life, Method::GET, &target, &[], String::new()).await;
    let Some((200, found)) = found else { return };
    tokio::time::sleep(COUNTED_ARRIVES).await;
    let is_well = !life.world.has_failures() && life.world.push.lock().jump_count() == jumps;
    if let (Some(before), Some(after), true) = (before, arrived(life), is_well)
        && found["rateCount"].as_u64() > Some(after - before)
    {
        let broken = format!(
            "{} attempts since, of {found} after a reset",
            after - before
        );
        life.world.check(Err(broken));
    }
}

/// Nothing fails any more: lets everything go on that is held up.
///
/// Schedules pause: two of them may fire as often for a group as its endpoints' key lets through, and nothing would come to rest.
pub(crate) async fn release(life: &Life) {
    look(life).await;
    for id in schedules(life).await {
        pause(life, &id, true).await;
    }
    for at in 0..KEYS.len() {
        pause_key(life, at, false).await;
        if life.world.plan.has_pins {
            pin_key(life, at, false).await;
        }
    }
}

fn ids(schedules: &Value) -> Vec<String> {
    let all = schedules.as_array().into_iter().flatten();
    all.filter_map(|one| Some(one["scheduleId"].as_str()?.to_owned()))
        .collect()
}

async fn schedules(life: &Life) -> Vec<String> {
    ids(&get(life, "/v2/schedules").await.unwrap_or_default())
}

/// Lets every schedule fire once more, looks whether it has, and deletes it.
pub(crate) async fn wind_up(life: &Life) {
    let there = schedules(life).await;
    if there.is_empty() {
        return;
    }
    for group in GROUPS {
        switch_endpoints(life, group, &[0], true).await;
    }
    for id in &there {
        pause(life, id, false).await;
    }
    let begun_ms = wall_ms(life);
    tokio::time::sleep(EVERY_SCHEDULE_FIRES).await;
    let after = get(life, "/v2/schedules").await.unwrap_or_default();
    show(life, &after);
    if there != ids(&after) {
        let broken = format!("schedules were {there:?} and are {after}");
        life.world.check(Err(broken));
    }
    for one in after.as_array().into_iter().flatten() {
        if one["lastScheduleTime"].as_i64() <= Some(begun_ms) {
            let broken = format!("since {begun_ms} a schedule has not fired: {one}");
            life.world.check(Err(broken));
        }
    }
    for id in ids(&after) {
        delete(life, &id).await;
    }
}
