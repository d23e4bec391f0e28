//! A few threads for work that blocks on the disk: syncs, rolls and heals.
//!
//! The queue is bounded by what hands work in: each log has at most one sync, one roll and one heal under way.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
}

/// The threads. Dropping the last handle finishes what is queued and ends them.
#[derive(Clone)]
pub struct WorkPool {
    inner: Arc<Threads>,
}

struct Threads {
    queue: Arc<Queue>,
    handles: Vec<JoinHandle<()>>,
}

impl fmt::Debug for WorkPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkPool")
            .field("threads", &self.inner.handles.len())
            .finish()
    }
}

impl WorkPool {
    /// Starts `thread_count` threads (at least one).
    ///
    /// # Errors
    /// The system's error when it starts no more threads.
    pub fn start(thread_count: u32) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let handles = (0..thread_count.max(1))
            .map(|at| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new()
                    .name(format!("sync-{at}"))
                    .spawn(move || work(&queue))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            inner: Arc::new(Threads { queue, handles }),
        })
    }

    /// Hands a job in. It runs once, on any of the threads.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        self.inner.queue.jobs.lock().0.push_back(Box::new(job));
        self.inner.queue.changed.notify_one();
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
