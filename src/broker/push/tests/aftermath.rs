//! Callbacks beside syncs that are slow to be taken note of, and beside a dead-letter log that takes nothing.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use storage::dead_letter::{Attempt, AttemptResult, Disposition};
use storage::delivery::{Callback, Entry, Envelope, Intent, Outcome, Owes, Verdict};
use storage::disk::Disk;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::SimDisk;
use storage::log::Log;
use storage::log_id::LogKind;
use storage::offset::Offset;

use super::{NOW, to};
use crate::broker::push::aftermath::Aftermath;
use crate::broker::push::desk::Desk;
use crate::broker::tests::config_of;
use crate::broker::{Broker, Host};
use crate::clock::ManualClock;
use crate::delivery::api::{Publication, Target};
use crate::engine::{Awaited, Job, WorkPool, Workers};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// Does every job at once, until it is told to let them lie.
#[derive(Default)]
struct AtOnce {
    is_holding: Mutex<bool>,
    held: Mutex<Vec<Job>>,
}

impl std::fmt::Debug for AtOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtOnce")
    }
}

impl Workers for AtOnce {
    fn submit(&self, job: Job) {
        if *self.is_holding.lock() {
            self.held.lock().push(job);
        } else {
            job();
        }
    }

    fn begin(&self, job: Job) {
        job();
    }

    fn wait(&self, _awaited: Option<Awaited>, _time: Duration) {
        unreachable!("nobody is in the way");
    }

    fn opening_count(&self) -> usize {
        1
    }
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    disk
}

fn open(workers: &Arc<AtOnce>, disk: Arc<dyn Disk>) -> Arc<Broker> {
    let config = config_of(&[]);
    let host = Host {
        disk,
        clock: Arc::new(ManualClock::new(NOW)),
        pool: WorkPool::new(Arc::clone(workers) as Arc<dyn Workers>),
    };
    Broker::open_on(&config, host, Arc::new(Metrics::new()), Shutdown::new()).unwrap()
}

/// Writes down what became of a message that had been the next one, and that a callback is owed for it if it has one.
fn end(desk: &Desk, message: Offset, verdict: Verdict) {
    let (intent, outcome) = ends(message, verdict);
    let mut owner = desk.partition.owner().lock();
    assert_eq!(owner.take_due(NOW, 1), [message]);
    owner.append_entries(&[intent], NOW).unwrap();
    owner.append_entries(&[outcome], NOW).unwrap();
}

fn ends(message: Offset, verdict: Verdict) -> (Entry, Entry) {
    let attempt = Attempt {
        number: 1,
        time: NOW,
        duration_ms: 1,
        result: AttemptResult::Status(200),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        is_body_cut: false,
        are_headers_cut: false,
    };
    let intent = Entry::Intent(Intent {
        message,
        attempt: 1,
        time: NOW,
        period: None,
    });
    let outcome = Entry::Outcome(Outcome {
        message,
        verdict,
        owes: Owes {
            callback: true,
            failure_callback: false,
        },
        previous: None,
        attempt,
    });
    (intent, outcome)
}

fn with_callback() -> Publication {
    let callback = Callback {
        url: "http://c/each".to_owned(),
        ..Callback::default()
    };
    Publication {
        envelope: Envelope {
            callback: Some(callback),
            ..to("http://h/a")
        },
        body: bytes::Bytes::from_static(b"body"),
        target: Target::Url,
        created_at: NOW,
    }
}

fn accepted(desk: &Desk) -> u64 {
    let owner = desk.partition.owner().lock();
    owner.delivery().unwrap().counts().accepted
}

/// Returns the desk that has so many messages.
fn desk_with(broker: &Broker, count: u64) -> &Arc<Desk> {
    let mut desks = broker.push().desks.iter();
    desks.find(|desk| accepted(desk) == count).unwrap()
}

#[tokio::test]
async fn a_callback_is_appended_once_although_its_sync_is_taken_note_of_late() {
    let workers = Arc::new(AtOnce::default());
    let broker = open(&workers, Arc::new(disk()));
    let published = broker.publish(vec![with_callback()]).await.pop().unwrap();
    published.unwrap();
    let desk = desk_with(&broker, 1);
    end(desk, Offset::ZERO, Verdict::Delivered);
    desk.partition.schedule_sync(LogKind::Delivery);

    *workers.is_holding.lock() = true;
    let mut aftermath = Aftermath::new(Arc::clone(&broker), Arc::clone(desk));
    {
        let mut told = std::pin::pin!(aftermath.tell());
        let mut context = Context::from_waker(Waker::noop());
        assert!(
            told.as_mut().poll(&mut context).is_pending(),
            "it waits for its sync"
        );
        // Whoever syncs makes it durable, and gets no further for now.
        let task = {
            let mut owner = desk.partition.owner().lock();
            owner.log_mut(LogKind::Main).and_then(Log::begin_sync)
        };
        task.unwrap().run().unwrap();
        desk.partition.notify(LogKind::Main);
        assert!(told.await.unwrap());
    }
    assert!(aftermath.owed().is_empty(), "it is owed no more");
    assert_eq!(accepted(desk), 2);
}

#[tokio::test]
async fn callbacks_do_not_wait_for_a_dead_letter_log_that_takes_nothing() {
    let workers = Arc::new(AtOnce::default());
    let faulty = FaultDisk::new(Arc::new(disk()));
    let broker = open(&workers, Arc::new(faulty.clone()));
    for published in broker.publish(vec![with_callback(), with_callback()]).await {
        published.unwrap();
    }
    let desk = desk_with(&broker, 2);
    let disposition = Disposition::RETRIES_EXHAUSTED;
    end(desk, Offset(0), Verdict::Dead { disposition });
    end(desk, Offset(1), Verdict::Delivered);
    desk.partition.schedule_sync(LogKind::Delivery);

    let full = Effect::Fail(std::io::ErrorKind::StorageFull);
    faulty.add(
        Rule::new(OpClass::Create, full)
            .on("dead-letter/00000000000000000000.log")
            .forever(),
    );
    let mut aftermath = Aftermath::new(Arc::clone(&broker), Arc::clone(desk));
    aftermath.step().await.unwrap_err();
    assert_eq!(accepted(desk), 3, "the callback of what was delivered");
    assert_eq!(faulty.hit_count(), 1);
    faulty.heal();
    assert!(aftermath.step().await.unwrap());
    assert_eq!(accepted(desk), 4, "the other one's, behind its letter");
    let owner = desk.partition.owner().lock();
    assert_eq!(owner.dead_letters().unwrap().live_count(), 1);
}

/// A destination that is down fails what was published together, together.
#[tokio::test]
async fn what_dies_together_is_read_together() {
    const COUNT: usize = 40;
    let workers = Arc::new(AtOnce::default());
    let faulty = FaultDisk::new(Arc::new(disk()));
    let broker = open(&workers, Arc::new(faulty.clone()));
    let published = broker
        .publish((0..COUNT).map(|_| with_callback()).collect())
        .await;
    assert_eq!(published.into_iter().filter_map(Result::ok).count(), COUNT);
    let count = u64::try_from(COUNT).unwrap();
    let desk = desk_with(&broker, count);
    let disposition = Disposition::RETRIES_EXHAUSTED;
    let dead = |at| ends(Offset(at), Verdict::Dead { disposition });
    let (intents, outcomes): (Vec<_>, Vec<_>) = (0..count).map(dead).unzip();
    {
        let mut owner = desk.partition.owner().lock();
        assert_eq!(owner.take_due(NOW, COUNT).len(), COUNT);
        owner.append_entries(&intents, NOW).unwrap();
        owner.append_entries(&outcomes, NOW).unwrap();
    }
    desk.partition.schedule_sync(LogKind::Delivery);

    let reads = faulty.count(OpClass::Read);
    let mut aftermath = Aftermath::new(Arc::clone(&broker), Arc::clone(desk));
    assert!(aftermath.step().await.unwrap());
    assert_eq!(accepted(desk), 2 * count, "each has a callback");
    let owner = desk.partition.owner().lock();
    assert_eq!(owner.dead_letters().unwrap().live_count(), count);
    let reads = faulty.count(OpClass::Read) - reads;
    assert!(reads < 10, "{reads} reads of two batches");
}
