//! The engine on a simulated disk, with a clock that stands and destinations that the test plays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::dead_letter::AttemptResult;
use storage::delivery::{Callback, Envelope, FlowControl};
use storage::disk::sim::{SimDisk, Survival};
use storage::offset::TimestampMs;
use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use crate::broker::{Broker, NewSchedule};
use crate::clock::ManualClock;
use crate::config::{FlagValue, ServeConfig, Settings};
use crate::delivery::api::{LogFilter, MessageState, Publication, Published, Target};
use crate::delivery::client::{Answer, AttemptClient, AttemptRequest};
use crate::delivery::settings::PublishSettings;
use crate::metrics::Metrics;
use crate::names::{QueueName, ScheduleId};
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{Order, Page, Selection};
use crate::shutdown::Shutdown;

mod aftermath;
mod hostile;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// No test waits longer: it is what makes a hang a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// An attempt that waits for the test's answer.
struct Arrived {
    request: AttemptRequest,
    answer: oneshot::Sender<Answer>,
}

impl Arrived {
    fn url(&self) -> &str {
        self.request.url.as_str()
    }

    fn header(&self, name: &str) -> &str {
        let value = self.request.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn answer(self, status: u16, headers: &[(&str, &str)]) {
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let answer = Answer {
            result: AttemptResult::Status(status),
            headers: headers.collect(),
            body: Bytes::from_static(b"said"),
            is_body_cut: false,
            duration: Duration::from_millis(3),
        };
        assert!(self.answer.send(answer).is_ok());
    }
}

/// A network whose every destination is the test.
#[derive(Debug)]
struct Played {
    arrived: mpsc::Sender<Arrived>,
}

impl std::fmt::Debug for Arrived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arrived")
    }
}

impl AttemptClient for Played {
    fn attempt(
        &self,
        request: AttemptRequest,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            assert_ne!(request.url.as_str(), "http://panic/", "played");
            let (answer, answered) = oneshot::channel();
            // A test that has ended wants no more attempts.
            self.arrived.send(Arrived { request, answer }).await.ok();
            match answered.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

struct Machine {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    broker: Arc<Broker>,
    arrived: mpsc::Receiver<Arrived>,
    early: Mutex<VecDeque<Arrived>>,
    running: tokio::task::JoinHandle<()>,
}

impl Machine {
    fn new() -> Self {
        let disk = SimDisk::new(7);
        disk.write_file(Path::new("/data/made"), b"").unwrap();
        Self::on(disk, Arc::new(ManualClock::new(NOW)))
    }

    fn on(disk: SimDisk, clock: Arc<ManualClock>) -> Self {
        let flags = [
            ("data_dir", "/data"),
            ("storage.min_free_bytes", "0"),
            ("storage.sync_threads", "2"),
            ("delivery.partitions", "2"),
            ("delivery.pending_max", "50"),
            ("delivery.destination_in_flight_max", "3"),
        ];
        let flags: Vec<_> = flags
            .into_iter()
            .map(|(key, value)| FlagValue {
                flag: format!("--{key}"),
                key: key.to_owned(),
                value: value.to_owned(),
            })
            .collect();
        let settings = Settings::resolve(None, [], &flags).unwrap();
        let config = ServeConfig::from_settings(&settings).unwrap();
        let broker = Broker::open(
            &config,
            Arc::new(disk.clone()),
            clock.clone(),
            Arc::new(Metrics::new()),
            Shutdown::new(),
        )
        .unwrap();
        let (sender, arrived) = mpsc::channel(64);
        let client = Arc::new(Played { arrived: sender });
        let running = tokio::spawn(Arc::clone(&broker).deliver(client));
        Self {
            disk,
            clock,
            broker,
            arrived,
            early: Mutex::default(),
            running,
        }
    }

    /// Cuts the power and opens what a disk must have kept.
    async fn restart(self) -> Self {
        self.running.abort();
        self.running.await.ok();
        let disk = self.disk.reboot(Survival::Nothing);
        drop(self.broker);
        Self::on(disk, self.clock)
    }

    async fn publish(&self, envelope: Envelope) -> Published {
        self.try_publish(envelope).await.unwrap()
    }

    async fn try_publish(
        &self,
        envelope: Envelope,
    ) -> Result<Published, crate::protocol::error_code::Refusal> {
        let publication = Publication {
            envelope,
            body: Bytes::from_static(b"body"),
            target: Target::Url,
            created_at: self.broker.now(),
        };
        self.broker.publish(vec![publication]).await.pop().unwrap()
    }

    /// Returns the next attempt.
    async fn attempt(&mut self) -> Arrived {
        if let Some(early) = self.early.get_mut().pop_front() {
            return early;
        }
        let arrived = tokio::time::timeout(PATIENCE, self.arrived.recv()).await;
        arrived.expect("an attempt is made in time").unwrap()
    }

    /// Returns the next attempt to this URL.
    async fn attempt_to(&mut self, url: &str) -> Arrived {
        let mut others = VecDeque::new();
        loop {
            let arrived = self.attempt().await;
            if arrived.url() == url {
                self.early.get_mut().extend(others);
                return arrived;
            }
            others.push_back(arrived);
        }
    }

    /// Lets time pass; the engine looks at once when something new comes.
    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        for desk in &self.broker.push().desks {
            desk.arrived.notify_one();
        }
        self.broker.push().ticks.notify_one();
    }

    /// Waits until something holds, which some task brings about, and everything that was written down is durable.
    async fn until(&self, what: &str, holds: impl Fn(&Broker) -> bool) {
        let is_durable = |desk: &Arc<Desk>| {
            let log = desk.partition.delivery_reader();
            log.is_none_or(|log| log.durable_end() == log.log_end())
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.broker) || !self.broker.push().desks.iter().all(is_durable) {
                tokio::task::yield_now().await;
            }
        });
        let counts = self.broker.delivery_counts();
        waited
            .await
            .unwrap_or_else(|_| panic!("{what}: {counts:?}"));
        self.check();
    }

    fn check(&self) {
        let c = self.broker.delivery_counts();
        let sum = c.pending + c.in_flight + c.delivered + c.cancelled + c.dead_lettered;
        assert_eq!(c.accepted, sum, "{c:?}");
    }

    /// A retry with settings that no record holds is refused, and the letter stays.
    async fn refuse_too_large(&self, request: &RetryLettersRequest) {
        let large = PublishSettings {
            headers: vec![("x".to_owned(), Bytes::from(vec![b'x'; 70_000]))],
            ..PublishSettings::default()
        };
        let refused = self
            .broker
            .retry_messages(request.clone(), large, "test".to_owned());
        let answer = refused.await.unwrap();
        let refusal = answer.letters.first().unwrap().1.as_ref().unwrap_err();
        assert!(refusal.message.contains("bytes"), "{}", refusal.message);
    }

    fn letters(&self) -> Vec<crate::delivery::api::DeadMessage> {
        let all = Selection::All;
        let page = Page::first(Order::OldestFirst, 100);
        self.broker.dead_messages(&all, &page).unwrap().0
    }
}

fn to(url: &str) -> Envelope {
    Envelope {
        url: url.to_owned(),
        method: "POST".to_owned(),
        retries: 1,
        retry_delay: Some("1000".to_owned()),
        ..Envelope::default()
    }
}

fn id(published: &Published) -> String {
    published.messages.first().unwrap().id.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_delivered_once_with_its_headers() {
    let mut machine = Machine::new();
    let published = machine.publish(to("http://h/a")).await;
    let attempt = machine.attempt().await;
    assert_eq!(attempt.header("upstash-message-id"), id(&published));
    assert_eq!(attempt.header("upstash-retried"), "0");
    assert_eq!(attempt.request.body, "body");
    assert!(!attempt.header("upstash-signature").is_empty());
    attempt.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    assert_eq!(machine.broker.message(&id(&published)).unwrap(), None);
    let mut machine = machine.restart().await;
    assert_eq!(machine.broker.delivery_counts().delivered, 1);
    machine.publish(to("http://h/b")).await;
    assert_eq!(machine.attempt().await.url(), "http://h/b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_flight_is_sent_again_under_its_number_after_a_power_cut() {
    let mut machine = Machine::new();
    let published = machine.publish(to("http://h/a")).await;
    let _unanswered = machine.attempt().await;
    let mut machine = machine.restart().await;
    let again = machine.attempt().await;
    assert_eq!(again.header("upstash-message-id"), id(&published));
    assert_eq!(again.header("upstash-retried"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_keeps_failing_dies_and_comes_back_with_other_settings() {
    let mut machine = Machine::new();
    let callback = |url: &str| {
        Some(Callback {
            url: url.to_owned(),
            ..Callback::default()
        })
    };
    let envelope = Envelope {
        callback: callback("http://c/each"),
        failure_callback: callback("http://c/failed"),
        ..to("http://h/a")
    };
    let published = machine.publish(envelope).await;
    machine.attempt_to("http://h/a").await.answer(500, &[]);
    let told = machine.attempt_to("http://c/each").await;
    let body: serde_json::Value = serde_json::from_slice(&told.request.body).unwrap();
    assert_eq!(body["status"], 500);
    assert_eq!(body["sourceMessageId"], id(&published));
    assert!(body.get("dlqId").is_none());
    told.answer(200, &[]);
    machine.advance(Duration::from_secs(1));
    let second = machine.attempt_to("http://h/a").await;
    assert_eq!(second.header("upstash-retried"), "1");
    second.answer(503, &[]);
    let failed = machine.attempt_to("http://c/failed").await;
    let body: serde_json::Value = serde_json::from_slice(&failed.request.body).unwrap();
    let letters = machine.letters();
    let letter = letters.first().unwrap();
    assert_eq!(body["dlqId"], letter.id);
    assert_eq!(letter.letter.history.attempts().len(), 2);
    assert_eq!(letter.letter.history.last_status(), Some(503));
    failed.answer(200, &[]);
    machine.attempt_to("http://c/each").await.answer(200, &[]);
    machine
        .until("all told", |broker| broker.delivery_counts().delivered == 3)
        .await;

    let mut machine = machine.restart().await;
    let request = RetryLettersRequest {
        topic: String::new(),
        selection: Selection::Ids(vec![letter.id.clone()]),
        page: Page::first(Order::OldestFirst, 1),
        request_id: None,
    };
    machine.refuse_too_large(&request).await;
    let overrides = PublishSettings {
        method: Some("PUT".to_owned()),
        ..PublishSettings::default()
    };
    let answer = machine
        .broker
        .retry_messages(request, overrides, "test".to_owned())
        .await
        .unwrap();
    let republished = answer.letters.first().unwrap().1.as_ref().unwrap();
    let again = machine.attempt_to("http://h/a").await;
    assert_eq!(again.header("upstash-message-id"), republished.message_id);
    assert_eq!(again.request.method, "PUT");
    again.answer(204, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 4
        })
        .await;
    assert!(machine.letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_end_it_or_say_when() {
    let mut machine = Machine::new();
    machine.publish(to("http://h/never")).await;
    let never = [("upstash-nonretryable-error", "true")];
    machine.attempt().await.answer(489, &never);
    machine
        .until("dead", |broker| broker.delivery_counts().dead_lettered == 1)
        .await;
    let published = machine.publish(to("http://h/later")).await;
    machine
        .attempt()
        .await
        .answer(429, &[("retry-after", "60")]);
    machine
        .until("retry", |broker| {
            let message = broker.message(&id(&published)).unwrap().unwrap();
            message.state == MessageState::Retry
        })
        .await;
    let message = machine.broker.message(&id(&published)).unwrap().unwrap();
    let wait = message.next_attempt_at.unwrap().since(NOW);
    assert!((60_000..=66_000).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_goes_in_order_also_after_a_power_cut() {
    let mut machine = Machine::new();
    let queued = |n: u32| Envelope {
        queue: Some("q".to_owned()),
        ..to(&format!("http://h/{n}"))
    };
    for n in 0..4 {
        machine.publish(queued(n)).await;
    }
    assert_eq!(machine.broker.queue_lag("q"), 4);
    let first = machine.attempt().await;
    assert_eq!(first.url(), "http://h/0");
    first.answer(500, &[]);
    machine
        .until("the retry is set", |broker| {
            broker.delivery_counts().in_flight == 0
        })
        .await;
    assert!(machine.arrived.try_recv().is_err(), "the next one waits");
    let mut machine = machine.restart().await;
    machine.advance(Duration::from_secs(1));
    for n in 0..4 {
        let attempt = machine.attempt().await;
        assert_eq!(attempt.url(), format!("http://h/{n}"));
        attempt.answer(200, &[]);
    }
    machine
        .until("empty", |broker| broker.queue_lag("q") == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_waits() {
    let mut machine = Machine::new();
    let queue = QueueName::parse("q").unwrap();
    machine
        .broker
        .upsert_queue(&queue, Some(2), Some(true))
        .unwrap();
    machine
        .until("the queue is known", |broker| {
            broker.push_settings().state.queue("q").is_some()
        })
        .await;
    let envelope = |n: u32| Envelope {
        queue: Some("q".to_owned()),
        ..to(&format!("http://h/{n}"))
    };
    for n in 0..3 {
        machine.publish(envelope(n)).await;
    }
    machine.publish(to("http://h/other")).await;
    machine.attempt_to("http://h/other").await.answer(200, &[]);
    machine.broker.pause_queue(&queue, false).unwrap();
    let one = machine.attempt().await;
    let two = machine.attempt().await;
    let urls = [one.url().to_owned(), two.url().to_owned()];
    assert!(urls.contains(&"http://h/0".to_owned()) && urls.contains(&"http://h/1".to_owned()));
    one.answer(200, &[]);
    assert_eq!(machine.attempt().await.url(), "http://h/2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_message_is_not_sent() {
    let machine = Machine::new();
    let later = Envelope {
        not_before: Some(NOW.saturating_add(60_000)),
        ..to("http://h/later")
    };
    let published = machine.publish(later).await;
    assert_eq!(machine.broker.cancel(&[id(&published)]).await.unwrap(), 1);
    assert_eq!(machine.broker.cancel(&[id(&published)]).await.unwrap(), 0);
    let mut machine = machine.restart().await;
    machine.advance(Duration::from_secs(61));
    machine.publish(to("http://h/now")).await;
    assert_eq!(machine.attempt().await.url(), "http://h/now");
    assert_eq!(machine.broker.delivery_counts().cancelled, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_gets_the_first_ones_answer_for_ten_minutes_also_after_a_power_cut() {
    let mut machine = Machine::new();
    let keyed = || Envelope {
        dedup: Some([9; 16]),
        ..to("http://h/a")
    };
    let first = machine.publish(keyed()).await;
    let (second, third) = tokio::join!(machine.publish(keyed()), machine.publish(keyed()));
    assert!(second.is_duplicate && third.is_duplicate && !first.is_duplicate);
    assert_eq!((id(&second), id(&third)), (id(&first), id(&first)));
    machine.attempt().await.answer(200, &[]);
    let machine = machine.restart().await;
    assert_eq!(id(&machine.publish(keyed()).await), id(&first));
    machine.advance(Duration::from_mins(10));
    assert!(!machine.publish(keyed()).await.is_duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_messages_are_refused_and_a_sick_destination_keeps_its_places() {
    let mut machine = Machine::new();
    for _ in 0..10 {
        machine.publish(to("http://sick/")).await;
    }
    machine.publish(to("http://well/")).await;
    let well = machine.attempt_to("http://well/").await;
    assert_eq!(
        machine.early.get_mut().len(),
        3,
        "as many as one destination may have"
    );
    well.answer(200, &[]);
    let mut taken = 10;
    let refusal = loop {
        match machine.try_publish(to("http://sick/")).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    // One that has just been synced may be counted twice for a moment.
    assert!((49..=50).contains(&taken), "{taken} were taken");
    assert_eq!(
        refusal.code,
        crate::protocol::error_code::ErrorCode::Overloaded
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_counts_on_over_a_power_cut() {
    let mut machine = Machine::new();
    let limited = || Envelope {
        flow: Some(FlowControl {
            key: "k".to_owned(),
            parallelism: None,
            rate: Some(2),
            period_ms: Some(60_000),
        }),
        ..to("http://h/a")
    };
    for _ in 0..3 {
        machine.publish(limited()).await;
    }
    machine.attempt().await.answer(200, &[]);
    machine.attempt().await.answer(200, &[]);
    machine
        .until("two delivered", |broker| {
            broker.delivery_counts().delivered == 2
        })
        .await;
    let mut machine = machine.restart().await;
    machine
        .until("it waits", |broker| {
            broker
                .flow_view("k")
                .is_some_and(|view| view.waiting_count == 1)
        })
        .await;
    assert_eq!(machine.broker.flow_view("k").unwrap().rate_count, 2);
    machine.advance(Duration::from_mins(1));
    machine.attempt().await.answer(200, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_fires_once_for_each_time_and_once_for_a_downtime() {
    let mut machine = Machine::new();
    let schedule = NewSchedule {
        id: Some(ScheduleId::parse("s").unwrap()),
        cron: "* * * * *".to_owned(),
        destination: "http://h/tick".to_owned(),
        queue: None,
        envelope: Envelope {
            url: String::new(),
            ..to("")
        },
        body: Bytes::from_static(b"tick"),
        caller_ip: None,
    };
    machine.broker.set_schedule(schedule).unwrap();
    machine.advance(Duration::from_mins(1));
    let tick = machine.attempt().await;
    assert_eq!(tick.header("upstash-schedule-id"), "s");
    assert_eq!(tick.request.body, "tick");
    tick.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    machine.clock.advance(Duration::from_mins(10));
    let mut machine = machine.restart().await;
    machine.attempt().await.answer(200, &[]);
    machine
        .until("one catch-up", |broker| {
            broker.delivery_counts().delivered == 2
        })
        .await;
    assert_eq!(machine.broker.delivery_counts().accepted, 2);
    let machine = machine.restart().await;
    machine
        .until("nothing more", |broker| broker.last_firing("s").is_some())
        .await;
    assert_eq!(machine.broker.delivery_counts().accepted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_newest_first_page_by_page() {
    let mut machine = Machine::new();
    let published = machine.publish(to("http://h/a")).await;
    machine.attempt().await.answer(500, &[]);
    machine
        .until("retry", |broker| broker.delivery_counts().in_flight == 0)
        .await;
    machine.advance(Duration::from_secs(1));
    machine.attempt().await.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    machine.publish(to("http://h/other")).await;
    let mut filter = LogFilter::default();
    filter.messages.message_ids = vec![id(&published)];
    let mut states = Vec::new();
    let mut cursor = None;
    loop {
        let (events, next) = machine.broker.logs(&filter, cursor, 2).unwrap();
        assert!(events.len() <= 2);
        for event in events {
            assert_eq!(event.message_id, id(&published));
            assert_eq!(event.envelope.url, "http://h/a");
            states.push(event.state);
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let [active, retry] = [MessageState::Active, MessageState::Retry];
    let delivered = MessageState::Delivered;
    let (error, created) = (MessageState::Error, MessageState::Created);
    assert_eq!(states, [delivered, active, retry, error, active, created]);
}
