//! Deliveries on threads of their own.
//!
//! Deliveries, publishes and requests of operators on the same threads hand work to each other's threads and wake them for
//! each answer: with few processors that takes a quarter of their time. So half of the processors deliver, each of them a share
//! of the partitions, and an attempt stays on its thread.

use std::future::Future;
use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

/// Threads with a task and a runtime each. Dropping this ends them, wherever their tasks stand.
#[derive(Debug)]
pub(crate) struct Apart {
    ends: Vec<oneshot::Receiver<()>>,
    /// Closed when this is dropped.
    _is_wanted: watch::Sender<()>,
}

impl Apart {
    /// Returns how many threads there are for work that comes in so many shares.
    pub(crate) fn count(shares: usize) -> usize {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        processors.div_euclid(2).clamp(1, shares.max(1))
    }

    /// Starts a thread for each of the tasks.
    ///
    /// # Errors
    /// The system's error when it starts no more threads.
    pub(crate) fn start<F>(name: &str, tasks: impl Iterator<Item = F>) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (is_wanted, _) = watch::channel(());
        let mut ends = Vec::new();
        for (at, task) in tasks.enumerate() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let mut wanted = is_wanted.subscribe();
            let (done, end) = oneshot::channel();
            let run = move || {
                runtime.block_on(async {
                    let run = async {
                        task.await;
                        done.send(()).ok();
                        // What others have begun here goes on until they have ended too.
                        std::future::pending().await
                    };
                    tokio::select! {
                        () = run => {}
                        _ = wanted.changed() => {}
                    }
                });
                // A lookup of a name may hang for longer than anybody waits.
                runtime.shutdown_background();
            };
            thread::Builder::new()
                .name(format!("{name}-{at}"))
                .spawn(run)?;
            ends.push(end);
        }
        Ok(Self {
            ends,
            _is_wanted: is_wanted,
        })
    }

    /// Waits for all tasks to end. Returns how many have failed.
    pub(crate) async fn end(mut self) -> usize {
        let mut failed = 0;
        for end in &mut self.ends {
            failed += usize::from(end.await.is_err());
        }
        failed
    }
}
