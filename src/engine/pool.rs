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
