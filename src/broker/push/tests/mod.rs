//! The engine on a simulated disk, with a clock that stands and destinations that the test plays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

mod aftermath;
mod cancel;
mod fates;
mod given_up;
mod hostile;
mod publishing;
mod stopped;
mod told;
mod turns;

use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::dead_letter::AttemptResult;
use storage::delivery::{Callback, Envelope, FlowControl};
use storage::disk::Disk;
use storage::disk::sim::{SimDisk, Survival};
use storage::offset::TimestampMs;
use tokio::sync::{mpsc, oneshot};

use super::desk::Desk;
use crate::broker::tests::config_of;
use crate::broker::{Broker, NewSchedule};
use crate::clock::ManualClock;
use crate::delivery::api::{Publication, Published, Target};
use crate::delivery::client::{Answer, AttemptClient, AttemptRequest};
use crate::delivery::settings::PublishSettings;
use crate::metrics::Metrics;
use crate::names::ScheduleId;
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{Order, Page, Selection};
use crate::shutdown::Shutdown;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// No test waits longer: it is what makes a hang a failure.
const PATIENCE: Duration = Duration::from_secs(20);

const MINUTE: Duration = Duration::from_mins(1);

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
        self.say(status, headers, Bytes::from_static(b"said"));
    }

    fn say(self, status: u16, headers: &[(&str, &str)], body: Bytes) {
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let answer = Answer {
            result: AttemptResult::Status(status),
            headers: headers.collect(),
            body,
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
        disk.write_file(Path::new("/data/.made"), b"").unwrap();
        Self::on(disk, Arc::new(ManualClock::new(NOW)))
    }

    fn on(disk: SimDisk, clock: Arc<ManualClock>) -> Self {
        let seen = Arc::new(disk.clone());
        Self::through(seen, disk, clock)
    }

    /// As [`Machine::on`], with something between the broker and its disk.
    fn through(seen: Arc<dyn Disk>, disk: SimDisk, clock: Arc<ManualClock>) -> Self {
        let config = config_of(&[
            ("storage.sync_threads", "2"),
            ("delivery.partitions", "2"),
            ("delivery.pending_max", "50"),
            ("delivery.destination_in_flight_max", "3"),
        ]);
        let broker = Broker::open(
            &config,
            seen,
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

fn publication(envelope: Envelope, body: Bytes) -> Publication {
    Publication {
        envelope,
        body,
        target: Target::Url,
        created_at: NOW,
    }
}

/// Returns where the log files hold `text` first: a file and a bit of it.
fn place_of(disk: &SimDisk, text: &str) -> (PathBuf, u64) {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|it| it == "log");
    let found = disk.paths().into_iter().filter(is_log).find_map(|path| {
        let bytes = disk.read_file(&path).unwrap();
        let mut windows = bytes.windows(text.len());
        let at = windows.position(|window| window == text.as_bytes())?;
        Some((path, u64::try_from(at).unwrap() * 8))
    });
    found.unwrap_or_else(|| panic!("no log holds {text:?}"))
}

/// Flips a bit where the log files hold `text` first.
fn damage(disk: &SimDisk, text: &str) {
    let (path, bit) = place_of(disk, text);
    disk.flip_bit(&path, bit).unwrap();
}

fn id(published: &Published) -> String {
    published.messages.first().unwrap().id.clone()
}

/// Lets every desk look again, and time pass, until something holds.
async fn eventually(machine: &Machine, what: &str, holds: impl Fn(&Broker) -> bool) {
    for _ in 0..2_000 {
        if holds(&machine.broker) {
            return;
        }
        for desk in &machine.broker.push().desks {
            desk.arrived.notify_one();
            desk.aftermath.notify_one();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}: {:?}", machine.broker.delivery_counts());
}
