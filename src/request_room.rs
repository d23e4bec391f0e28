//! Room for requests in memory, over all connections of both surfaces. What a request announces takes none; what has arrived of it
//! does.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room of all connections.
#[derive(Debug, Clone)]
pub struct RequestRoom {
    kib: Arc<Semaphore>,
    kib_max: u32,
    /// One request at a time may go beyond: those that have arrived in part and wait for each other would wait for ever.
    beyond: Arc<Semaphore>,
}

impl RequestRoom {
    /// Makes room for `bytes_max` bytes, at least 1 KiB.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let kib_max = u32::try_from(bytes_max / 1024).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(kib_max).unwrap_or(usize::MAX);
        Self {
            kib: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            kib_max,
            beyond: Arc::new(Semaphore::new(1)),
        }
    }

    /// Begins with no room, for one request. It is given back when the value is dropped.
    #[must_use]
    pub fn request(&self) -> HeldRoom {
        HeldRoom {
            all: (Arc::clone(&self.kib), Arc::clone(&self.beyond)),
            kib_max: self.kib_max,
            held: None,
            kib: 0,
            beyond: None,
        }
    }
}

/// The room of one request: of its bytes, and of what it takes in memory once it is decoded.
#[derive(Debug)]
pub struct HeldRoom {
    /// The room of all, and the place of the one that may go beyond.
    all: (Arc<Semaphore>, Arc<Semaphore>),
    kib_max: u32,
    held: Option<OwnedSemaphorePermit>,
    kib: u32,
    beyond: Option<OwnedSemaphorePermit>,
}

impl HeldRoom {
    /// Waits until there is room for so many bytes of the request. This is the back-pressure: the socket is not read meanwhile.
    pub async fn grow(&mut self, bytes: usize) {
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let more = wanted.min(self.kib_max).saturating_sub(self.kib);
        if more == 0 || self.beyond.is_some() {
            return;
        }
        // The semaphores are never closed.
        let permit = tokio::select! {
            biased;
            permit = Arc::clone(&self.all.0).acquire_many_owned(more) => permit,
            beyond = Arc::clone(&self.all.1).acquire_owned(), if self.held.is_some() => {
                self.beyond = beyond.ok();
                return;
            }
        };
        let Ok(permit) = permit else { return };
        self.kib = self.kib.saturating_add(more);
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
    }
}
