//! Messages: published over HTTP, delivered to a destination in this process, dead-lettered, retried.

use hyper::Method;
use serde_json::Value;

use super::letters::list;
use super::{World, more};
use crate::oracle::DeadMessage;
use crate::random::Random;

/// Publishes messages of which some are refused by their destination, now and then or for good. What was not answered by the
/// broker before is published again, with the same deduplication id: it must stay one message.
pub(super) async fn publish(world: World, mut random: Random) {
    let mut again = world.oracle.lock().push.to_repeat(false);
    let before = world.oracle.lock().push.to_repeat(true);
    if !before.is_empty() {
        let at = usize::try_from(random.below(before.len() as u64)).unwrap();
        again.push(before[at].clone());
    }
    for (body, retries, is_queued) in again {
        let one = (body.as_str(), retries, is_queued);
        if !world.goes_on() || !publish_one(&world, one, &mut random).await {
            return;
        }
    }
    for number in 0..300 {
        let body = format!("m{}-{number}", world.burst);
        let retries = random.below(3);
        let refused = if random.one_in(4) {
            100
        } else {
            random.below(retries + 1)
        };
        let is_queued = random.one_in(3);
        let plan = (retries, refused);
        world.oracle.lock().push.publishing(&body, plan, is_queued);
        let one = (body.as_str(), retries, is_queued);
        if !world.goes_on() || !publish_one(&world, one, &mut random).await {
            return;
        }
        more(&world.done.published);
    }
}

/// Publishes a message. Says whether the broker took it.
async fn publish_one(
    world: &World,
    (body, retries, is_queued): (&str, u64, bool),
    random: &mut Random,
) -> bool {
    let way = if is_queued { "enqueue/q" } else { "publish" };
    let target = format!("/v2/{way}/http://{}/hook", world.sink);
    let retries = retries.to_string();
    let delay = random.below(20).to_string();
    let headers = [
        ("upstash-retries", retries.as_str()),
        ("upstash-retry-delay", delay.as_str()),
        ("upstash-deduplication-id", body),
    ];
    let answer = world.http.send(Method::POST, &target, &headers, body).await;
    // A repeat is answered with 202.
    let Some(message) = message_id(answer, &[200, 202]) else {
        return false;
    };
    world.tell(|oracle| oracle.push.published(body, &message))
}

fn message_id(answer: Option<(u16, String)>, statuses: &[u16]) -> Option<String> {
    let (_, body) = answer.filter(|(found, _)| statuses.contains(found))?;
    let answer: Value = serde_json::from_str(&body).ok()?;
    Some(answer["messageId"].as_str()?.to_owned())
}

/// Retries letters of messages: fresh ones, and now and then one that was retried before.
pub(super) async fn retry(world: World, mut random: Random) {
    let client = world.client.sibling();
    while world.goes_on() {
        let Some(dead) = list_dead(&client).await else {
            return;
        };
        let letters = {
            let mut oracle = world.oracle.lock();
            if oracle.is_dark() {
                return;
            }
            // Not judged here: a page and a retry that are under way at the same time may contradict each other.
            oracle.push.seen(&dead);
            let mut letters = oracle.push.letters(false);
            let before = oracle.push.letters(true);
            if !before.is_empty() {
                let at = usize::try_from(random.below(before.len() as u64)).unwrap();
                letters.push(before[at].clone());
            }
            letters
        };
        for letter in letters {
            if random.one_in(2) && !retry_dead(&world, &letter).await {
                return;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Retries the letter of a message. Says whether the broker answered.
pub(crate) async fn retry_dead(world: &World, letter: &str) -> bool {
    world.oracle.lock().push.retrying(letter);
    let target = format!("/v2/dlq/retry/{letter}");
    let answer = world.http.send(Method::POST, &target, &[], "").await;
    let Some(message) = message_id(answer, &[201]) else {
        return false;
    };
    world.tell(|oracle| oracle.push.retried(letter, &message))
}

/// Lists the live letters of messages; `None` when the broker does not answer.
pub(crate) async fn list_dead(client: &redrive::client::Client) -> Option<Vec<DeadMessage>> {
    let letters = list(client, "_push").await.ok()?;
    let dead = letters.into_iter().map(|letter| DeadMessage {
        letter: letter.id,
        message: letter.message_id.unwrap_or_default(),
        body: String::from_utf8_lossy(&letter.value.unwrap_or_default()).into_owned(),
    });
    Some(dead.collect())
}
