//! One partition, shared between connections: its owner behind a lock, and who waits for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use storage::batch::header::BatchHeader;
use storage::dead_letter::DeadLetterView;
use storage::error::{LogError, PoisonCause};
use storage::log::{Log, LogReader, Visibility};
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{AppendOutcome, Partition, PushReader, Refused};
use tokio::sync::watch;

use super::pool::WorkPool;
use super::unsynced::Unsynced;
use crate::causes::Causes;
use crate::metrics::Metrics;

/// Bytes that a connection's own thread may sync, when nobody else does and nothing else waits to be read.
const INLINE_SYNC_BYTES_MAX: u64 = 256 << 10;

/// When an append is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityWanted {
    /// When it is written.
    Written,
    /// When it is synced.
    Synced,
}

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const BUSY_AGAIN: u8 = 2;

/// One of the partition's logs, as those who wait for it see it.
#[derive(Debug)]
struct Side {
    /// Counts changes: of the durable end, the high watermark, the poison, a roll.
    changes: watch::Sender<u64>,
    sync: AtomicU8,
}

impl Side {
    fn new() -> Self {
        Self {
            changes: watch::Sender::new(0),
            sync: AtomicU8::new(IDLE),
        }
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A partition that any task or thread may use.
#[derive(Debug)]
pub struct PartitionHandle {
    number: PartitionNumber,
    owner: Mutex<Partition>,
    reader: LogReader,
    visibility: Visibility,
    main: Side,
    dead_letters: Side,
    delivery: Side,
    unsynced: Unsynced,
    pool: WorkPool,
    metrics: Arc<Metrics>,
}

impl PartitionHandle {
    /// Takes a partition over.
    #[must_use]
    pub fn new(
        partition: Partition,
        visibility: Visibility,
        pool: WorkPool,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: partition.number(),
            reader: partition.main().reader(),
            owner: Mutex::new(partition),
            visibility,
            main: Side::new(),
            dead_letters: Side::new(),
            delivery: Side::new(),
            unsynced: Unsynced::default(),
            pool,
            metrics,
        })
    }

    /// Returns the partition's number.
    #[must_use]
    pub fn number(&self) -> PartitionNumber {
        self.number
    }

    /// Returns a reader of messages and delivery entries, which needs no owner.
    #[must_use]
    pub fn push_reader(&self) -> PushReader {
        self.owner.lock().push_reader()
    }

    /// Returns the reader of the main log.
    #[must_use]
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Returns the owner's lock. It must not be held across a sync or an `.await`.
    #[must_use]
    pub fn owner(&self) -> &Mutex<Partition> {
        &self.owner
    }

    /// Returns a view of the dead letters as they are now; `None` before the first one.
    #[must_use]
    pub fn dead_letters(&self) -> Option<DeadLetterView> {
        self.owner.lock().letter_view()
    }

    /// Returns a receiver that sees every change of one of the logs.
    #[must_use]
    pub fn subscribe(&self, kind: LogKind) -> watch::Receiver<u64> {
        self.side(kind).changes.subscribe()
    }

    /// Tells those who wait that one of the logs has changed.
    pub fn notify(&self, kind: LogKind) {
        self.side(kind).changed();
    }

    /// Appends a checked batch. The caller then calls [`PartitionHandle::start_sync`] and waits as its producer asked for.
    ///
    /// # Errors
    /// As [`Partition::append`]. On [`LogError::Rolling`] the caller awaits [`PartitionHandle::roll`] and calls again.
    pub fn append(
        &self,
        header: &BatchHeader,
        batch: &mut [u8],
        now: TimestampMs,
    ) -> Result<AppendOutcome, Refused> {
        let mut owner = self.owner.lock();
        let outcome = owner.append(header, batch, now)?;
        if matches!(outcome, AppendOutcome::Appended(_)) {
            let segment_room = owner.main().segment_room();
            self.unsynced.add(u64::from(header.length), segment_room);
            drop(owner);
            if self.visibility == Visibility::Written {
                self.main.changed();
            }
        }
        Ok(outcome)
    }

    /// Starts the sync that what was appended needs. With `is_alone` (nothing else waits on the caller's socket) and nobody
    /// syncing, the caller's thread does it at once, which saves a wakeup.
    pub fn start_sync(self: &Arc<Self>, wanted: DurabilityWanted, is_alone: bool) {
        if wanted == DurabilityWanted::Written && !self.unsynced.is_due() {
            return;
        }
        let is_small = is_alone && self.unsynced.bytes() <= INLINE_SYNC_BYTES_MAX;
        if is_small
            && self
                .main
                .sync
                .compare_exchange(IDLE, BUSY, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        {
            self.run_sync(LogKind::Main);
        } else {
            self.schedule_sync(LogKind::Main);
        }
    }

    /// Queues a sync of everything written to one of the logs.
    pub fn schedule_sync(self: &Arc<Self>, kind: LogKind) {
        let sync = &self.side(kind).sync;
        let before = sync.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            Some(if state == IDLE { BUSY } else { BUSY_AGAIN })
        });
        if before == Ok(IDLE) {
            let this = Arc::clone(self);
            self.pool.submit(move || this.run_sync(kind));
        }
    }

    /// Syncs once; the caller has set the state to busy. What was asked for meanwhile is a job of the pool behind all others:
    /// a connection's own thread must not sync for the connections of other threads, nor one busy log keep a thread of the pool.
    fn run_sync(self: &Arc<Self>, kind: LogKind) {
        let side = self.side(kind);
        side.sync.store(BUSY, Ordering::Release);
        let task = {
            let mut owner = self.owner.lock();
            if kind == LogKind::Main {
                self.unsynced.clear();
            }
            owner.log_mut(kind).and_then(Log::begin_sync)
        };
        if let Some(task) = task {
            self.pool.step();
            if let Err(error) = task.run() {
                tracing::error!(partition = self.number.0, error = %Causes(&error), "a sync failed; the log takes no more appends");
            }
            self.pool.step();
            self.after_sync(kind);
        }
        // Also when there was nothing to sync: somebody else's sync may have failed and told nobody.
        side.changed();
        let ended = side
            .sync
            .compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if ended.is_err() {
            let this = Arc::clone(self);
            self.pool.submit(move || this.run_sync(kind));
        }
    }

    /// What follows from a sync of one of the logs, also of one that failed: it may have been another's that succeeded.
    pub fn after_sync(&self, kind: LogKind) {
        let mut owner = self.owner.lock();
        match kind {
            LogKind::Main => {
                owner.admit_durable();
            }
            LogKind::DeadLetter => owner.settle(),
            LogKind::Delivery | LogKind::Control => {}
        }
    }

    /// Returns when everything of the main log below `end` is durable.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] when no sync can make it so: whether the append survives is then unknown. A failed write of a
    /// later batch is no such reason: what was written before it is still synced.
    pub async fn wait_durable(&self, end: Offset) -> Result<(), LogError> {
        self.wait_for(&self.main, &self.reader, end).await
    }

    /// As [`PartitionHandle::wait_durable`], for any of the partition's logs, which must have been appended to.
    ///
    /// # Errors
    /// As [`PartitionHandle::wait_durable`].
    pub async fn wait_durable_of(&self, kind: LogKind, end: Offset) -> Result<(), LogError> {
        let reader = self.owner.lock().log_mut(kind).map(|log| log.reader());
        match reader {
            Some(reader) => self.wait_for(self.side(kind), &reader, end).await,
            None => Ok(()),
        }
    }

    async fn wait_for(&self, side: &Side, log: &LogReader, end: Offset) -> Result<(), LogError> {
        let mut changes = side.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if log.durable_end() >= end {
                return Ok(());
            }
            if let Some(cause) = log.poison()
                && cause != PoisonCause::WriteFailed
            {
                return Err(LogError::Poisoned {
                    log: log.id(),
                    cause,
                });
            }
            // The sender lives as long as this handle.
            changes.changed().await.ok();
        }
    }

    /// Starts a new segment of the main log for a batch of `batch_bytes`, or waits for whoever is at it.
    ///
    /// # Errors
    /// The error of the roll, or [`LogError::Poisoned`].
    pub async fn roll(
        self: &Arc<Self>,
        batch_bytes: u64,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        // Somebody else's roll may be done since the caller was told of it: the new segment is not to be rolled again.
        self.roll_when(LogKind::Main, &|log| log.needs_roll(batch_bytes, now))
            .await
    }

    /// Starts the new segment that one of the logs has asked for with [`LogError::Rolling`], or waits for whoever is at it.
    ///
    /// # Errors
    /// As [`PartitionHandle::roll`].
    pub async fn roll_of(
        self: &Arc<Self>,
        kind: LogKind,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        self.roll_when(kind, &|log| log.awaits_roll(now)).await
    }

    async fn roll_when(
        self: &Arc<Self>,
        kind: LogKind,
        is_due: &(dyn Fn(&Log) -> bool + Send + Sync),
    ) -> Result<(), LogError> {
        let mut changes = self.subscribe(kind);
        changes.borrow_and_update();
        let begun = {
            let mut owner = self.owner.lock();
            if !owner.log_mut(kind).is_some_and(|log| is_due(log)) {
                return Ok(());
            }
            owner.begin_roll(kind)
        };
        match begun {
            Ok(task) => {
                let (done, result) = tokio::sync::oneshot::channel();
                let this = Arc::clone(self);
                self.pool.submit(move || {
                    this.pool.step();
                    let rolled = task.run();
                    this.pool.step();
                    let finished = this.owner.lock().finish_roll(kind, rolled);
                    if let Err(error) = &finished {
                        tracing::warn!(partition = this.number.0, log = %kind, error = %Causes(error), "a new segment was not begun");
                    }
                    let finished = finished.map(|facets| {
                        if let Some(facets) = facets {
                            facets.run();
                        }
                    });
                    this.metrics.logs.rolls.inc();
                    // The full segment was synced.
                    this.after_sync(kind);
                    this.side(kind).changed();
                    if finished.is_err() {
                        // No sync was begun while the roll was to cover it.
                        this.schedule_sync(kind);
                    }
                    done.send(finished).ok();
                });
                // The pool runs every job; a lost answer means that the broker is ending.
                result.await.unwrap_or(Ok(()))
            }
            Err(LogError::Rolling { .. }) => {
                changes.changed().await.ok();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gets over a failed write of one of the logs, if there was one. Blocks on the disk.
    ///
    /// # Errors
    /// As [`storage::log::HealTask::run`].
    pub fn heal(&self, kind: LogKind) -> Result<bool, LogError> {
        let task = self.owner.lock().log_mut(kind).and_then(Log::begin_heal);
        let Some(task) = task else { return Ok(false) };
        let healed = task.run();
        if healed.is_ok() {
            let mut owner = self.owner.lock();
            // Another write may have failed meanwhile: what became of it is not known before it is healed as well.
            if owner
                .log_mut(kind)
                .is_some_and(|log| log.poison().is_none())
            {
                owner.release_unknown(kind);
            }
        }
        // Whoever waits for a sync must also learn that none can help any more.
        self.side(kind).changed();
        healed.map(|()| true)
    }

    /// Returns why the main log takes no appends, if it takes none.
    #[must_use]
    pub fn poison(&self) -> Option<PoisonCause> {
        self.reader.poison()
    }

    fn side(&self, kind: LogKind) -> &Side {
        match kind {
            LogKind::DeadLetter => &self.dead_letters,
            LogKind::Delivery => &self.delivery,
            LogKind::Main | LogKind::Control => &self.main,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use storage::disk::sim::SimDisk;
    use storage::partition::{PartitionConfig, PartitionHints, PartitionPlace};

    use super::*;

    #[test]
    fn a_thread_that_syncs_leaves_what_comes_meanwhile_to_the_pool() {
        let disk = SimDisk::new(7);
        disk.write_file(Path::new("/data/.made"), b"").unwrap();
        let place = PartitionPlace {
            disk: Arc::new(disk),
            root: "/data".into(),
            number: PartitionNumber(0),
        };
        let (config, hints) = (PartitionConfig::default(), PartitionHints::default());
        let (partition, _) = Partition::open(&place, config, &hints, TimestampMs(0)).unwrap();
        let pool = WorkPool::start(1).unwrap();
        let metrics = Arc::new(Metrics::new());
        let handle = PartitionHandle::new(partition, Visibility::Synced, pool.clone(), metrics);
        let (let_go, held) = mpsc::channel::<()>();
        pool.submit(move || held.recv().unwrap());
        let owner = handle.owner.lock();
        let syncing = {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle.run_sync(LogKind::Main))
        };
        while handle.main.sync.load(Ordering::Acquire) != BUSY {
            std::thread::yield_now();
        }
        handle.schedule_sync(LogKind::Main);
        drop(owner);
        syncing.join().unwrap();
        let state = handle.main.sync.load(Ordering::Acquire);
        assert_eq!(state, BUSY_AGAIN, "the request waits for the pool's thread");
        let mut changes = handle.subscribe(LogKind::Main);
        let_go.send(()).unwrap();
        while handle.main.sync.load(Ordering::Acquire) != IDLE {
            std::thread::yield_now();
        }
        assert!(changes.has_changed().unwrap());
        changes.borrow_and_update();
    }
}
