//! What was sent and what has arrived in one run: when, and how often.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::super::super::error::CliError;
use super::super::report::Latencies;

/// Bytes at the head of a body: run and number of the message, each as eight hexadecimal digits.
pub(super) const HEAD_BYTES: usize = 16;
/// Longest time without an arrival, before a run is given up.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// The messages of one run, by their numbers. Message n goes to destination n modulo the number of destinations.
#[derive(Debug)]
pub(super) struct Board {
    run: u32,
    epoch: Instant,
    destinations: u64,
    sent_ns: Vec<AtomicU64>,
    /// First arrivals; 0 stands for none.
    arrived_ns: Vec<AtomicU64>,
    /// Arrivals of what had arrived before.
    repeats: AtomicU64,
    left: AtomicU64,
    watched_left: AtomicU64,
    arrived: Notify,
}

impl Board {
    /// Makes the board of a run that nothing was sent in.
    pub(super) fn new(run: u32, count: u64, destinations: u64) -> Self {
        let times = || (0..count).map(|_| AtomicU64::new(0)).collect();
        let mut board = Self {
            run,
            epoch: Instant::now(),
            destinations,
            sent_ns: times(),
            arrived_ns: times(),
            repeats: AtomicU64::new(0),
            left: AtomicU64::new(count),
            watched_left: AtomicU64::new(0),
            arrived: Notify::new(),
        };
        let watched = (0..count).filter(|at| board.is_watched(*at)).count();
        board.watched_left = AtomicU64::new(u64::try_from(watched).unwrap_or(u64::MAX));
        board
    }

    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.sent_ns.len()).unwrap_or(u64::MAX)
    }

    /// Returns whether a message goes to a destination that never hangs: the first of several may.
    fn is_watched(&self, at: u64) -> bool {
        self.destinations == 1 || !at.is_multiple_of(self.destinations)
    }

    /// Returns the body of a message, filled up to `size`.
    pub(super) fn body(&self, at: u64, size: usize) -> String {
        let mut body = format!("{:08x}{at:08x}", self.run);
        body.extend(std::iter::repeat_n('x', size.saturating_sub(HEAD_BYTES)));
        body
    }

    /// Notes when a message was sent, or should have been.
    pub(super) fn sent(&self, at: u64, when: Instant) {
        if let Some(sent) = slot(&self.sent_ns, at) {
            sent.store(self.ns(when), Ordering::Relaxed);
        }
    }

    /// Notes the arrival of a body. What is of another run counts as a repeat: its own run had ended with all of it.
    pub(super) fn arrive(&self, body: &Bytes) {
        let number = |from: usize, to: usize| {
            let text = body.get(from..to).and_then(|b| std::str::from_utf8(b).ok());
            text.and_then(|text| u32::from_str_radix(text, 16).ok())
        };
        let is_ours = number(0, 8) == Some(self.run);
        let at = number(8, HEAD_BYTES).map(u64::from).filter(|_| is_ours);
        let now = self.ns(Instant::now());
        let first = at.and_then(|at| {
            let arrived = slot(&self.arrived_ns, at)?;
            let was_free = arrived.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed);
            was_free.ok().map(|_| at)
        });
        match first {
            Some(at) => self.settle(at),
            None => {
                self.repeats.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn settle(&self, at: u64) {
        let is_last = self.left.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_last_watched =
            self.is_watched(at) && self.watched_left.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last || is_last_watched {
            self.arrived.notify_one();
        }
    }

    /// Waits for everything that goes to destinations which never hang.
    pub(super) async fn wait_watched(&self) -> Result<(), CliError> {
        self.wait(&self.watched_left).await
    }

    /// Waits for everything, and checks that nothing has come twice.
    pub(super) async fn wait_all(&self) -> Result<(), CliError> {
        self.wait(&self.left).await?;
        match self.repeats.load(Ordering::Relaxed) {
            0 => Ok(()),
            repeats => Err(CliError::failed(
                format!("{repeats} messages came twice, although nothing has crashed"),
                None,
            )),
        }
    }

    async fn wait(&self, left: &AtomicU64) -> Result<(), CliError> {
        let mut known = u64::MAX;
        while left.load(Ordering::Acquire) > 0 {
            let waited = tokio::time::timeout(SILENCE_MAX, self.arrived.notified()).await;
            let now = self.left.load(Ordering::Acquire);
            if waited.is_err() && now == known {
                let text = format!("{now} messages have not arrived, and nothing more comes");
                return Err(CliError::failed(text, None));
            }
            known = now;
        }
        Ok(())
    }

    /// Returns the time from the run's beginning to the last watched arrival.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.watched_arrivals().max().unwrap_or(0))
    }

    /// Returns the time between the first and the last watched arrival.
    pub(super) fn spread(&self) -> Duration {
        let first = self.watched_arrivals().min().unwrap_or(0);
        let first = Duration::from_nanos(first);
        self.elapsed().saturating_sub(first)
    }

    /// Returns how many messages are watched.
    pub(super) fn watched_count(&self) -> u64 {
        u64::try_from(self.watched_arrivals().count()).unwrap_or(u64::MAX)
    }

    /// Returns the times from sending to arrival of watched messages, less the `delay` that they were sent with.
    pub(super) fn latencies(&self, delay: Duration) -> Result<Latencies, CliError> {
        let mut latencies = Latencies::new()?;
        for (at, (sent, arrived)) in (0..).zip(self.sent_ns.iter().zip(&self.arrived_ns)) {
            if self.is_watched(at) {
                let (sent, arrived) = (
                    sent.load(Ordering::Relaxed),
                    arrived.load(Ordering::Relaxed),
                );
                let took = Duration::from_nanos(arrived.saturating_sub(sent));
                latencies.record(took.saturating_sub(delay));
            }
        }
        Ok(latencies)
    }

    fn watched_arrivals(&self) -> impl Iterator<Item = u64> {
        (0..)
            .zip(&self.arrived_ns)
            .filter(|(at, _)| self.is_watched(*at))
            .map(|(_, arrived)| arrived.load(Ordering::Relaxed))
    }

    /// Nanoseconds since the run's beginning, at least one.
    fn ns(&self, when: Instant) -> u64 {
        let since = when.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

fn slot(times: &[AtomicU64], at: u64) -> Option<&AtomicU64> {
    times.get(usize::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(board: &Board, at: u64) {
        board.arrive(&Bytes::from(board.body(at, 32)));
    }

    #[tokio::test]
    async fn what_comes_twice_is_found() {
        let board = Board::new(7, 4, 2);
        assert_eq!(board.body(3, 18), "0000000700000003xx");
        for at in [1, 3] {
            arrive(&board, at);
        }
        board.wait_watched().await.unwrap();
        for at in [0, 2] {
            arrive(&board, at);
        }
        board.wait_all().await.unwrap();
        assert_eq!(board.watched_count(), 2);
        arrive(&board, 3);
        assert!(board.wait_all().await.is_err());
    }

    #[tokio::test]
    async fn what_is_of_another_run_counts_as_a_repeat() {
        for body in [
            Board::new(1, 1, 1).body(0, 16),
            "short".to_owned(),
            String::new(),
        ] {
            let board = Board::new(2, 1, 1);
            board.arrive(&Bytes::from(body));
            arrive(&board, 0);
            assert!(board.wait_all().await.is_err());
        }
    }
}
