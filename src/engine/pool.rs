//! Where work is done that blocks on the disk: syncs, rolls and heals on a few threads, operations on the runtime's.
//!
//! What works is a [`Workers`]: [`Threads`] in a broker, and in a simulation one that lets a single thread run at a time and
//! chooses which. The queue of syncs is bounded by what hands work in: each log has at most one sync, one roll and one heal
//! under way.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Work that blocks on the disk.
pub type Job = Box<dyn FnOnce() + Send>;

/// What a job waits for.
pub type Awaited = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Those who do the work.
pub trait Workers: fmt::Debug + Send + Sync {
    /// Takes a short job that waits for nobody: a sync or a roll. It runs once.
    fn submit(&self, job: Job);

    /// Takes a job that may wait for others in [`Workers::wait`]. It runs once; it belongs to the runtime of the caller.
    fn begin(&self, job: Job);

    /// Lets the job that calls this wait until something has come, at most for `time`.
    fn wait(&self, awaited: Option<Awaited>, time: Duration);

    /// Says that a job stands between two of its steps and holds no lock: a simulation lets others go first here.
    fn step(&self) {}

    /// Returns how many partitions may be opened at a time.
    fn opening_count(&self) -> usize;
}

/// A job has failed inside, or the broker has ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job has not come to its end")]
pub struct Unfinished;

/// Those who do the work, for many.
#[derive(Debug, Clone)]
pub struct WorkPool {
    workers: Arc<dyn Workers>,
}

impl WorkPool {
    /// Lets these do the work.
    #[must_use]
    pub fn new(workers: Arc<dyn Workers>) -> Self {
        Self { workers }
    }

    /// Starts `thread_count` threads (at least one).
    ///
    /// # Errors
    /// The system's error when it starts no more threads.
    pub fn start(thread_count: u32) -> std::io::Result<Self> {
        Ok(Self::new(Arc::new(Threads::start(thread_count)?)))
    }

    /// Hands in a sync or a roll. It runs once.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        self.workers.submit(Box::new(job));
    }

    /// Hands in an operation that may wait for others. It runs to its end also when nobody waits for it any more.
    pub fn begin(&self, job: impl FnOnce() + Send + 'static) {
        self.workers.begin(Box::new(job));
    }

    /// As [`WorkPool::begin`], and returns what the operation returns.
    ///
    /// # Errors
    /// [`Unfinished`] when it has panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let (done, result) = oneshot::channel();
        self.begin(move || {
            done.send(job()).ok();
        });
        result.await.or(Err(Unfinished))
    }

    /// Begins an operation whose result the caller wants later. It runs beside the caller, or in [`Begun::end`] when nobody has
    /// had the time for it until then: so that operations which wait for others cannot use up all threads.
    pub fn fork<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> Begun<T> {
        let act: Act<T> = Box::new(act);
        let waiting = Arc::new(Mutex::new(Some(act)));
        let (done, result) = oneshot::channel();
        let taken = Arc::clone(&waiting);
        self.begin(move || {
            let act = taken.lock().take();
            if let Some(act) = act {
                done.send(act()).ok();
            }
        });
        Begun { waiting, result }
    }

    /// Lets the operation that calls this wait until something has come, at most for `time`.
    pub fn wait(&self, awaited: impl Future<Output = ()> + Send + 'static, time: Duration) {
        self.workers.wait(Some(Box::pin(awaited)), time);
    }

    /// Lets the operation that calls this wait for `time`.
    pub fn pause(&self, time: Duration) {
        self.workers.wait(None, time);
    }

    /// Says that the job that calls this stands between two of its steps and holds no lock.
    pub fn step(&self) {
        self.workers.step();
    }

    /// Returns how many partitions may be opened at a time.
    #[must_use]
    pub fn opening_count(&self) -> usize {
        self.workers.opening_count().max(1)
    }
}

/// What an operation does.
type Act<T> = Box<dyn FnOnce() -> T + Send>;

/// An operation that was begun and whose result is wanted. Dropping it does not end it.
pub struct Begun<T> {
    /// Taken by whoever carries it out.
    waiting: Arc<Mutex<Option<Act<T>>>>,
    result: oneshot::Receiver<T>,
}

impl<T> fmt::Debug for Begun<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_waiting = self.waiting.lock().is_some();
        f.debug_struct("Begun")
            .field("is_waiting", &is_waiting)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Begun<T> {
    /// Returns the result, when it is there. Called by another operation.
    ///
    /// # Errors
    /// [`Unfinished`] when the operation has panicked.
    pub fn end(self, pool: &WorkPool) -> Result<T, Unfinished> {
        let act = self.waiting.lock().take();
        if let Some(act) = act {
            return Ok(act());
        }
        let mut result = self.result;
        match result.try_recv() {
            Ok(result) => return Ok(result),
            Err(TryRecvError::Closed) => return Err(Unfinished),
            Err(TryRecvError::Empty) => {}
        }
        let place = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&place);
        let arrival = async move { *filled.lock() = result.await.ok() };
        pool.wait(arrival, Duration::MAX);
        let result = place.lock().take();
        result.ok_or(Unfinished)
    }
}

/// Partitions that are opened at a time: recovery waits for the disk more than it computes.
const OPENING_THREADS: usize = 8;

#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
}

/// Threads of a broker. Dropping them finishes what is queued and ends them.
struct Threads {
    queue: Arc<Queue>,
    handles: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("count", &self.handles.len())
            .finish_non_exhaustive()
    }
}

impl Threads {
    fn start(thread_count: u32) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let handles = (0..thread_count.max(1))
            .map(|at| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new()
                    .name(format!("sync-{at}"))
                    .spawn(move || work(&queue))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { queue, handles })
    }
}

impl Workers for Threads {
    fn submit(&self, job: Job) {
        self.queue.jobs.lock().0.push_back(job);
        self.queue.changed.notify_one();
    }

    fn begin(&self, job: Job) {
        // Whoever wants to know its end has the job tell it.
        drop(tokio::task::spawn_blocking(job));
    }

    fn wait(&self, awaited: Option<Awaited>, time: Duration) {
        match awaited {
            // A timer may be gone before its runtime's jobs are.
            Some(awaited) if time == Duration::MAX => {
                tokio::runtime::Handle::current().block_on(awaited);
            }
            Some(awaited) => {
                let bounded = async { tokio::time::timeout(time, awaited).await.ok() };
                tokio::runtime::Handle::current().block_on(bounded);
            }
            None => std::thread::park_timeout(time),
        }
    }

    fn opening_count(&self) -> usize {
        OPENING_THREADS
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.jobs.lock().1 = true;
        self.queue.changed.notify_all();
        let this = std::thread::current().id();
        for handle in self.handles.drain(..) {
            // The last handle may be dropped by a job, on one of these very threads.
            if handle.thread().id() != this {
                handle.join().ok();
            }
        }
    }
}

fn work(queue: &Queue) {
    loop {
        let job = {
            let mut jobs = queue.jobs.lock();
            loop {
                if let Some(job) = jobs.0.pop_front() {
                    break job;
                }
                if jobs.1 {
                    return;
                }
                queue.changed.wait(&mut jobs);
            }
        };
        job();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

    use super::*;

    /// Workers that begin nothing before they are told to.
    #[derive(Default)]
    struct Held(Mutex<Vec<Job>>);

    impl fmt::Debug for Held {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Held")
        }
    }

    impl Workers for Held {
        fn submit(&self, job: Job) {
            job();
        }

        fn begin(&self, job: Job) {
            self.0.lock().push(job);
        }

        fn wait(&self, awaited: Option<Awaited>, _time: Duration) {
            if let Some(mut awaited) = awaited {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(awaited.as_mut().poll(&mut context).is_ready());
            }
        }

        fn opening_count(&self) -> usize {
            1
        }
    }

    #[test]
    fn what_no_thread_had_time_for_is_done_by_who_wants_it_and_once() {
        let held = Arc::new(Held::default());
        let pool = WorkPool::new(Arc::clone(&held) as Arc<dyn Workers>);
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        let begun = pool.fork(move || {
            *counted.lock() += 1;
            7
        });
        assert_eq!(begun.end(&pool), Ok(7));
        for job in held.0.lock().drain(..) {
            job();
        }
        assert_eq!(*count.lock(), 1);
    }

    #[test]
    fn what_was_done_beside_is_not_done_again() {
        let held = Arc::new(Held::default());
        let pool = WorkPool::new(Arc::clone(&held) as Arc<dyn Workers>);
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        let begun = pool.fork(move || *counted.lock() += 1);
        for job in held.0.lock().drain(..) {
            job();
        }
        assert_eq!(begun.end(&pool), Ok(()));
        assert_eq!(*count.lock(), 1);
    }

    #[tokio::test]
    async fn what_takes_its_time_is_waited_for() {
        let pool = WorkPool::start(1).unwrap();
        let waiting = pool.clone();
        let (go, may_go) = std::sync::mpsc::channel();
        let (report, reported) = std::sync::mpsc::channel();
        let begun = pool.fork(move || {
            report.send(()).unwrap();
            may_go.recv().unwrap();
            7
        });
        let ended = pool.run(move || {
            reported.recv().unwrap();
            go.send(()).unwrap();
            begun.end(&waiting)
        });
        assert_eq!(ended.await, Ok(Ok(7)));
    }

    #[test]
    fn what_panicked_before_it_was_wanted_has_no_end() {
        let held = Arc::new(Held::default());
        let pool = WorkPool::new(Arc::clone(&held) as Arc<dyn Workers>);
        let begun: Begun<()> = pool.fork(|| panic!("as it was told to"));
        for job in held.0.lock().drain(..) {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_err();
        }
        assert_eq!(begun.end(&pool), Err(Unfinished));
    }

    #[tokio::test]
    async fn what_panicked_has_no_end() {
        let pool = WorkPool::start(1).unwrap();
        let waiting = pool.clone();
        let (report, reported) = std::sync::mpsc::channel::<()>();
        let begun: Begun<()> = pool.fork(move || {
            drop(report);
            panic!("as it was told to");
        });
        let ended = pool.run(move || {
            reported.recv().unwrap_err();
            begun.end(&waiting)
        });
        assert_eq!(ended.await, Ok(Err(Unfinished)));
    }
}
