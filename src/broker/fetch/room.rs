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
        let share = self.take(bytes_max)?;
        (self.free_kib.available_permits() >= self.kib_max / 2).then_some(share)
    }
}

impl Share {
    /// Ties the room that batches need to them, and gives the rest back.
    pub(super) fn hold<'a>(self, all: impl Iterator<Item = &'a mut Bytes>) {
        let Self(mut permit) = self;
        let mut all: Vec<_> = all.filter(|batches| !batches.is_empty()).collect();
        let bytes: usize = all.iter().map(|batches| batches.len()).sum();
        let unused = permit.num_permits().saturating_sub(bytes.div_ceil(KIB));
        drop(permit.split(unused));
        let share = Arc::new(Self(permit));
        for batches in &mut all {
            **batches = Bytes::from_owner(Held {
                batches: std::mem::take(*batches),
                _share: Arc::clone(&share),
            });
        }
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
