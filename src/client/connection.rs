//! One connection: requests are sent as they come, answers belong to them in the same order.
//!
//! One task owns the socket and drives both directions, so that no answer waits behind a request that the broker does not
//! take yet. What ends the connection (the peer, an answer that does not belong, a wait that ran out) is told to every
//! request that was waiting.
//!
//! Invariant: a request is in the line of those that wait before its first byte is sent. At most `in_flight_max` requests
//! are in that line or on their way to it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::ClientError;
use super::options::{ANSWER_BYTES_MAX, ClientOptions};
use crate::protocol::api_key::{API_VERSION, ApiKey};
use crate::protocol::frame::{self, FrameTooLarge, LENGTH_BYTES, Request, RequestHeader};
use crate::protocol::handshake::{HandshakeAnswer, HandshakeRequest, PROTOCOL_VERSION};
use crate::protocol::limits::FRAME_BYTES_BEFORE_HANDSHAKE;

/// Parts that one write call takes.
const PARTS_PER_WRITE: usize = 64;
/// Bytes that are read at once when nothing is known of the next frame.
const READ_BYTES: usize = 64 << 10;

/// A connection whose handshake was accepted. Clones share it; it ends with the last of them and of their answers.
#[derive(Debug, Clone)]
pub struct Connection {
    line: Arc<Line>,
    terms: HandshakeAnswer,
}

impl Connection {
    /// Connects over TCP.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; [`ClientError::TimedOut`]; [`ClientError::Refused`] by the handshake.
    pub async fn open(options: &ClientOptions) -> Result<Self, ClientError> {
        let connecting = async {
            let stream = TcpStream::connect(options.addr.as_ref()).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let connected = timeout(options.connect_wait, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|source: io::Error| ClientError::Connect {
            addr: options.addr.clone(),
            source: Arc::new(source),
        })?;
        Self::over(stream, options).await
    }

    /// Shakes hands over a stream that is connected.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`]; [`ClientError::Disconnected`]; [`ClientError::Refused`] by the handshake.
    pub async fn over<S>(stream: S, options: &ClientOptions) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let line = Line::start(stream, options);
        let request = HandshakeRequest {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            client_name: options.client_name.clone(),
            token: options.token.clone(),
        };
        let pending = line
            .submit(&request, FRAME_BYTES_BEFORE_HANDSHAKE, options.connect_wait)
            .await?;
        let terms = pending.answer().await?;
        Ok(Self { line, terms })
    }

    /// Returns what the broker said in its handshake.
    #[must_use]
    pub fn terms(&self) -> &HandshakeAnswer {
        &self.terms
    }

    /// Returns whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.line.state.lock().ended.is_some()
    }

    /// Puts a request in the line. Requests are sent in the order in which this returns; `broker_wait` is how long the
    /// request asks the broker to wait.
    ///
    /// # Errors
    /// [`ClientError::Encode`], [`ClientError::TooLarge`]; what ended the connection, if it has ended.
    pub async fn submit<R: Request>(
        &self,
        request: &R,
        broker_wait: Duration,
    ) -> Result<PendingAnswer<R::Answer>, ClientError> {
        let wait = self.line.answer_wait.saturating_add(broker_wait);
        self.line
            .submit(request, self.terms.frame_bytes_max, wait)
            .await
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As [`Connection::submit`] and [`PendingAnswer::wait`].
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        self.submit(request, Duration::ZERO).await?.answer().await
    }
}

/// An answer that is to come. Dropping it does not take the request back.
#[derive(Debug)]
pub struct PendingAnswer<T> {
    receiver: oneshot::Receiver<Result<Bytes, ClientError>>,
    line: Arc<Line>,
    api: &'static str,
    wait: Duration,
    deadline: Instant,
    answer: PhantomData<fn() -> T>,
}

impl<T: crate::protocol::cursor::Wire> PendingAnswer<T> {
    /// Waits for the answer. May be dropped and called again, but not after it returned.
    ///
    /// # Errors
    /// [`ClientError::Refused`], [`ClientError::Decode`], [`ClientError::TimedOut`] (the connection ends then, because
    /// all answers behind this one wait as well), [`ClientError::Disconnected`].
    pub async fn wait(&mut self) -> Result<T, ClientError> {
        let body = match timeout_at(self.deadline, &mut self.receiver).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(self.line.disconnected(None)),
            Err(_) => {
                let error = ClientError::TimedOut {
                    addr: self.line.addr.clone(),
                    api: self.api,
                    ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
                };
                self.line.end(&error);
                return Err(error);
            }
        };
        let api = self.api;
        let (_, answer) =
            frame::decode_answer(&body).map_err(|source| ClientError::Decode { api, source })?;
        answer.map_err(|refusal| ClientError::Refused { api, refusal })
    }

    /// Waits for the answer, once.
    ///
    /// # Errors
    /// As [`PendingAnswer::wait`].
    pub async fn answer(mut self) -> Result<T, ClientError> {
        self.wait().await
    }
}

/// The line of requests, shared by those who send and the task that owns the socket.
#[derive(Debug)]
struct Line {
    addr: Arc<str>,
    answer_wait: Duration,
    requests: mpsc::Sender<Outgoing>,
    permits: Arc<Semaphore>,
    next_id: AtomicU32,
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    ended: Option<ClientError>,
}

#[derive(Debug)]
struct Outgoing {
    parts: Vec<Bytes>,
    waiting: Waiting,
}

#[derive(Debug)]
struct Waiting {
    correlation_id: u32,
    answer: oneshot::Sender<Result<Bytes, ClientError>>,
    _permit: OwnedSemaphorePermit,
}

impl Line {
    fn start<S>(stream: S, options: &ClientOptions) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let in_flight_max = options.in_flight_max.max(1);
        let (requests, outgoing) = mpsc::channel(in_flight_max);
        let state = Arc::new(Mutex::new(State::default()));
        let ended = Arc::new(Notify::new());
        let driver = Driver {
            addr: options.addr.clone(),
            state: state.clone(),
            ended: ended.clone(),
        };
        tokio::spawn(driver.run(stream, outgoing));
        Arc::new(Self {
            addr: options.addr.clone(),
            answer_wait: options.answer_wait,
            requests,
            permits: Arc::new(Semaphore::new(in_flight_max)),
            next_id: AtomicU32::new(1),
            state,
            ended,
        })
    }

    async fn submit<R: Request>(
        self: &Arc<Self>,
        request: &R,
        frame_bytes_max: u32,
        wait: Duration,
    ) -> Result<PendingAnswer<R::Answer>, ClientError> {
        let api = R::KEY.name();
        let correlation_id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let parts = encode(request, R::KEY, correlation_id, frame_bytes_max)?;
        let Ok(permit) = self.permits.clone().acquire_owned().await else {
            return Err(self.why_ended());
        };
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting {
            correlation_id,
            answer,
            _permit: permit,
        };
        // The channel has room for every permit, so this waits for nothing.
        if self
            .requests
            .send(Outgoing { parts, waiting })
            .await
            .is_err()
        {
            return Err(self.why_ended());
        }
        Ok(PendingAnswer {
            receiver,
            line: self.clone(),
            api,
            wait,
            deadline: Instant::now() + wait,
            answer: PhantomData,
        })
    }

    /// Ends the connection: the driver stops and tells all who wait.
    fn end(&self, why: &ClientError) {
        self.state.lock().ended.get_or_insert_with(|| why.clone());
        self.ended.notify_one();
    }

    fn why_ended(&self) -> ClientError {
        let ended = self.state.lock().ended.clone();
        ended.unwrap_or_else(|| self.disconnected(None))
    }

    fn disconnected(&self, source: Option<io::Error>) -> ClientError {
        ClientError::Disconnected {
            addr: self.addr.clone(),
            source: source.map(Arc::new),
        }
    }
}

fn encode<R: Request>(
    request: &R,
    key: ApiKey,
    correlation_id: u32,
    bytes_max: u32,
) -> Result<Vec<Bytes>, ClientError> {
    let api = key.name();
    let header = RequestHeader {
        api_key: key.number(),
        api_version: API_VERSION,
        correlation_id,
    };
    let parts = frame::encode_request(header, |writer| request.write(writer))
        .map_err(|source| ClientError::Encode { api, source })?;
    let bytes = parts.iter().map(Bytes::len).sum::<usize>();
    let bytes = u32::try_from(bytes.saturating_sub(LENGTH_BYTES)).unwrap_or(u32::MAX);
    if bytes > bytes_max {
        let source = FrameTooLarge { bytes, bytes_max };
        return Err(ClientError::TooLarge { api, source });
    }
    Ok(parts)
}

/// Owns the socket.
struct Driver {
    addr: Arc<str>,
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
}

impl Driver {
    async fn run<S>(self, stream: S, mut outgoing: mpsc::Receiver<Outgoing>)
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
            let length = frame::body_bytes(buffer, ANSWER_BYTES_MAX).map_err(|source| {
                ClientError::TooLarge {
                    api: "an answer",
                    source,
                }
            })?;
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

    fn disconnected(&self, source: Option<io::Error>) -> ClientError {
        ClientError::Disconnected {
            addr: self.addr.clone(),
            source: source.map(Arc::new),
        }
    }
}

/// Bytes to be written, in parts.
#[derive(Debug, Default)]
struct Parts(VecDeque<Bytes>);

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
