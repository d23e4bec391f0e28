//! Real payloads through the real clients to a destination that fails some of them, while the broker is killed again and again: nothing is lost, doubled
//! or altered, every failure is found, and all of them are delivered in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::behaviour::Reply;
use crate::broker::Broker;
use crate::client::{Client, KEYS, Sdk, js, py};
use crate::messages::id;
use crate::sink::{Delivery, Sink};
use crate::world::{World, bounded};

/// Example payloads of GitHub's webhooks, `{"event", "payload"}` a line, from the npm package `@octokit/webhooks-examples` 7.6.1 (MIT).
const PAYLOADS: &[u8] = include_bytes!("data/github-webhooks.ndjson.zst");
const PAYLOAD_COUNT: usize = 329;

const KILL_COUNT: usize = 20;
/// So many of the kills come while messages are still published.
const KILL_COUNT_PUBLISHING: usize = 12;
const RETRIES: u32 = 2;
const PUBLISHING_MAX: usize = 8;

#[derive(Deserialize)]
struct Payload {
    event: String,
    payload: Box<RawValue>,
}

/// What becomes of a message before the destination is healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    Fails,
    NonRetryable,
    Hangs,
}

impl Fate {
    /// Messages are numbered from one.
    fn of(number: usize) -> Self {
        match number {
            _ if number.is_multiple_of(11) => Self::NonRetryable,
            _ if number.is_multiple_of(13) => Self::Hangs,
            _ if number.is_multiple_of(7) => Self::Fails,
            _ => Self::Delivered,
        }
    }

    fn attempts(self) -> usize {
        match self {
            Self::Delivered | Self::NonRetryable => 1,
            Self::Fails | Self::Hangs => 1 + RETRIES as usize,
        }
    }

    /// Status that the dead letter shows, and the reason for which it stands there.
    fn letter(self) -> (u16, &'static str) {
        match self {
            Self::Delivered => (0, ""),
            Self::NonRetryable => (489, "not_retryable"),
            Self::Hangs => (0, "retries_exhausted"),
            Self::Fails => (500, "retries_exhausted"),
        }
    }
}

/// A generator whose seed is printed, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn new(sdk: Sdk) -> Self {
        let text = std::env::var("REDRIVE_TEST_SEED").ok();
        let seed = text.and_then(|text| text.parse().ok()).unwrap_or(20_261);
        eprintln!("webhooks through {sdk:?}: REDRIVE_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

for_each_sdk!(every_payload_is_delivered_once_whatever_happens);

async fn every_payload_is_delivered_once_whatever_happens(sdk: Sdk) {
    let payloads = payloads();
    let sink = Sink::deciding(|delivery, _| decide(delivery)).await;
    let broker = Broker::start(&[]).await;
    let client = Client::new(sdk, &broker.url());
    let mut world = World {
        client,
        broker,
        sink,
    };
    let mut run = Run {
        kills: Vec::new(),
        random: Random::new(sdk),
    };
    let ids = run
        .publish_while_killing(&mut world, payloads.clone())
        .await;
    run.kill_while_delivering(&mut world).await;
    assert_eq!(
        ids.values().collect::<BTreeSet<_>>().len(),
        PAYLOAD_COUNT,
        "each has an id of its own"
    );
    let expected = (1..=PAYLOAD_COUNT)
        .filter(|number| Fate::of(*number) != Fate::Delivered)
        .count();
    let letters = run.settled(&world, expected).await;
    check_deliveries(&world.sink.all(), &ids, &payloads);
    check_signatures(&world).await;
    check_letters(&world, &letters, &ids, &payloads).await;
    run.check_attempts(&world.sink.all(), &ids);
    retry_all(&world, &payloads, expected).await;
}

/// Answers by the number of the message, which is the last part of the path.
fn decide(delivery: &Delivery) -> Reply {
    match Fate::of(number(delivery)) {
        Fate::Delivered => Reply::status(200),
        Fate::Fails => Reply::status(500),
        Fate::NonRetryable => Reply::non_retryable(),
        Fate::Hangs => Reply::Hang,
    }
}

fn number(delivery: &Delivery) -> usize {
    delivery.target.rsplit('/').next().unwrap().parse().unwrap()
}

fn payloads() -> Arc<Vec<(String, String)>> {
    let text = zstd::decode_all(PAYLOADS).unwrap();
    let lines = std::str::from_utf8(&text).unwrap().lines();
    let payloads: Vec<_> = lines
        .map(|line| {
            let line: Payload = serde_json::from_str(line).unwrap();
            (line.event, line.payload.get().to_owned())
        })
        .collect();
    assert_eq!(payloads.len(), PAYLOAD_COUNT);
    payloads.into()
}

/// One run: what it has done to the broker, and when.
struct Run {
    /// From before each kill until the process had ended.
    kills: Vec<(Instant, Instant)>,
    random: Random,
}

impl Run {
    async fn kill(&mut self, world: &mut World) {
        let before = Instant::now();
        world.broker.kill();
        // What it had sent may still lie in the system's buffers.
        world.sink.drained().await;
        self.kills.push((before, Instant::now()));
        world.broker.restart().await;
    }

    /// Publishes everything, several messages at once, while the broker is killed at random counts of messages begun. Returns the ids by number.
    async fn publish_while_killing(
        &mut self,
        world: &mut World,
        payloads: Arc<Vec<(String, String)>>,
    ) -> BTreeMap<usize, String> {
        let mut thresholds: Vec<usize> = (0..KILL_COUNT_PUBLISHING)
            .map(|_| 1 + self.random.below(PAYLOAD_COUNT as u64 - 1) as usize)
            .collect();
        thresholds.sort_unstable();
        let publisher = Arc::new(Publisher {
            client: world.client.clone(),
            base: world.url("/hooks"),
            payloads,
            ids: Mutex::default(),
            begun: AtomicUsize::new(0),
            has_begun: Notify::new(),
        });
        let publishing = tokio::spawn(publisher.clone().publish_all());
        for threshold in thresholds {
            publisher.until_begun(threshold).await;
            tokio::time::sleep(Duration::from_millis(self.random.below(30))).await;
            self.kill(world).await;
        }
        bounded("all published", publishing).await.unwrap();
        let ids = std::mem::take(&mut *publisher.ids.lock());
        assert_eq!(ids.len(), PAYLOAD_COUNT);
        ids
    }

    /// Kills it at random instants while retries and timeouts are due.
    async fn kill_while_delivering(&mut self, world: &mut World) {
        for _ in KILL_COUNT_PUBLISHING..KILL_COUNT {
            tokio::time::sleep(Duration::from_millis(self.random.below(400))).await;
            self.kill(world).await;
        }
    }

    /// Waits until everything has been delivered or has died, and returns the dead letters.
    async fn settled(&self, world: &World, expected: usize) -> Vec<Value> {
        world
            .eventually(&format!("{expected} dead letters"), async || {
                let letters = list_all(world).await;
                assert!(letters.len() <= expected, "{} dead letters", letters.len());
                (letters.len() == expected).then_some(letters)
            })
            .await
    }

    /// An attempt is repeated only because the broker died before its outcome was safe: between an attempt and its repetition lies a kill.
    fn check_attempts(&self, deliveries: &[Delivery], ids: &BTreeMap<usize, String>) {
        let mut attempts: BTreeMap<(&str, u32), Vec<Instant>> = BTreeMap::new();
        for delivery in deliveries {
            attempts
                .entry((delivery.id(), delivery.retried()))
                .or_default()
                .push(delivery.at);
        }
        for (number, id) in ids {
            let numbers: Vec<u32> = attempts
                .keys()
                .filter(|(of, _)| of == id)
                .map(|(_, retried)| *retried)
                .collect();
            let allowed: Vec<u32> = (0..Fate::of(*number).attempts() as u32).collect();
            assert_eq!(numbers, allowed, "attempts of message {number}");
        }
        let mut repeated_at_kill = vec![0_usize; self.kills.len()];
        for ((id, retried), times) in &attempts {
            // Two repetitions of one attempt need two kills.
            let mut next = 0;
            for pair in times.windows(2) {
                let is_between =
                    |(before, after): &(Instant, Instant)| pair[0] <= *after && pair[1] >= *before;
                let kill = self.kills[next..].iter().position(is_between);
                let kill = next
                    + kill.unwrap_or_else(|| {
                        panic!("attempt {retried} of {id} was repeated without a kill")
                    });
                repeated_at_kill[kill] += 1;
                next = kill + 1;
            }
        }
        let extra: usize = repeated_at_kill.iter().sum();
        let planned: usize = ids.keys().map(|number| Fate::of(*number).attempts()).sum();
        assert_eq!(deliveries.len(), planned + extra);
        eprintln!(
            "{} attempts: {planned} planned, {extra} more over {} kills: {repeated_at_kill:?}",
            deliveries.len(),
            self.kills.len()
        );
    }
}

/// Publishes the payloads, again and again until each is taken.
struct Publisher {
    client: Client,
    base: String,
    payloads: Arc<Vec<(String, String)>>,
    ids: Mutex<BTreeMap<usize, String>>,
    begun: AtomicUsize,
    has_begun: Notify,
}

impl Publisher {
    async fn publish_all(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(PUBLISHING_MAX));
        let mut publishing = tokio::task::JoinSet::new();
        for number in 1..=PAYLOAD_COUNT {
            let slot = slots.clone().acquire_owned().await.unwrap();
            let this = self.clone();
            publishing.spawn(async move {
                this.begun.fetch_add(1, Ordering::SeqCst);
                this.has_begun.notify_waiters();
                let id = this.publish(number).await;
                this.ids.lock().insert(number, id);
                drop(slot);
            });
        }
        publishing.join_all().await;
    }

    /// Publishes one. The client itself tries again when the connection breaks; when it gives up, the same message is published again, and the
    /// deduplication id makes one of all of them.
    async fn publish(&self, number: usize) -> String {
        let (event, body) = &self.payloads[number - 1];
        let message = json!({
            "url": format!("{}/{number}", self.base),
            "body": body,
            "content_type": "application/json",
            "headers": {"X-GitHub-Event": event},
            "label": event,
            "deduplication_id": format!("delivery-{number}"),
            "retries": RETRIES,
            "retry_delay": "100",
            "timeout": "1s",
        });
        loop {
            match self.client.try_publish(message.clone()).await {
                Ok(answer) => return id(&answer),
                Err(error) => {
                    let is_connection = error.status.is_none() || error.status == Some(503);
                    assert!(is_connection, "message {number} was refused: {error:?}");
                }
            }
        }
    }

    async fn until_begun(&self, count: usize) {
        let waiting = async {
            loop {
                let begun = self.has_begun.notified();
                if self.begun.load(Ordering::SeqCst) >= count {
                    return;
                }
                begun.await;
            }
        };
        bounded("messages to be published", waiting).await;
    }
}

/// Lists all dead letters, page by page.
async fn list_all(world: &World) -> Vec<Value> {
    let mut letters = Vec::new();
    let mut options = json!({"count": 50});
    loop {
        let page = world
            .client
            .call(
                py("dlq.list", options.clone()),
                js("dlq.listMessages", json!([options])),
            )
            .await;
        letters.extend(page["messages"].as_array().unwrap().iter().cloned());
        match page.get("cursor").filter(|cursor| !cursor.is_null()) {
            None => return letters,
            Some(cursor) => options["cursor"] = cursor.clone(),
        }
    }
}

/// Every message came, under the id that its publisher knows and no other, with the bytes that were published.
fn check_deliveries(
    deliveries: &[Delivery],
    ids: &BTreeMap<usize, String>,
    payloads: &[(String, String)],
) {
    let mut came: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for delivery in deliveries {
        let number = number(delivery);
        let (event, body) = &payloads[number - 1];
        assert!(
            delivery.body == body.as_bytes(),
            "the body of message {number} was altered"
        );
        assert_eq!(
            (delivery.header("x-github-event"), delivery.method.as_str()),
            (event.as_str(), "POST")
        );
        came.entry(number).or_default().insert(delivery.id());
    }
    assert_eq!(came.len(), PAYLOAD_COUNT, "all came");
    for (number, its_ids) in came {
        assert_eq!(
            its_ids,
            [ids[&number].as_str()].into(),
            "message {number} was doubled"
        );
    }
}

async fn check_signatures(world: &World) {
    for delivery in world.sink.all() {
        let signed = delivery.signed(&world.url(&delivery.target));
        let verified = world.client.verify(KEYS, &signed).await;
        assert!(
            verified.is_ok(),
            "{verified:?} of message {}",
            number(&delivery)
        );
    }
}

async fn check_letters(
    world: &World,
    letters: &[Value],
    ids: &BTreeMap<usize, String>,
    payloads: &[(String, String)],
) {
    let dispositions = dispositions(world).await;
    let mut found = BTreeSet::new();
    for letter in letters {
        let number: usize = letter["url"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let (status, disposition) = Fate::of(number).letter();
        assert_eq!(letter["messageId"], ids[&number]);
        assert_eq!(letter["responseStatus"], status, "{number}");
        assert_eq!(
            (&letter["body"], &letter["label"]),
            (
                &json!(payloads[number - 1].1),
                &json!(payloads[number - 1].0)
            )
        );
        assert_eq!(
            dispositions
                .get(letter["dlqId"].as_str().unwrap())
                .map(String::as_str),
            Some(disposition),
            "{number}"
        );
        found.insert(number);
    }
    let expected: BTreeSet<usize> = (1..=PAYLOAD_COUNT)
        .filter(|number| Fate::of(*number) != Fate::Delivered)
        .collect();
    assert_eq!(found, expected);
    assert_eq!(dispositions.len(), expected.len());
}

/// Why each letter died, by its id: the administrator sees the same letters, with this field.
async fn dispositions(world: &World) -> BTreeMap<String, String> {
    let mut dispositions = BTreeMap::new();
    let mut path = "/admin/v1/topics/_push/dead-letters".to_owned();
    loop {
        let (status, page) = world.broker.request("GET", &path, &[]).await;
        assert_eq!(status, 200, "{page}");
        for letter in page["letters"].as_array().unwrap() {
            let text = |name: &str| letter[name].as_str().unwrap().to_owned();
            dispositions.insert(text("id"), text("disposition"));
        }
        match page["cursor"].as_str() {
            None => return dispositions,
            Some(cursor) => path = format!("/admin/v1/topics/_push/dead-letters?cursor={cursor}"),
        }
    }
}

/// The destination works again, and what failed is retried: by filter, one kind of failure after the other.
async fn retry_all(world: &World, payloads: &[(String, String)], expected: usize) {
    let before = world.sink.all().len();
    world.sink.heal();
    let mut retried = 0;
    for status in [500, 489, 0] {
        retried += retry_by_status(world, status).await;
    }
    assert_eq!(retried, expected);
    let came = world
        .sink
        .until("all retried", |all| {
            (all.len() >= before + expected).then(|| all[before..].to_vec())
        })
        .await;
    let behind = json!({"url": world.url("/hooks/0"), "body": "behind"});
    world.client.publish(behind).await;
    world.sink.delivery("/hooks/0").await;
    assert_eq!(world.sink.all().len(), before + expected + 1);
    let mut numbers = BTreeSet::new();
    for delivery in &came {
        assert!(delivery.body == payloads[number(delivery) - 1].1.as_bytes());
        assert!(
            numbers.insert(number(delivery)),
            "message {} was retried twice",
            number(delivery)
        );
    }
    assert_eq!(numbers.len(), expected);
    assert!(list_all(world).await.is_empty());
}

/// Retries all letters with a status, page by page; the Python client has no such method, and its users ask over HTTP.
async fn retry_by_status(world: &World, status: u16) -> usize {
    let mut retried = 0;
    let mut cursor: Option<String> = None;
    loop {
        let answer = if world.client.sdk.is_python() {
            let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("/v2/dlq/retry?responseStatus={status}&count=20{cursor}");
            let (code, answer) = world.broker.request("POST", &path, &[]).await;
            assert_eq!(code, 201, "{answer}");
            answer
        } else {
            let mut request = json!({"filter": {"responseStatus": status}, "count": 20});
            if let Some(cursor) = cursor {
                request["cursor"] = cursor.into();
            }
            world
                .client
                .call(py("none", json!({})), js("dlq.retry", json!([request])))
                .await
        };
        retried += answer["responses"].as_array().unwrap().len();
        cursor = answer["cursor"]
            .as_str()
            .filter(|cursor| !cursor.is_empty())
            .map(str::to_owned);
        if cursor.is_none() {
            return retried;
        }
    }
}
