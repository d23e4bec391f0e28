//! Those who do what blocks on the disk, one at a time: a job has a thread of its own, and runs only while the simulation's
//! one thread waits for it to end or to wait in its turn. So it may wait in the middle, as a job of the broker may, and yet
//! nothing ever runs beside it: the seed alone decides what comes when.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use redrive::engine::{Awaited, Job, Workers};
use tokio::runtime::Handle;

use crate::chance::Chance;

enum Order {
    Begin(Job, bool),
    GoOn,
}

enum Told {
    Waits(Option<Awaited>, Duration),
    Done,
}

/// A thread that does jobs, seen from the simulation.
struct Helper {
    orders: Sender<Order>,
    told: Receiver<Told>,
}

/// The same thread, seen from itself.
struct Desk {
    orders: Receiver<Order>,
    told: Sender<Told>,
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
    static MAY_PAUSE: Cell<bool> = const { Cell::new(false) };
}

/// The workers of one life of a broker.
#[derive(Clone)]
pub(crate) struct SimWorkers {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    chance: Mutex<Chance>,
    idle: Mutex<Vec<Helper>>,
}

impl std::fmt::Debug for SimWorkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimWorkers")
    }
}

impl SimWorkers {
    pub(crate) fn new(runtime: Handle, chance: Chance) -> Self {
        Self {
            inner: Arc::new(Inner {
                runtime,
                chance: Mutex::new(chance),
                idle: Mutex::default(),
            }),
        }
    }

    /// Starts a job after a while. With `may_pause` it may wait between its steps.
    fn start(&self, job: Job, may_pause: bool, ms_max: u64) {
        let this = self.clone();
        let wait = this.inner.chance.lock().ms(0, ms_max);
        self.inner.runtime.spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            this.drive(job, may_pause).await;
        });
    }

    async fn drive(&self, job: Job, may_pause: bool) {
        let idle = self.inner.idle.lock().pop();
        let helper = idle.unwrap_or_else(|| Helper::start(self.inner.runtime.clone()));
        helper.orders.send(Order::Begin(job, may_pause)).unwrap();
        while let Told::Waits(awaited, time) = helper.told.recv().unwrap() {
            match awaited {
                Some(awaited) => drop(tokio::time::timeout(time, awaited).await),
                None => tokio::time::sleep(time).await,
            }
            helper.orders.send(Order::GoOn).unwrap();
        }
        self.inner.idle.lock().push(helper);
    }

    /// Does a job that holds locks across its syncs, such as the broker's upkeep.
    pub(crate) async fn run_undisturbed<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (done, result) = tokio::sync::oneshot::channel();
        let job = Box::new(move || drop(done.send(job())));
        self.drive(job, false).await;
        result.await.expect("the job does not panic")
    }

    /// Lets the job that calls this wait for a moment, one time in a few; nothing outside of jobs.
    fn pause_perhaps(&self) {
        if MAY_PAUSE.get() {
            let time = {
                let mut chance = self.inner.chance.lock();
                chance.one_in(3).then(|| chance.ms(0, 4))
            };
            if let Some(time) = time {
                wait(None, time);
            }
        }
    }
}

impl Helper {
    fn start(runtime: Handle) -> Self {
        let (orders, receiver) = channel();
        let (sender, told) = channel();
        let desk = Desk {
            orders: receiver,
            told: sender,
        };
        std::thread::spawn(move || {
            let _entered = runtime.enter();
            DESK.set(Some(desk));
            while let Some(Order::Begin(job, may_pause)) = next_order() {
                MAY_PAUSE.set(may_pause);
                // A panic has been seen by the hook, which ends the seed.
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).ok();
                tell(Told::Done);
            }
        });
        Self { orders, told }
    }
}

fn next_order() -> Option<Order> {
    DESK.with_borrow(|desk| desk.as_ref()?.orders.recv().ok())
}

fn tell(what: Told) {
    DESK.with_borrow(|desk| {
        if let Some(desk) = desk {
            desk.told.send(what).ok();
        }
    });
}

/// Gives the word back to the simulation until something has come.
fn wait(awaited: Option<Awaited>, time: Duration) {
    assert!(
        DESK.with_borrow(Option::is_some),
        "only a job waits on its thread"
    );
    tell(Told::Waits(awaited, time));
    if next_order().is_none() {
        // The broker was killed in the middle of the job: it never goes on.
        loop {
            std::thread::park();
        }
    }
}

impl Workers for SimWorkers {
    fn submit(&self, job: Job) {
        self.start(job, true, 3);
    }

    fn begin(&self, job: Job) {
        self.start(job, true, 1);
    }

    fn wait(&self, awaited: Option<Awaited>, time: Duration) {
        wait(awaited, time);
    }

    fn step(&self) {
        self.pause_perhaps();
    }

    fn opening_count(&self) -> usize {
        1
    }
}
