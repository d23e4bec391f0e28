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
use super::low_water::{LowWater, Mark};
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
    pub(super) async fn run<R, W>(
        self,
        (reader, writer): (R, W),
        mut outgoing: mpsc::Receiver<Outgoing>,
    ) where
        R: AsyncRead + LowWater + Unpin,
        W: AsyncWrite + Unpin,
    {
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

    async fn read<R: AsyncRead + LowWater + Unpin>(&self, reader: R) -> ClientError {
        let mut reader = BufReader::with_capacity(READ_AHEAD_BYTES, reader);
        let mut mark = Mark::new();
        let buffers = Buffers::new(READ_BUFFERS_BYTES_MAX);
        loop {
            let answered = match self.next_body(&mut reader, &mut mark, &buffers).await {
                Ok(body) => self.answer(body),
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                return error;
            }
        }
    }

    /// Reads the next frame.
    async fn next_body<R: AsyncRead + LowWater + Unpin>(
        &self,
        reader: &mut BufReader<R>,
        mark: &mut Mark,
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
            mark.wait_for(missing, reader.get_ref()).map_err(ended)?;
            let limit = u64::try_from(missing).unwrap_or(u64::MAX);
            let mut limited = (&mut *reader).take(limit);
            if limited.read_buf(&mut body).await.map_err(ended)? == 0 {
                return Err(self.disconnected(None));
            }
        }
        mark.wait_for(0, reader.get_ref()).map_err(ended)?;
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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    /// Long enough for any machine; only a reader that sleeps for ever takes it.
    const EVER: std::time::Duration = std::time::Duration::from_mins(1);

    #[tokio::test]
    async fn an_answer_is_complete_with_its_last_byte_whatever_its_size_and_the_one_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let driver = Driver {
            addr: "a:1".into(),
            state: Arc::default(),
            ended: Arc::default(),
        };
        let (reader, _writer) = stream.into_split();
        let mut reader = BufReader::with_capacity(READ_AHEAD_BYTES, reader);
        let (mut mark, buffers) = (Mark::new(), Buffers::new(READ_BUFFERS_BYTES_MAX));
        for size in [
            1, 70_000, 1, 65_536, 65_537, 3_000_000, 600_000, 524_289, 12,
        ] {
            // The reader is asleep when it is sent, and nothing follows before it has come.
            let sent = async {
                let length = u32::try_from(size).unwrap().to_be_bytes();
                peer.write_all(&length).await.unwrap();
                peer.write_all(&vec![7; size]).await.unwrap();
            };
            let read = driver.next_body(&mut reader, &mut mark, &buffers);
            let both = async { tokio::join!(read, sent).0 };
            let body = timeout(EVER, both)
                .await
                .unwrap_or_else(|_| panic!("asleep at {size}"));
            assert_eq!(body.unwrap(), vec![7; size]);
        }
        // Half an answer, and the end.
        let cut = async {
            peer.write_all(&2_000_000_u32.to_be_bytes()).await.unwrap();
            peer.write_all(&[7; 1000]).await.unwrap();
            drop(peer);
        };
        let read = driver.next_body(&mut reader, &mut mark, &buffers);
        let both = async { tokio::join!(read, cut).0 };
        let error = timeout(EVER, both)
            .await
            .unwrap_or_else(|_| panic!("asleep"))
            .unwrap_err();
        assert!(
            matches!(error, ClientError::Disconnected { source: None, .. }),
            "{error}"
        );
    }
}
