//! Publishers over HTTP: messages with delays, retries, queues, callbacks and deduplication ids; batches; cancelling; dead
//! letters.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::Method;
use redrive::clock::Clock;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::keeper::GROUPS;
use crate::life::Life;
use crate::push_model::Asked;
use crate::push_model::flow::{RATED, any_key};

/// A message as it is asked for.
struct Wanted {
    token: u64,
    url: String,
    headers: Vec<(&'static str, String)>,
    queue: Option<String>,
    group: Option<&'static str>,
    body: String,
}

/// Publishes for a life.
pub(crate) async fn publish(life: Arc<Life>, at: u64) {
    let mut chance = life.world.chance("publisher", at);
    for _ in 0..chance.between(2, 14) {
        match chance.below(10) {
            0 => cancel(&life, &mut chance).await,
            1 | 2 => {
                list(&life).await;
                resolve(&life, &mut chance).await;
            }
            3 => batch(&life, &mut chance).await,
            _ => one(&life, &mut chance).await,
        }
        tokio::time::sleep(chance.ms(0, 900)).await;
    }
}

fn wanted(life: &Life, chance: &mut Chance) -> Wanted {
    let group = chance.one_in(4).then(|| *chance.pick(&GROUPS));
    let is_crowded = life.world.plan.is_crowded && !chance.one_in(4);
    let has_flow = chance.one_in(3) || (life.world.plan.has_pins && chance.one_in(2));
    let flow = has_flow.then(|| any_key(chance));
    let queue = (!is_crowded && chance.one_in(3)).then(|| format!("q{}", chance.below(2)));
    let mut asked = Asked {
        retries: u32::try_from(chance.below(4)).unwrap(),
        dedup: (group.is_none() && chance.one_in(4)).then(|| format!("d{}", chance.below(3))),
        has_callback: chance.one_in(4),
        has_failure_callback: chance.one_in(4),
        queue,
        flow: if is_crowded { Some(RATED) } else { flow },
        group: group.map(str::to_owned),
        schedule: None,
    };
    if let (Some(group), true) = (group, life.world.plan.has_group_duplicates) {
        // An id of its own for each group: who repeats it with another target gets the first one's answer all the same.
        let mut chance = chance.fork("group", 0);
        asked.dedup = chance
            .one_in(2)
            .then(|| format!("{group}-{}", chance.below(2)));
    }
    let mut headers = vec![
        ("upstash-retries", asked.retries.to_string()),
        ("upstash-retry-delay", chance.between(1, 4_000).to_string()),
    ];
    if asked.queue.is_none() && !is_crowded && chance.one_in(4) {
        headers.push(("upstash-delay", format!("{}s", chance.between(1, 90))));
    }
    if let Some(dedup) = &asked.dedup {
        headers.push(("upstash-deduplication-id", dedup.clone()));
    }
    if asked.has_callback {
        headers.push(("upstash-callback", "http://told.example/each".to_owned()));
    }
    if asked.has_failure_callback {
        headers.push((
            "upstash-failure-callback",
            "http://told.example/failed".to_owned(),
        ));
    }
    headers.extend(asked.more_headers());
    let queue = asked.queue.clone();
    let token = life.world.push.lock().ask(asked);
    let padding = usize::try_from(*chance.pick(&[0, 0, 100, 1_500])).unwrap();
    Wanted {
        token,
        url: match group {
            Some(group) => group.to_owned(),
            None => format!("http://h{}.example/x", chance.below(3)),
        },
        headers,
        queue,
        group,
        body: format!("{token}:{}", "x".repeat(padding)),
    }
}

async fn one(life: &Life, chance: &mut Chance) {
    let wanted = wanted(life, chance);
    let target = match &wanted.queue {
        Some(queue) => format!("/v2/enqueue/{queue}/{}", wanted.url),
        None => format!("/v2/publish/{}", wanted.url),
    };
    begin(life, &wanted);
    let sent_ms = life.clock.now().0;
    let answer = life
        .net
        .http(Method::POST, &target, &wanted.headers, wanted.body.clone())
        .await;
    if wanted.group.is_some()
        && let Some((404, _)) = answer
    {
        let held = life.world.push.lock().groups.unknown(wanted.token);
        life.world.check(held);
    }
    take(
        life,
        &wanted,
        sent_ms,
        answer.as_ref().map(|(_, value)| value),
    );
}

/// What is published to a group goes to the endpoints that it has from now on.
fn begin(life: &Life, wanted: &Wanted) {
    if let Some(group) = wanted.group {
        life.world.push.lock().groups.publish(wanted.token, group);
    }
}

fn take(life: &Life, wanted: &Wanted, sent_ms: i64, answer: Option<&Value>) {
    life.world
        .note(&format!("{} is published: {answer:?}", wanted.token));
    if wanted.group.is_some() {
        take_fanout(life, wanted, sent_ms, answer);
        return;
    }
    let id = answer.and_then(|answer| answer["messageId"].as_str());
    if let Some(id) = id {
        let times = (sent_ms, life.clock.now().0);
        let held = life.world.push.lock().accepted(wanted.token, id, times);
        life.world.check(held);
    }
}

fn take_fanout(life: &Life, wanted: &Wanted, sent_ms: i64, answer: Option<&Value>) {
    let Some(all) = answer.and_then(Value::as_array) else {
        return;
    };
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let messages: Vec<_> = all
        .iter()
        .map(|one| (text(one, "messageId"), text(one, "url")))
        .collect();
    let is_repeated = all.iter().any(|one| one["deduplicated"] == true);
    let times = (sent_ms, life.clock.now().0);
    let held = life
        .world
        .push
        .lock()
        .fanned_out(wanted.token, &messages, is_repeated, times);
    life.world.check(held);
}

async fn batch(life: &Life, chance: &mut Chance) {
    let all: Vec<_> = (0..chance.between(1, 4))
        .map(|_| wanted(life, chance))
        .collect();
    let items: Vec<_> = all
        .iter()
        .map(|wanted| {
            begin(life, wanted);
            let headers: serde_json::Map<_, _> = wanted
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            json!({
                "destination": wanted.url,
                "headers": headers,
                "body": wanted.body,
                "queue": wanted.queue,
            })
        })
        .collect();
    let sent_ms = life.clock.now().0;
    let headers = [("content-type", "application/json".to_owned())];
    let body = Value::Array(items).to_string();
    let answer = life
        .net
        .http(Method::POST, "/v2/batch", &headers, body)
        .await;
    let answers = answer.as_ref().map(|(_, value)| value);
    for (at, wanted) in all.iter().enumerate() {
        take(
            life,
            wanted,
            sent_ms,
            answers.and_then(|value| value.get(at)),
        );
    }
}

async fn cancel(life: &Life, chance: &mut Chance) {
    let ids = life.world.push.lock().accepted_ids();
    if ids.is_empty() {
        return;
    }
    let id = chance.pick(&ids).clone();
    life.world.push.lock().cancel_tried(&id);
    let target = format!("/v2/messages/{id}");
    let answer = life
        .net
        .http(Method::DELETE, &target, &[], String::new())
        .await;
    life.world.note(&format!("{id} is cancelled: {answer:?}"));
    if let Some((200, _)) = answer {
        let held = life.world.push.lock().cancelled(&id);
        life.world.check(held);
    }
}

/// Lists all dead letters; `None` when some page did not come.
pub(crate) async fn list(life: &Life) -> Option<BTreeSet<String>> {
    let mut live = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let target = format!("/v2/dlq?count=5{cursor}");
        let (status, page) = life
            .net
            .http(Method::GET, &target, &[], String::new())
            .await?;
        if status != 200 {
            return None;
        }
        for letter in page["messages"].as_array()? {
            let (dlq, id) = (letter["dlqId"].as_str()?, letter["messageId"].as_str()?);
            live.insert(dlq.to_owned());
            life.world.note(&format!("{id} has died: {dlq}"));
            let held = {
                let mut push = life.world.push.lock();
                // Somebody may have resolved it since the page was made.
                let tried = push.letters.get(dlq);
                match tried {
                    Some(letter) if letter.is_retry_tried || letter.is_delete_tried => Ok(()),
                    _ => push.died(dlq, id),
                }
            };
            life.world.check(held);
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(live),
        }
    }
}

async fn resolve(life: &Life, chance: &mut Chance) {
    let ids: Vec<_> = life.world.push.lock().letters.keys().cloned().collect();
    if ids.is_empty() {
        return;
    }
    let id = chance.pick(&ids).clone();
    if chance.one_in(4) {
        delete(life, &id).await;
    } else {
        tokio::join!(retry(life, &id), retry(life, &id));
    }
}

/// Publishes a dead letter anew.
pub(crate) async fn retry(life: &Life, letter: &str) {
    if let Some(letter) = life.world.push.lock().letters.get_mut(letter) {
        letter.is_retry_tried = true;
    }
    let target = format!("/v2/dlq/retry/{letter}");
    let answer = life
        .net
        .http(Method::POST, &target, &[], String::new())
        .await;
    life.world.note(&format!("{letter} is retried: {answer:?}"));
    let held = match &answer {
        Some((201, value)) => {
            let id = value["messageId"].as_str().unwrap_or_default();
            life.world.push.lock().republished(letter, id)
        }
        Some((404, _)) => {
            let push = life.world.push.lock();
            let is_deleted = push
                .letters
                .get(letter)
                .is_some_and(|one| one.is_delete_tried);
            is_deleted
                .then_some(())
                .ok_or_else(|| format!("letter {letter} cannot be retried: {answer:?}"))
        }
        _ => Ok(()),
    };
    life.world.check(held);
}

async fn delete(life: &Life, letter: &str) {
    if let Some(letter) = life.world.push.lock().letters.get_mut(letter) {
        letter.is_delete_tried = true;
    }
    let target = format!("/v2/dlq/{letter}");
    let answer = life
        .net
        .http(Method::DELETE, &target, &[], String::new())
        .await;
    life.world.note(&format!("{letter} is deleted: {answer:?}"));
    let held = match &answer {
        Some((200, _)) => life.world.push.lock().deleted(letter),
        Some((404, _)) => life.world.push.lock().letter_is_gone(letter),
        _ => Ok(()),
    };
    life.world.check(held);
}
