//! The deduplication window of the broker: which keys were published lately, and what they led to.
//!
//! A key is reserved before its message is appended, so that of two publishes at the same moment one waits for the other and
//! gets its answer. A reservation ends with [`Reservation::fulfil`] or, when it is dropped because the append failed, by
//! letting the next one try.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use storage::offset::{Offset, TimestampMs};
use tokio::sync::watch;

/// How long a key is remembered, in milliseconds: ten minutes, as the QStash documentation says.
pub const DEDUP_WINDOW_MS: i64 = 10 * 60 * 1000;

/// A deduplication key: see `dedup_key.rs`.
pub type DedupKey = [u8; 16];

/// What a key led to: `count` messages, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstPublish {
    /// Index of the partition.
    pub partition: u32,
    /// Offset of the first message.
    pub base: Offset,
    /// How many messages.
    pub count: u32,
    /// When.
    pub time: TimestampMs,
}

#[derive(Debug)]
enum Slot {
    /// Somebody is publishing. The channel closes when it is decided.
    Reserved(watch::Receiver<()>),
    Known(FirstPublish),
    /// A sync failed: whether there is a message shows at the next start.
    Unknown,
}

#[derive(Debug, Default)]
struct Slots {
    by_key: HashMap<DedupKey, Slot>,
    /// Known keys by their time, oldest first, for forgetting.
    order: VecDeque<(TimestampMs, DedupKey)>,
}

/// The keys of the last ten minutes, and no more than so many: each takes about 250 bytes, with what the states know of it.
#[derive(Debug)]
pub struct DedupWindow {
    slots: Mutex<Slots>,
    keys_max: usize,
}

/// What a publish under a key is told.
#[derive(Debug)]
pub enum Reserve {
    /// Nobody has published under the key: it is the caller's.
    Yours(Reservation),
    /// It was published.
    Duplicate(FirstPublish),
    /// Whether it was published shows at the next start of the broker.
    Unknown,
    /// Nobody has published under the key, and no more keys can be remembered.
    Full,
}

/// A key that the caller may publish under. Dropping it gives the key up.
#[derive(Debug)]
pub struct Reservation {
    window: Arc<DedupWindow>,
    key: DedupKey,
    is_decided: bool,
    _decided: watch::Sender<()>,
}

impl DedupWindow {
    /// Makes an empty window for at most so many keys; what is restored counts, however much it is.
    #[must_use]
    pub fn new(keys_max: usize) -> Self {
        Self {
            slots: Mutex::default(),
            keys_max,
        }
    }

    /// Reserves a key, or says what it led to. Waits while somebody else is publishing under it.
    pub async fn reserve(self: &Arc<Self>, key: DedupKey, now: TimestampMs) -> Reserve {
        loop {
            let mut waiting = {
                let mut slots = self.slots.lock();
                slots.forget(now);
                match slots.by_key.get(&key) {
                    Some(Slot::Known(first)) => return Reserve::Duplicate(*first),
                    Some(Slot::Unknown) => return Reserve::Unknown,
                    Some(Slot::Reserved(waiting)) => waiting.clone(),
                    None if slots.by_key.len() >= self.keys_max => return Reserve::Full,
                    None => {
                        let (sender, receiver) = watch::channel(());
                        slots.by_key.insert(key, Slot::Reserved(receiver));
                        return Reserve::Yours(Reservation {
                            window: Arc::clone(self),
                            key,
                            is_decided: false,
                            _decided: sender,
                        });
                    }
                }
            };
            // An error says that the sender is gone, which is what is waited for.
            waiting.changed().await.ok();
        }
    }

    /// Takes over what was published before a restart, oldest first.
    pub fn restore(&self, publishes: impl Iterator<Item = (DedupKey, FirstPublish)>) {
        let mut slots = self.slots.lock();
        for (key, first) in publishes {
            slots.know(key, first);
        }
        let slots = &mut *slots;
        slots.order.make_contiguous().sort_unstable();
    }

    /// Returns how many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.lock().by_key.len()
    }

    /// Returns whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Reservation {
    /// Says what the key led to, once that is durable.
    pub fn fulfil(mut self, first: FirstPublish) {
        self.is_decided = true;
        self.window.slots.lock().know(self.key, first);
    }

    /// Keeps the key until the broker ends: its messages were written, and whether they survive is unknown.
    pub fn leave_unknown(mut self) {
        self.is_decided = true;
        let slots = &mut self.window.slots.lock().by_key;
        slots.insert(self.key, Slot::Unknown);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_decided {
            self.window.slots.lock().by_key.remove(&self.key);
        }
    }
}

impl Slots {
    fn know(&mut self, key: DedupKey, first: FirstPublish) {
        self.by_key.insert(key, Slot::Known(first));
        self.order.push_back((first.time, key));
    }

    fn forget(&mut self, now: TimestampMs) {
        while let Some((time, key)) = self.order.front().copied()
            && now.since(time) >= DEDUP_WINDOW_MS
        {
            self.order.pop_front();
            if let Some(Slot::Known(first)) = self.by_key.get(&key)
                && first.time == time
            {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests may panic")]

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000_000);
    const KEY: DedupKey = [7; 16];

    fn first(time: TimestampMs) -> FirstPublish {
        FirstPublish {
            partition: 1,
            base: Offset(5),
            count: 2,
            time,
        }
    }

    async fn yours(window: &Arc<DedupWindow>, now: TimestampMs) -> Reservation {
        match window.reserve(KEY, now).await {
            Reserve::Yours(reservation) => reservation,
            other => panic!("{other:?}"),
        }
    }

    async fn duplicate(window: &Arc<DedupWindow>, now: TimestampMs) -> FirstPublish {
        match window.reserve(KEY, now).await {
            Reserve::Duplicate(first) => first,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_key_is_remembered_for_ten_minutes() {
        let window = Arc::new(DedupWindow::new(2));
        yours(&window, NOW).await.fulfil(first(NOW));
        let last = NOW.saturating_add(DEDUP_WINDOW_MS - 1);
        assert_eq!(duplicate(&window, last).await, first(NOW));
        let over = NOW.saturating_add(DEDUP_WINDOW_MS);
        yours(&window, over).await.fulfil(first(over));
        assert_eq!(duplicate(&window, over).await, first(over));
        assert_eq!(window.len(), 1);
    }

    #[tokio::test]
    async fn a_full_window_takes_no_other_key_until_one_is_forgotten() {
        let window = Arc::new(DedupWindow::new(1));
        yours(&window, NOW).await.fulfil(first(NOW));
        let other = |now| window.reserve([8; 16], now);
        assert!(matches!(other(NOW).await, Reserve::Full));
        assert_eq!(duplicate(&window, NOW).await, first(NOW));
        let over = NOW.saturating_add(DEDUP_WINDOW_MS);
        assert!(matches!(other(over).await, Reserve::Yours(_)));
    }

    #[tokio::test]
    async fn a_second_publish_waits_for_the_first_one() {
        let window = Arc::new(DedupWindow::new(2));
        let reservation = yours(&window, NOW).await;
        let second = {
            let window = Arc::clone(&window);
            tokio::spawn(async move { duplicate(&window, NOW).await })
        };
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        reservation.fulfil(first(NOW));
        assert_eq!(second.await.ok(), Some(first(NOW)));
    }

    #[tokio::test]
    async fn a_publish_that_failed_lets_the_next_one_try() {
        let window = Arc::new(DedupWindow::new(2));
        let reservation = yours(&window, NOW).await;
        let second = {
            let window = Arc::clone(&window);
            tokio::spawn(async move { yours(&window, NOW).await.fulfil(first(NOW)) })
        };
        tokio::task::yield_now().await;
        drop(reservation);
        assert!(second.await.is_ok());
        assert_eq!(window.len(), 1);
    }

    #[tokio::test]
    async fn what_was_published_before_a_restart_counts() {
        let window = Arc::new(DedupWindow::new(2));
        let old = NOW.saturating_add(-DEDUP_WINDOW_MS);
        window.restore([([1; 16], first(NOW)), (KEY, first(old))].into_iter());
        yours(&window, NOW).await;
        assert_eq!(window.len(), 1, "the older one is forgotten first");
    }
}
