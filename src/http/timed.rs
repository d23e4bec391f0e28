//! A connection whose peer has so much time to take what is written: an answer that nobody reads must not keep its place.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The connection. The time begins anew with everything that the peer takes.
#[derive(Debug)]
pub(super) struct TimedWrites<S> {
    stream: S,
    wait_max: Duration,
    /// Runs while a write waits for the peer.
    waiting: Option<Pin<Box<Sleep>>>,
    is_stuck: IsStuck,
}

/// Whether a write waits for the peer, for whoever has given the connection away.
#[derive(Debug, Clone, Default)]
pub(super) struct IsStuck(Arc<AtomicBool>);

impl IsStuck {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> TimedWrites<S> {
    pub(super) fn new(stream: S, wait_max: Duration) -> Self {
        Self {
            stream,
            wait_max,
            waiting: None,
            is_stuck: IsStuck::default(),
        }
    }

    pub(super) fn is_stuck(&self) -> IsStuck {
        self.is_stuck.clone()
    }

    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.is_stuck
            .0
            .store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let wait_max = self.wait_max;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(wait_max)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedWrites<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedWrites<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.within(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;
    use crate::protocol::parts::Parts;

    const WAIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_left_and_who_is_slow_is_not() {
        let (mut peer, stream) = tokio::io::duplex(16);
        let mut timed = TimedWrites::new(stream, WAIT);
        let slow = tokio::spawn(async move {
            for _ in 0..64 {
                sleep(WAIT / 2).await;
                peer.read_u8().await.unwrap();
            }
            peer
        });
        timed.write_all(&[7; 64]).await.unwrap();
        let _peer = slow.await.unwrap();
        let began = Instant::now();
        let error = timed.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), WAIT);
    }

    #[tokio::test]
    async fn a_short_write_of_many_parts_goes_on_where_it_stopped() {
        let (mut peer, stream) = tokio::io::duplex(16);
        let mut timed = TimedWrites::new(stream, WAIT);
        assert!(timed.is_write_vectored());
        let frame: Vec<bytes::Bytes> = (0..100u8).map(|n| vec![n; 7].into()).collect();
        let whole = frame.concat();
        let mut parts = Parts::default();
        parts.extend(frame);
        let reader = tokio::spawn(async move {
            let mut found = vec![0; 700];
            peer.read_exact(&mut found).await.unwrap();
            found
        });
        timed.write_all_buf(&mut parts).await.unwrap();
        // Whoever waits for more sees the end.
        drop(timed);
        assert_eq!(reader.await.unwrap(), whole);
    }
}
