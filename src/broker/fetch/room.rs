//! The room of what was read and not sent: all fetches share it, so that many readers cannot take all memory.
//!
//! An answer has at least one batch, however little was asked for, and batches may be large: what an answer takes is known when it
//! has been read. Then there is room for it, or it is dropped and waits for as much; one at a time needs no room at all.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

const KIB: usize = 1024;

/// Room for fetched batches, in KiB.
#[derive(Debug)]
pub(in crate::broker) struct FetchRoom {
    free_kib: Arc<Semaphore>,
    kib_max: usize,
    /// The place of the one that goes beyond the room: a batch may be larger than all of it.
    beyond: Arc<Semaphore>,
    given_back: Arc<Notify>,
}

/// A share of the room. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: Option<OwnedSemaphorePermit>,
    /// It is for whatever was read.
    beyond: Option<OwnedSemaphorePermit>,
    given_back: Arc<Notify>,
}

impl FetchRoom {
    pub(in crate::broker) fn new(bytes_max: u64) -> Self {
        let kib_max = usize::try_from(bytes_max / 1024).unwrap_or(Semaphore::MAX_PERMITS);
        let kib_max = kib_max.min(Semaphore::MAX_PERMITS);
        Self {
            free_kib: Arc::new(Semaphore::new(kib_max)),
            kib_max,
            beyond: Arc::new(Semaphore::new(1)),
            given_back: Arc::new(Notify::new()),
        }
    }

    /// Returns how many KiB are free.
    #[cfg(test)]
    pub(in crate::broker) fn free_kib(&self) -> usize {
        self.free_kib.available_permits()
    }

    /// Takes the room of an answer, or what is left of it; `None` when too much is read and not sent already.
    pub(super) fn take(&self, bytes_max: u32) -> Option<Share> {
        let kib = usize::try_from(bytes_max.div_ceil(1024)).unwrap_or(usize::MAX);
        let kib = kib.min(self.free_kib.available_permits()).max(1);
        self.try_acquire(kib)
    }

    /// Waits for room of so many bytes, or to be the one that goes beyond the room. Nobody else is kept waiting meanwhile.
    pub(super) async fn wait(&self, bytes: usize) -> Share {
        loop {
            // Before the look, so that nothing that is given back in between is missed.
            let mut given_back = pin!(self.given_back.notified());
            given_back.as_mut().enable();
            if let Some(share) = self.try_acquire(bytes.div_ceil(KIB)) {
                return share;
            }
            tokio::select! {
                biased;
                beyond = Arc::clone(&self.beyond).acquire_owned() => {
                    // It is never closed.
                    return self.share(None, beyond.ok());
                }
                () = given_back => {}
            }
        }
    }

    fn try_acquire(&self, kib: usize) -> Option<Share> {
        let kib = u32::try_from(kib).ok()?;
        let held = Arc::clone(&self.free_kib).try_acquire_many_owned(kib);
        Some(self.share(Some(held.ok()?), None))
    }

    fn share(
        &self,
        held: Option<OwnedSemaphorePermit>,
        beyond: Option<OwnedSemaphorePermit>,
    ) -> Share {
        Share {
            held,
            beyond,
            given_back: Arc::clone(&self.given_back),
        }
    }

    /// As [`FetchRoom::take`], for what nobody has asked for yet: half of the room stays for those who ask.
    pub(super) fn take_spare(&self, bytes_max: u32) -> Option<Share> {
        let kib = usize::try_from(bytes_max.div_ceil(1024)).unwrap_or(usize::MAX);
        let left = self.free_kib.available_permits().checked_sub(kib)?;
        (left >= self.kib_max / 2).then(|| self.take(bytes_max))?
    }

    /// Makes a share large enough for so many bytes. Returns whether there was room.
    pub(super) fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let missing = bytes.div_ceil(KIB).saturating_sub(share.kib());
        let Some(mut more) = self.try_acquire(missing) else {
            return false;
        };
        match (&mut share.held, more.held.take()) {
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = more,
        }
        true
    }
}

impl Share {
    /// Returns for how many bytes it is.
    pub(super) fn bytes(&self) -> u32 {
        if self.beyond.is_some() {
            return u32::MAX;
        }
        u32::try_from(self.kib().saturating_mul(KIB)).unwrap_or(u32::MAX)
    }

    /// Returns whether so many bytes fit it.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.beyond.is_some() || bytes.div_ceil(KIB) <= self.kib()
    }

    /// Ties the room that batches need to them, and gives the rest back.
    pub(super) fn hold<'a>(mut self, all: impl Iterator<Item = &'a mut Bytes>) {
        let mut all: Vec<_> = all.filter(|batches| !batches.is_empty()).collect();
        self.shrink(all.iter().map(|batches| batches.len()).sum());
        let share = Arc::new(self);
        for batches in &mut all {
            **batches = Bytes::from_owner(Held {
                batches: std::mem::take(*batches),
                _share: Arc::clone(&share),
            });
        }
    }

    fn kib(&self) -> usize {
        self.held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn shrink(&mut self, bytes: usize) {
        let unused = self.kib().saturating_sub(bytes.div_ceil(KIB));
        let unused = self.held.as_mut().and_then(|held| held.split(unused));
        drop(unused);
        self.given_back.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        drop((self.held.take(), self.beyond.take()));
        self.given_back.notify_waiters();
    }
}

/// Batches that give their room back when they have been sent.
struct Held {
    batches: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.batches
    }
}
