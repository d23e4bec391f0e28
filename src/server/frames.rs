//! Reading frames from a socket into one buffer that is used again, so that a batch is stamped and written where it was read.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::time::Instant;

use super::room::FrameRoom;
use crate::protocol::frame::{FrameTooLarge, LENGTH_BYTES, body_bytes};

/// Bytes that are read ahead: many small requests cost one system call.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// Growth of the buffer before the bytes have arrived.
const FIRST_GROWTH_BYTES: usize = 64 << 10;
/// Buffers larger than this are given back after a frame.
const KEPT_BUFFER_BYTES: usize = 16 << 20;
/// Longest time from a frame's first byte to its last.
const FRAME_WAIT_MAX: Duration = Duration::from_mins(1);

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
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_AHEAD_BYTES, stream),
            body: Vec::new(),
        }
    }

    /// Returns whether nothing was read ahead: the peer waits for an answer, or is slow.
    pub(super) fn is_drained(&self) -> bool {
        self.stream.buffer().is_empty()
    }

    /// Reads the length of the next frame. May be dropped before it ends without losing anything but whole frames.
    pub(super) async fn next_length(&mut self, bytes_max: u32) -> Result<u32, FrameEnd> {
        let mut length = [0; LENGTH_BYTES];
        let first = self.stream.read_u8().await?;
        if let Some((place, rest)) = length.split_first_mut() {
            *place = first;
            let read = tokio::time::timeout(FRAME_WAIT_MAX, self.stream.read_exact(rest)).await;
            read.ok().ok_or(FrameEnd::TooSlow)??;
        }
        let bytes = body_bytes(&length, bytes_max).map_err(FrameEnd::TooLarge)?;
        bytes.ok_or(FrameEnd::Closed)
    }

    /// Reads a body of this length. The buffer grows with what arrives, never with what was announced.
    pub(super) async fn body(
        &mut self,
        length: u32,
        room: &mut FrameRoom<'_>,
    ) -> Result<&mut [u8], FrameEnd> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        self.body.clear();
        self.body.shrink_to(KEPT_BUFFER_BYTES);
        let mut left = FRAME_WAIT_MAX;
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
