//! The task that owns the socket: writes requests in the order of their line, hands answers to those who wait for them.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::line::{Outgoing, State};
use super::parts::Parts;
use crate::client::error::ClientError;
use crate::limits::FRAME_BYTES_MAX;
use crate::protocol::frame::{self, FrameTooLarge, LENGTH_BYTES};

/// Parts that one write call takes.
const PARTS_PER_WRITE: usize = 64;
/// Bytes that are read at once when nothing is known of the next frame.
const READ_BYTES: usize = 64 << 10;

/// Owns the socket.
pub(super) struct Driver {
    pub(super) addr: Arc<str>,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) ended: Arc<Notify>,
}

impl Driver {
    pub(super) async fn run<S>(self, stream: S, mut outgoing: mpsc::Receiver<Outgoing>)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        let why = tokio::select! {
            error = self.read(reader) => error,
            result = self.write(writer, &mut outgoing) => self.disconnected(result.err()),
            () = self.ended.notified() => self.disconnected(None),
        };
        let (why, waiting) = {
            let mut state = self.state.lock();
            let why = state.ended.get_or_insert(why).clone();
            (why, std::mem::take(&mut state.waiting))
        };
        outgoing.close();
        for waiting in waiting {
            drop(waiting.answer.send(Err(why.clone())));
        }
        while let Some(Outgoing { waiting, .. }) = outgoing.recv().await {
            drop(waiting.answer.send(Err(why.clone())));
        }
    }

    async fn write<W: AsyncWrite + Unpin>(
        &self,
        mut writer: W,
        outgoing: &mut mpsc::Receiver<Outgoing>,
    ) -> io::Result<()> {
        let mut parts = Parts::default();
        while let Some(first) = outgoing.recv().await {
            self.enqueue(first, &mut parts);
            while parts.0.len() < PARTS_PER_WRITE
                && let Ok(next) = outgoing.try_recv()
            {
                self.enqueue(next, &mut parts);
            }
            writer.write_all_buf(&mut parts).await?;
            writer.flush().await?;
        }
        writer.shutdown().await
    }

    fn enqueue(&self, outgoing: Outgoing, parts: &mut Parts) {
        self.state.lock().waiting.push_back(outgoing.waiting);
        parts.0.extend(outgoing.parts);
    }

    async fn read<R: AsyncRead + Unpin>(&self, mut reader: R) -> ClientError {
        let mut buffer = BytesMut::new();
        loop {
            let missing = match self.answer_all(&mut buffer) {
                Ok(missing) => missing,
                Err(error) => return error,
            };
            // The buffer grows by what has arrived, not by what is announced.
            let arrived = buffer.len().saturating_mul(3).saturating_add(READ_BYTES);
            buffer.reserve(missing.min(arrived));
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return self.disconnected(None),
                Ok(_) => {}
                Err(error) => return self.disconnected(Some(error)),
            }
        }
    }

    /// Hands out the whole frames at the start of the buffer; returns how many bytes are wanted next.
    fn answer_all(&self, buffer: &mut BytesMut) -> Result<usize, ClientError> {
        loop {
            let length = frame::body_bytes(buffer, FRAME_BYTES_MAX)
                .map_err(|source| self.not_a_frame(source))?;
            let Some(length) = length else {
                return Ok(READ_BYTES);
            };
            let whole = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .saturating_add(LENGTH_BYTES);
            if buffer.len() < whole {
                return Ok(whole.saturating_sub(buffer.len()));
            }
            let mut body = buffer.split_to(whole);
            body.advance(LENGTH_BYTES);
            self.answer(body.freeze())?;
        }
    }

    fn answer(&self, body: Bytes) -> Result<(), ClientError> {
        let unexpected = |found| ClientError::Unexpected {
            addr: self.addr.clone(),
            found,
        };
        let Ok(id) = frame::answer_correlation_id(&body) else {
            return Err(unexpected("it has no correlation id"));
        };
        let Some(waiting) = self.state.lock().waiting.pop_front() else {
            return Err(unexpected("nothing was asked"));
        };
        if waiting.correlation_id != id {
            return Err(unexpected("its correlation id is another request's"));
        }
        // Whoever asked may have gone.
        drop(waiting.answer.send(Ok(body)));
        Ok(())
    }

    /// Tells a port of another protocol from a frame that is too large: what it says is no length.
    fn not_a_frame(&self, source: FrameTooLarge) -> ClientError {
        let protocol = match source.bytes.to_be_bytes() {
            [b'H', b'T', b'T', b'P'] => "HTTP",
            // A TLS record: an alert, or a handshake, of any version.
            [0x15 | 0x16, 3, ..] => "TLS",
            _ => {
                let api = "an answer";
                return ClientError::TooLarge { api, source };
            }
        };
        ClientError::OtherProtocol {
            addr: self.addr.clone(),
            protocol,
        }
    }

    fn disconnected(&self, source: Option<io::Error>) -> ClientError {
        ClientError::Disconnected {
            addr: self.addr.clone(),
            source: source.map(Arc::new),
        }
    }
}
