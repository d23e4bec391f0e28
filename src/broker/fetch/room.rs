//! The room of what was read and not sent: all fetches share it, so that many readers cannot take all memory.
//!
//! An answer has at least one batch, however little was asked for, and batches may be large: what an answer takes is known when it
//! has been read. Then there is room for it, or it is dropped and waits for as much.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: usize = 1024;

/// Room for fetched batches, in KiB.
#[derive(Debug)]
pub(in crate::broker) struct FetchRoom {
    free_kib: Arc<Semaphore>,
    kib_max: usize,
}

/// A share of the room. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: OwnedSemaphorePermit,
    kib_max: usize,
}

impl FetchRoom {
    pub(in crate::broker) fn new(bytes_max: u64) -> Self {
        let kib_max = usize::try_from(bytes_max / 1024).unwrap_or(Semaphore::MAX_PERMITS);
        let kib_max = kib_max.min(Semaphore::MAX_PERMITS);
        Self {
            free_kib: Arc::new(Semaphore::new(kib_max)),
            kib_max,
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

    /// Waits for room of so many bytes, or for all of it if they are more.
    pub(super) async fn wait(&self, bytes: usize) -> Option<Share> {
        let kib = u32::try_from(self.kib_of(bytes)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.free_kib).acquire_many_owned(kib).await;
        Some(self.share(held.ok()?))
    }

    fn try_acquire(&self, kib: usize) -> Option<Share> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.free_kib).try_acquire_many_owned(kib);
        Some(self.share(held.ok()?))
    }

    fn share(&self, held: OwnedSemaphorePermit) -> Share {
        Share {
            held,
            kib_max: self.kib_max,
        }
    }

    fn kib_of(&self, bytes: usize) -> usize {
        bytes.div_ceil(KIB).clamp(1, self.kib_max.max(1))
    }

    /// As [`FetchRoom::take`], for what nobody has asked for yet: half of the room stays for those who ask.
    pub(super) fn take_spare(&self, bytes_max: u32) -> Option<Share> {
        let kib = usize::try_from(bytes_max.div_ceil(1024)).unwrap_or(usize::MAX);
        let left = self.free_kib.available_permits().checked_sub(kib)?;
        (left >= self.kib_max / 2).then(|| self.take(bytes_max))?
    }

    /// Makes a share large enough for so many bytes. Returns whether there was room.
    pub(super) fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let missing = self.kib_of(bytes).saturating_sub(share.held.num_permits());
        if missing == 0 {
            return true;
        }
        let more = self.try_acquire(missing);
        more.map(|more| share.held.merge(more.held)).is_some()
    }
}

impl Share {
    /// Returns for how many bytes it is.
    pub(super) fn bytes(&self) -> u32 {
        let bytes = self.held.num_permits().saturating_mul(KIB);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Returns whether so many bytes fit it, or it is all the room there is.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        let held = self.held.num_permits();
        bytes.div_ceil(KIB) <= held || held >= self.kib_max
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

    fn shrink(&mut self, bytes: usize) {
        let unused = self.held.num_permits().saturating_sub(bytes.div_ceil(KIB));
        drop(self.held.split(unused));
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
