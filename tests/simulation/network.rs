//! Connections in memory: slow, cut at any byte in either direction, or silent from then on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Sleep;

use crate::chance::Chance;

const BUFFER_BYTES: usize = 1 << 16;
/// Bytes that one read takes at most.
const PIECE_BYTES: usize = 4096;

/// What becomes of a connection when its bytes have been used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Cut,
    Silence,
}

/// The client's end of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    /// `None` once it is cut.
    stream: Option<DuplexStream>,
    chance: Chance,
    bytes_left: u64,
    end: End,
    delay: Option<Pin<Box<Sleep>>>,
    is_calm: bool,
}

/// Makes a connection; with `is_calm` nothing happens to it.
pub(crate) fn wire(mut chance: Chance, is_calm: bool) -> (Wire, DuplexStream) {
    let (client, broker) = tokio::io::duplex(BUFFER_BYTES);
    let bytes_left = match chance.below(8) {
        0 if !is_calm => chance.below(400),
        1 if !is_calm => chance.below(8_000),
        _ => u64::MAX,
    };
    let end = if chance.one_in(4) {
        End::Silence
    } else {
        End::Cut
    };
    let wire = Wire {
        stream: Some(client),
        chance,
        bytes_left,
        end,
        delay: None,
        is_calm,
    };
    (wire, broker)
}

impl Wire {
    /// Waits as long as the network does.
    fn delayed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.delay.is_none() && !self.is_calm && self.chance.one_in(6) {
            let time = self.chance.ms(0, 20);
            self.delay = Some(Box::pin(tokio::time::sleep(time)));
        }
        if let Some(delay) = &mut self.delay {
            std::task::ready!(delay.as_mut().poll(context));
            self.delay = None;
        }
        Poll::Ready(())
    }

    /// Returns how many of so many bytes still pass; `None` when the connection has ended.
    fn passing(&mut self, wanted: usize) -> Option<usize> {
        if self.bytes_left == 0 {
            if self.end == End::Cut {
                self.stream = None;
            }
            return None;
        }
        Some(usize::try_from(self.bytes_left).unwrap().min(wanted))
    }

    fn ended<T>(&self, value: io::Result<T>) -> Poll<io::Result<T>> {
        match self.stream {
            // Nobody ever wakes this: who waits has a time limit of its own.
            Some(_) => Poll::Pending,
            None => Poll::Ready(value),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.delayed(context));
        let mut space = [0; PIECE_BYTES];
        let Some(passing) = self.passing(buffer.remaining().min(PIECE_BYTES)) else {
            return self.ended(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let mut part = ReadBuf::new(&mut space[..passing]);
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        std::task::ready!(Pin::new(stream).poll_read(context, &mut part))?;
        buffer.put_slice(part.filled());
        let count = part.filled().len();
        self.bytes_left -= count as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.delayed(context));
        let Some(passing) = self.passing(bytes.len()) else {
            return self.ended(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let count = std::task::ready!(Pin::new(stream).poll_write(context, &bytes[..passing]))?;
        self.bytes_left -= count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.as_mut() {
            Some(stream) => Pin::new(stream).poll_flush(context),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.as_mut() {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}
