//! Reading frames from a socket into one buffer that is used again, so that a batch is stamped and written where it was read.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::Instant;

use crate::protocol::frame::{FrameTooLarge, LENGTH_BYTES, body_bytes};
use crate::request_room::HeldRoom;

/// Bytes that are read ahead: many small requests cost one system call.
const READ_AHEAD_BYTES: usize = 16 << 10;
/// Growth of the buffer before the bytes have arrived.
const FIRST_GROWTH_BYTES: usize = 64 << 10;
/// Buffers larger than this are given back after a frame.
const KEPT_BUFFER_BYTES: usize = 16 << 20;
/// Buffers larger than this are given back when no frame comes for a while.
const IDLE_BUFFER_BYTES: usize = 64 << 10;
/// How long that is.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Longest time that a peer has to notice the last answer and to close.
const DISCARD_WAIT_MAX: Duration = Duration::from_secs(1);

/// Why there is no next frame.
#[derive(Debug)]
pub(super) enum FrameEnd {
    /// The peer closed the connection, or broke it.
    Closed,
    /// The peer announced a frame that is too large.
    TooLarge(FrameTooLarge),
    /// The peer did not send the rest of a frame in time.
    TooSlow,
}

impl From<io::Error> for FrameEnd {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// The reading half of a connection.
#[derive(Debug)]
pub(super) struct Frames<R> {
    stream: BufReader<R>,
    body: Vec<u8>,
    /// Longest time from a frame's first byte to its last.
    wait_max: Duration,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(stream: R, wait_max: Duration) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_AHEAD_BYTES, stream),
            body: Vec::new(),
            wait_max,
        }
    }

    /// Returns whether nothing was read ahead: the peer waits for an answer, or is slow.
    pub(super) fn is_drained(&self) -> bool {
        self.stream.buffer().is_empty()
    }

    /// Reads the length of the next frame. May be dropped before it ends without losing anything but whole frames.
    pub(super) async fn next_length(&mut self, bytes_max: u32) -> Result<u32, FrameEnd> {
        if self.stream.buffer().is_empty() && self.body.capacity() > IDLE_BUFFER_BYTES {
            let arrived = tokio::time::timeout(IDLE_WAIT, self.stream.fill_buf()).await;
            if arrived.is_err() {
                self.body = Vec::new();
            }
        }
        let mut length = [0; LENGTH_BYTES];
        let first = self.stream.read_u8().await?;
        if let Some((place, rest)) = length.split_first_mut() {
            *place = first;
            let read = tokio::time::timeout(self.wait_max, self.stream.read_exact(rest)).await;
            read.ok().ok_or(FrameEnd::TooSlow)??;
        }
        let bytes = body_bytes(&length, bytes_max).map_err(FrameEnd::TooLarge)?;
        bytes.ok_or(FrameEnd::Closed)
    }

    /// Gives back what the buffer holds above `kept_bytes`, after a request.
    pub(super) fn release(&mut self, kept_bytes: usize) {
        self.body.clear();
        self.body.shrink_to(kept_bytes.min(KEPT_BUFFER_BYTES));
    }

    /// Reads a body of this length. The buffer grows with what arrives, never with what was announced.
    pub(super) async fn body(
        &mut self,
        length: u32,
        room: &mut HeldRoom,
    ) -> Result<&mut [u8], FrameEnd> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        self.body.clear();
        self.body.shrink_to(KEPT_BUFFER_BYTES);
        let mut left = self.wait_max;
        while self.body.len() < wanted {
            let missing = wanted.saturating_sub(self.body.len());
            let growth = missing.min(self.body.len().max(FIRST_GROWTH_BYTES));
            // The wait for room is the broker's, not the peer's.
            room.grow(self.body.len().saturating_add(growth)).await;
            self.body.reserve(growth);
            let limit = u64::try_from(growth).unwrap_or(u64::MAX);
            let mut limited = (&mut self.stream).take(limit);
            let begun = Instant::now();
            let read = tokio::time::timeout(left, limited.read_buf(&mut self.body)).await;
            if read.ok().ok_or(FrameEnd::TooSlow)?? == 0 {
                return Err(FrameEnd::Closed);
            }
            left = left.saturating_sub(begun.elapsed());
        }
        Ok(&mut self.body)
    }

    /// Reads what the peer still sends, for a moment, after the last answer: a socket that is closed over unread bytes is
    /// reset, and the reset may overtake the answer.
    pub(super) async fn discard(&mut self) {
        let mut sink = tokio::io::sink();
        let rest = tokio::io::copy(&mut self.stream, &mut sink);
        tokio::time::timeout(DISCARD_WAIT_MAX, rest).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::request_room::RequestRoom;

    fn room() -> HeldRoom {
        RequestRoom::new(64 << 20).request()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_keeps_no_large_buffer_and_loses_no_byte() {
        let (mut peer, stream) = tokio::io::duplex(4 << 20);
        let mut frames = Frames::new(stream, Duration::from_mins(1));
        peer.write_all(&(1_u32 << 20).to_be_bytes()).await.unwrap();
        peer.write_all(&vec![7; 1 << 20]).await.unwrap();
        let length = frames.next_length(2 << 20).await.unwrap();
        assert_eq!(
            frames.body(length, &mut room()).await.unwrap().len(),
            1 << 20
        );
        let idle = tokio::time::timeout(IDLE_WAIT * 2, frames.next_length(2 << 20)).await;
        assert!(idle.is_err());
        assert_eq!(frames.body.capacity(), 0);
        peer.write_all(&[0, 0, 0, 2, 8, 9]).await.unwrap();
        let length = frames.next_length(2 << 20).await.unwrap();
        assert_eq!(frames.body(length, &mut room()).await.unwrap(), [8, 9]);
    }

    #[tokio::test]
    async fn a_request_gives_back_what_is_above_the_share() {
        let (mut peer, stream) = tokio::io::duplex(4 << 20);
        let mut frames = Frames::new(stream, Duration::from_mins(1));
        peer.write_all(&vec![7; 1 << 20]).await.unwrap();
        frames.body(1 << 20, &mut room()).await.unwrap();
        frames.release(128 << 10);
        assert!(frames.body.capacity() <= 128 << 10);
    }
}
