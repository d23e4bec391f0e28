//! Deliveries on threads of their own.
//!
//! Threads that share all tasks hand them to each other and wake each other for each answer: with few processors that takes a
//! quarter of their time. So there is a thread for two processors that delivers a share of the partitions, and whatever it
//! begins stays on it; the runtime's threads have the publishes and the requests of operators. Kept connections go round among them.

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

    /// Starts a thread for each of the tasks. None begins before all threads stand.
    ///
    /// # Errors
    /// The system's error when it starts no more threads.
    pub(crate) async fn start<F>(name: &str, tasks: impl Iterator<Item = F>) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (is_wanted, _) = watch::channel(());
        let mut waiting = Vec::new();
        let mut ends = Vec::new();
        for (at, task) in tasks.enumerate() {
            let (place, end, wanted) = Place::new(is_wanted.subscribe());
            let (stands, standing) = oneshot::channel();
            thread::Builder::new()
                .name(format!("{name}-{at}"))
                .spawn(move || place.work(stands))?;
            standing
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
            waiting.push((wanted, task));
            ends.push(end);
        }
        for (wanted, task) in waiting {
            // A thread that stands takes what it is given.
            wanted.send(task).ok();
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

/// A thread that waits for its task.
struct Place<F> {
    task: oneshot::Receiver<F>,
    done: oneshot::Sender<()>,
    wanted: watch::Receiver<()>,
}

impl<F: Future<Output = ()>> Place<F> {
    fn new(wanted: watch::Receiver<()>) -> (Self, oneshot::Receiver<()>, oneshot::Sender<F>) {
        let (give, task) = oneshot::channel();
        let (done, end) = oneshot::channel();
        (Self { task, done, wanted }, end, give)
    }

    fn work(mut self, stands: oneshot::Sender<io::Result<()>>) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                stands.send(Err(error)).ok();
                return;
            }
        };
        stands.send(Ok(())).ok();
        runtime.block_on(async {
            let run = async {
                if let Ok(task) = self.task.await {
                    task.await;
                    self.done.send(()).ok();
                }
                // What others have begun here goes on until they have ended too.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = run => {}
                _ = self.wanted.changed() => {}
            }
        });
        // A lookup of a name may hang for longer than anybody waits.
        runtime.shutdown_background();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

    use super::*;

    #[tokio::test]
    async fn what_one_has_begun_goes_on_until_all_have_ended() {
        let (go, may_go) = oneshot::channel();
        let (begun, has_begun) = oneshot::channel();
        let (mut may_go, mut begun) = (Some(may_go), Some(begun));
        let tasks = (0..2).map(|at| {
            let (may_go, begun) = (may_go.take(), begun.take());
            async move {
                match (at, may_go, begun) {
                    // It ends at once, and leaves something behind that the other one waits for.
                    (0, Some(may_go), Some(begun)) => {
                        tokio::spawn(async move {
                            may_go.await.unwrap();
                            begun.send(()).unwrap();
                        });
                    }
                    _ => tokio::task::yield_now().await,
                }
            }
        });
        let apart = Apart::start("test", tasks).await.unwrap();
        go.send(()).unwrap();
        has_begun.await.unwrap();
        assert_eq!(apart.end().await, 0);
    }

    #[tokio::test]
    async fn what_fails_is_counted() {
        let tasks = (0..2).map(|at| async move { assert_ne!(at, 1, "as it was told to") });
        let apart = Apart::start("test", tasks).await.unwrap();
        assert_eq!(apart.end().await, 1);
    }

    #[tokio::test]
    async fn nothing_outlives_who_started_it() {
        let (held, gone) = oneshot::channel::<()>();
        let mut held = Some(held);
        let tasks = (0..1).map(|_| {
            let held = held.take();
            async move {
                let _held = held;
                std::future::pending::<()>().await;
            }
        });
        let apart = Apart::start("test", tasks).await.unwrap();
        drop(apart);
        gone.await.unwrap_err();
    }
}
