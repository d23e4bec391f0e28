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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncWrite, AsyncWriteExt as _};

    use super::*;

    /// Takes at most so many bytes with each call, over the borders of slices, as a socket does whose buffer is full.
    struct Short {
        taken: Vec<u8>,
        count_max: usize,
        calls: usize,
    }

    impl AsyncWrite for Short {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            unreachable!("all parts are offered together")
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let offered = slices.iter().flat_map(|slice| slice.iter().copied());
            let before = this.taken.len();
            this.taken.extend(offered.take(this.count_max));
            this.calls += 1;
            Poll::Ready(Ok(this.taken.len() - before))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn parts_of(lengths: &[usize]) -> (Parts, Vec<u8>) {
        let mut bytes = (0..=u8::MAX).cycle();
        let frame: Vec<Bytes> = lengths
            .iter()
            .map(|length| bytes.by_ref().take(*length).collect())
            .collect();
        let whole = frame.concat();
        let mut parts = Parts::default();
        parts.extend(frame);
        (parts, whole)
    }

    #[tokio::test]
    async fn a_short_write_of_many_parts_goes_on_where_it_stopped() {
        for lengths in [
            &[1][..],
            &[3, 0, 5, 1, 1, 200, 0],
            &[64; 40],
            &[700, 1, 700],
        ] {
            for count_max in 1..=300 {
                let (mut parts, whole) = parts_of(lengths);
                assert_eq!(parts.remaining(), whole.len());
                let mut short = Short {
                    taken: Vec::new(),
                    count_max,
                    calls: 0,
                };
                short.write_all_buf(&mut parts).await.unwrap();
                assert_eq!(short.taken, whole, "{lengths:?}, {count_max} at a time");
                assert_eq!((parts.remaining(), parts.count()), (0, 0));
            }
        }
    }

    #[tokio::test]
    async fn pieces_of_many_parts_are_the_whole() {
        for piece in [1, 7, 64, 1000, 5000] {
            let (mut parts, whole) = parts_of(&[700, 1, 64, 0, 900]);
            let mut short = Short {
                taken: Vec::new(),
                count_max: 33,
                calls: 0,
            };
            while parts.has_remaining() {
                let mut next = (&mut parts).take(piece);
                short.write_all_buf(&mut next).await.unwrap();
            }
            assert_eq!(short.taken, whole, "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn parts_that_fit_are_one_call() {
        let (mut parts, whole) = parts_of(&[10; 30]);
        let mut short = Short {
            taken: Vec::new(),
            count_max: usize::MAX,
            calls: 0,
        };
        short.write_all_buf(&mut parts).await.unwrap();
        assert_eq!((short.taken, short.calls), (whole, 1));
    }
}
