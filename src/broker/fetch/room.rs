//! The room of what was read and not sent: all fetches share it, so that many readers cannot take all memory.

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
pub(super) struct Share(OwnedSemaphorePermit);

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

    /// Takes the room of an answer; `None` when too much is read and not sent already.
    pub(super) fn take(&self, bytes_max: u32) -> Option<Share> {
        let kib = bytes_max.div_ceil(1024).max(1);
        let taken = Arc::clone(&self.free_kib).try_acquire_many_owned(kib);
        Some(Share(taken.ok()?))
    }

    /// As [`FetchRoom::take`], for what nobody has asked for yet: half of the room stays for those who ask.
    pub(super) fn take_spare(&self, bytes_max: u32) -> Option<Share> {
        let kib = usize::try_from(bytes_max.div_ceil(1024)).unwrap_or(usize::MAX);
        let left = self.free_kib.available_permits().checked_sub(kib)?;
        (left >= self.kib_max / 2).then(|| self.take(bytes_max))?
    }
}

impl Share {
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
        let unused = self.0.num_permits().saturating_sub(bytes.div_ceil(KIB));
        drop(self.0.split(unused));
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
