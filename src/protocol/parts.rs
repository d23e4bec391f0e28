//! The bytes of frames that are being written, without joining their parts.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes to be written, in parts, none of which is empty.
#[derive(Debug, Default)]
pub struct Parts(VecDeque<Bytes>);

impl Parts {
    /// Returns how many parts are left.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts the parts of a frame behind what is there.
    pub fn extend(&mut self, frame: Vec<Bytes>) {
        let parts = frame.into_iter().filter(|part| !part.is_empty());
        self.0.extend(parts);
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |part| part.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.0) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.0.front_mut() {
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.0.pop_front();
        }
        assert_eq!(count, 0, "more was written than there was");
    }
}
