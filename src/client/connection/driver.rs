//! The task that owns the socket: writes requests in the order of their line, hands answers to those who wait for them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::buffers::Buffers;
use storage::limits::READ_BUFFERS_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, mpsc};

use super::line::{Outgoing, State};
use crate::client::error::ClientError;
use crate::limits::FRAME_BYTES_MAX;
use crate::protocol::frame::{self, FrameTooLarge, LENGTH_BYTES};
use crate::protocol::parts::Parts;

/// Parts that one write call takes.
const PARTS_PER_WRITE: usize = 64;
/// Bytes that are read ahead, so that many small answers cost one system call.
const READ_AHEAD_BYTES: usize = 16 << 10;
/// Growth of a buffer before more has arrived.
const FIRST_GROWTH_BYTES: usize = 64 << 10;
/// Larger answers have buffers that are used again.
const SMALL_ANSWER_BYTES: usize = 64 << 10;

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
            while parts.count() < PARTS_PER_WRITE
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
        parts.extend(outgoing.parts);
    }

    async fn read<R: AsyncRead + Unpin>(&self, reader: R) -> ClientError {
        let mut reader = BufReader::with_capacity(READ_AHEAD_BYTES, reader);
        let buffers = Buffers::new(READ_BUFFERS_BYTES_MAX);
        loop {
            let answered = match self.next_body(&mut reader, &buffers).await {
                Ok(body) => self.answer(body),
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                return error;
            }
        }
    }

    /// Reads the next frame.
    async fn next_body<R: AsyncRead + Unpin>(
        &self,
        reader: &mut BufReader<R>,
        buffers: &Arc<Buffers>,
    ) -> Result<Bytes, ClientError> {
        let ended = |source: io::Error| {
            let is_end = source.kind() == io::ErrorKind::UnexpectedEof;
            self.disconnected((!is_end).then_some(source))
        };
        let mut length = [0; LENGTH_BYTES];
        reader.read_exact(&mut length).await.map_err(ended)?;
        let length = frame::body_bytes(&length, FRAME_BYTES_MAX)
            .map_err(|source| self.not_a_frame(source))?;
        let length = usize::try_from(length.unwrap_or_default()).unwrap_or(usize::MAX);
        let is_large = length > SMALL_ANSWER_BYTES;
        let mut body = if is_large { buffers.take() } else { Vec::new() };
        body.clear();
        while body.len() < length {
            let missing = length.saturating_sub(body.len());
            // The buffer grows by what has arrived, not by what is announced.
            let arrived = body
                .len()
                .saturating_mul(3)
                .saturating_add(FIRST_GROWTH_BYTES);
            body.reserve(missing.min(arrived));
            let limit = u64::try_from(missing).unwrap_or(u64::MAX);
            let mut limited = (&mut *reader).take(limit);
            if limited.read_buf(&mut body).await.map_err(ended)? == 0 {
                return Err(self.disconnected(None));
            }
        }
        Ok(if is_large {
            buffers.lend(body, length)
        } else {
            Bytes::from(body)
        })
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
                let doing = "reading answers";
                return ClientError::TooLarge { doing, source };
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
