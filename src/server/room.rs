//! Room for requests in memory, over all connections. What a frame announces takes none; what has arrived of it does.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The room of all connections.
#[derive(Debug)]
pub(super) struct RequestRoom {
    kib: Semaphore,
    kib_max: u32,
    /// One frame at a time may go beyond: frames that have arrived in part and wait for each other would wait for ever.
    beyond: Semaphore,
}

impl RequestRoom {
    pub(super) fn new(bytes_max: u64) -> Self {
        let kib_max = u32::try_from(bytes_max / 1024).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(kib_max).unwrap_or(usize::MAX);
        Self {
            kib: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            kib_max,
            beyond: Semaphore::new(1),
        }
    }

    /// Begins with no room, for one frame. It is given back when the value is dropped.
    pub(super) fn frame(&self) -> FrameRoom<'_> {
        FrameRoom {
            room: self,
            held: None,
            kib: 0,
            beyond: None,
        }
    }
}

/// The room of one frame.
#[derive(Debug)]
pub(super) struct FrameRoom<'a> {
    room: &'a RequestRoom,
    held: Option<SemaphorePermit<'a>>,
    kib: u32,
    beyond: Option<SemaphorePermit<'a>>,
}

impl FrameRoom<'_> {
    /// Waits until there is room for so many bytes of the frame. This is the back-pressure: the socket is not read meanwhile.
    pub(super) async fn grow(&mut self, bytes: usize) {
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let more = wanted.min(self.room.kib_max).saturating_sub(self.kib);
        if more == 0 || self.beyond.is_some() {
            return;
        }
        // The semaphores are never closed.
        let permit = tokio::select! {
            biased;
            permit = self.room.kib.acquire_many(more) => permit,
            beyond = self.room.beyond.acquire(), if self.held.is_some() => {
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
