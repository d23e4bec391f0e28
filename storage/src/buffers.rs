//! Buffers that are used again. Memory that is new to the process costs a fault for each page and its clearing, which is more
//! than filling it from the page cache.
//!
//! Invariant: the buffers that nobody uses are none of more than `each_max` bytes, and have at most `bytes_max` together. None is kept
//! that has not been wanted between two calls of [`Buffers::rest`].

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// A store of buffers, shared by all who take from it.
#[derive(Debug)]
pub struct Buffers {
    free: Mutex<Free>,
    bytes_max: usize,
    /// Of one buffer.
    each_max: usize,
}

#[derive(Debug, Default)]
struct Free {
    /// The one given back last stands at the end.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// Buffers at the front that were not taken since the last rest.
    idle_count: usize,
}

impl Buffers {
    /// Makes a store that keeps at most `bytes_max` bytes that nobody uses.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Self::of_size(bytes_max, bytes_max)
    }

    /// As [`Buffers::new`], and keeps none of more than `each_max` bytes: whoever reads a little may be lent the largest one, and holds
    /// all of it.
    #[must_use]
    pub fn of_size(each_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::default(),
            bytes_max,
            each_max,
        })
    }

    /// Returns the buffer that was given back last, which the processor is most likely to remember; a new one when there is
    /// none. What it holds means nothing.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        let mut free = self.free.lock();
        let buffer = free.buffers.pop().unwrap_or_default();
        free.bytes = free.bytes.saturating_sub(buffer.capacity());
        free.idle_count = free.idle_count.min(free.buffers.len());
        buffer
    }

    /// Makes the first `count` bytes of a buffer ones that anybody may hold; it comes back here when nobody does any more.
    #[must_use]
    pub fn lend(self: &Arc<Self>, buffer: Vec<u8>, count: usize) -> Bytes {
        if count == 0 {
            self.give_back(buffer);
            return Bytes::new();
        }
        Bytes::from_owner(Lent {
            buffer,
            count,
            home: Arc::clone(self),
        })
    }

    /// Lets go of the buffers that nobody has wanted since the last call.
    pub fn rest(&self) {
        let mut free = self.free.lock();
        let idle_count = free.idle_count;
        let gone: Vec<_> = free.buffers.drain(..idle_count).collect();
        let bytes: usize = gone.iter().map(Vec::capacity).sum();
        free.bytes = free.bytes.saturating_sub(bytes);
        free.idle_count = free.buffers.len();
        // Unmapping takes its time, and others wait for the lock.
        drop(free);
        drop(gone);
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock();
        let bytes = free.bytes.saturating_add(buffer.capacity());
        let is_of_use = (1..=self.each_max).contains(&buffer.capacity());
        if is_of_use && bytes <= self.bytes_max {
            free.bytes = bytes;
            free.buffers.push(buffer);
        }
    }
}

/// A buffer that somebody reads.
struct Lent {
    buffer: Vec<u8>,
    count: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.count).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_bytes_of_it_go() {
        let buffers = Buffers::new(1000);
        let mut bytes = buffers.lend(vec![7; 100], 60);
        assert_eq!(bytes, vec![7; 60]);
        let rest = bytes.split_off(50);
        drop(bytes);
        assert_eq!(buffers.take().capacity(), 0);
        drop(rest);
        assert_eq!(buffers.take(), vec![7; 100]);
        assert_eq!(buffers.take().capacity(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let buffers = Buffers::new(100);
        let lent: Vec<_> = (0..5).map(|_| buffers.lend(vec![0; 40], 1)).collect();
        drop(lent);
        assert_eq!(buffers.free.lock().buffers.len(), 2);
        assert_eq!(buffers.free.lock().bytes, 80);
    }

    #[test]
    fn a_buffer_that_is_too_large_is_not_kept() {
        let buffers = Buffers::of_size(40, 100);
        let lent: Vec<_> = [40, 41].map(|size| buffers.lend(vec![0; size], 1)).into();
        drop(lent);
        assert_eq!(buffers.take().capacity(), 40);
        assert_eq!(buffers.take().capacity(), 0);
    }

    #[test]
    fn a_rest_keeps_only_what_was_wanted_since_the_last_one() {
        let buffers = Buffers::new(100);
        let lent: Vec<_> = (0..3).map(|_| buffers.lend(vec![0; 20], 1)).collect();
        drop(lent);
        buffers.rest();
        assert_eq!(
            buffers.free.lock().buffers.len(),
            3,
            "they were used just now"
        );
        drop(buffers.lend(buffers.take(), 1));
        buffers.rest();
        assert_eq!(buffers.free.lock().buffers.len(), 1);
        buffers.rest();
        assert_eq!(buffers.free.lock().buffers.len(), 0);
        assert_eq!(buffers.free.lock().bytes, 0);
    }
}
