//! How much must have come before a reader is woken: `SO_RCVLOWAT`, socket(7).
//!
//! A reader that keeps up with its broker sleeps between the pieces of a large answer, and the broker pays for each time that
//! it wakes it up, which costs more than the piece where processors are virtual.
//!
//! Invariant: no reader waits for more than is still to come of the answer that it reads, so that no answer is later for it.
//! The end of a connection and its errors wake it whatever the mark; lowering it below what has come wakes it (Linux 4.18).

use std::io;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::io::ReadHalf;
use tokio::net::tcp::OwnedReadHalf;

/// What a reader sleeps for at most, in bytes: with half as many nothing was gained.
const MARK_BYTES_MAX: usize = 512 << 10;
/// A reader that lacks no more than this is woken by the first byte.
const SMALL_BYTES: usize = 64 << 10;
/// The mark of a new socket.
const ANY_BYTES: usize = 1;

sockopt_impl!(
    /// Bytes from which on a socket counts as readable.
    ReceiveLowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    usize
);

/// A stream that can be told when it is to wake its reader.
pub(super) trait LowWater {
    /// Counts as readable from so many bytes on.
    fn set_low_water(&self, bytes: usize) -> io::Result<()>;
}

impl LowWater for OwnedReadHalf {
    fn set_low_water(&self, bytes: usize) -> io::Result<()> {
        setsockopt(self.as_ref(), ReceiveLowWater, &bytes).map_err(io::Error::from)
    }
}

/// Streams that are no sockets, or whose bytes are not those of their socket, wake their reader as they like.
impl<S> LowWater for ReadHalf<S> {
    fn set_low_water(&self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
}

/// What was last asked of one stream.
#[derive(Debug)]
pub(super) struct Mark {
    bytes: usize,
}

impl Mark {
    /// The mark of a stream that was not told anything.
    pub(super) fn new() -> Self {
        Self { bytes: ANY_BYTES }
    }

    /// Sees to it that whoever waits now for so many bytes of an answer is woken when all of them or many have come, and who
    /// waits for few or for none of an answer, by the first. Where a mark cannot be raised, the reader is woken too often.
    ///
    /// # Errors
    /// That of lowering the mark: a reader that went to sleep behind a high one might never be woken.
    pub(super) fn wait_for<R: LowWater>(&mut self, to_come: usize, stream: &R) -> io::Result<()> {
        let bytes = mark_bytes(to_come);
        if self.bytes == bytes {
            return Ok(());
        }
        match stream.set_low_water(bytes) {
            Ok(()) => self.bytes = bytes,
            Err(error) if bytes < self.bytes => return Err(error),
            Err(_refused) => {}
        }
        Ok(())
    }
}

fn mark_bytes(to_come: usize) -> usize {
    if to_come > SMALL_BYTES {
        to_come.min(MARK_BYTES_MAX)
    } else {
        ANY_BYTES
    }
}
