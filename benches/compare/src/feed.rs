//! The values of one measurement: as many as fit in its time and its bytes, at once or at a steady rate.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use crate::Result;

/// Time between two bursts of a steady rate.
const TICK: Duration = Duration::from_millis(1);

/// When this program started: stamps are nanoseconds since then.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn stamp_now() -> u64 {
    u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Latencies in nanoseconds.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(600_000_000_000, 3)?)
}

/// Where the values of a measurement come from.
pub struct Feed {
    template: Vec<u8>,
    left: u64,
    sent: u64,
    deadline: Instant,
    ticks: Option<mpsc::Receiver<(u64, u64)>>,
    /// Values of the last burst that were not taken yet, and its stamp.
    open: (u64, u64),
}

impl Feed {
    /// Values of `size` bytes, as fast as they are taken, until `time` is over or they make `bytes`.
    pub fn full_speed(size: usize, time: Duration, bytes: u64) -> Self {
        let template = (0..size)
            .map(|at| (at.wrapping_mul(0x9e37_79b9) >> 7) as u8)
            .collect();
        Self {
            template,
            left: bytes / size as u64,
            sent: 0,
            deadline: Instant::now() + time,
            ticks: None,
            open: (0, 0),
        }
    }

    /// Values at a steady rate, in bursts of a millisecond. Each is stamped with the moment at which its burst was due, so
    /// that a sender that is held up does not hide it.
    pub fn steady(size: usize, time: Duration, per_second: f64) -> Self {
        let (sender, ticks) = mpsc::channel(100_000);
        let end = Instant::now() + time;
        std::thread::spawn(move || {
            let begin = Instant::now();
            let mut given = 0_u64;
            while Instant::now() < end {
                std::thread::sleep(TICK);
                let due = (begin.elapsed().as_secs_f64() * per_second) as u64;
                let count = due.saturating_sub(given);
                given = due;
                if count > 0 && sender.blocking_send((count, stamp_now())).is_err() {
                    return;
                }
            }
        });
        let mut feed = Self::full_speed(size, time * 10, u64::MAX);
        feed.ticks = Some(ticks);
        feed
    }

    /// Returns how many values were taken.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns a value with the stamp of now, for those who send one at a time; `None` at the end.
    pub fn one(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 || Instant::now() >= self.deadline {
            return None;
        }
        self.left -= 1;
        self.sent += 1;
        Some(self.value(stamp_now()))
    }

    /// Returns the next values, at most `max`; waits until there is one. `None` at the end.
    pub async fn batch(&mut self, max: u64) -> Option<Batch> {
        if self.ticks.is_none() {
            if Instant::now() >= self.deadline {
                return None;
            }
            self.open = (self.left.min(max), stamp_now());
            self.left -= self.open.0;
        } else if self.open.0 == 0 {
            self.open = self.ticks.as_mut()?.recv().await?;
        }
        let count = self.open.0.min(max);
        self.open.0 -= count;
        self.sent += count;
        (count > 0).then(|| Batch {
            count,
            value: self.value(self.open.1),
        })
    }

    fn value(&self, stamp: u64) -> Vec<u8> {
        let mut value = self.template.clone();
        value[..8].copy_from_slice(&stamp.to_be_bytes());
        value
    }
}

/// Values that are all alike.
pub struct Batch {
    /// How many.
    pub count: u64,
    /// Each of them.
    pub value: Vec<u8>,
}

/// Returns how long ago a value was stamped, in nanoseconds.
pub fn age_ns(value: &[u8]) -> u64 {
    let stamp = value
        .first_chunk::<8>()
        .map_or(0, |stamp| u64::from_be_bytes(*stamp));
    stamp_now().saturating_sub(stamp)
}
