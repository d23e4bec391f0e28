//! The requests of a connection on their way: those that wait to be sent and those that wait for their answers.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::driver::Driver;
use super::low_water::LowWater;
use super::pending::PendingAnswer;
use crate::client::error::ClientError;
use crate::client::options::ClientOptions;
use crate::protocol::api_key::ApiKey;
use crate::protocol::frame::{self, FrameTooLarge, LENGTH_BYTES, Request, RequestHeader};

/// The line of requests, shared by those who send and the task that owns the socket.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) addr: Arc<str>,
    pub(super) answer_wait: Duration,
    requests: mpsc::Sender<Outgoing>,
    permits: Arc<Semaphore>,
    next_id: AtomicU32,
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) ended: Option<ClientError>,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) parts: Vec<Bytes>,
    pub(super) waiting: Waiting,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) correlation_id: u32,
    pub(super) answer: oneshot::Sender<Result<Bytes, ClientError>>,
    _permit: OwnedSemaphorePermit,
}

impl Line {
    pub(super) fn start<R, W>(halves: (R, W), options: &ClientOptions) -> Arc<Self>
    where
        R: AsyncRead + LowWater + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
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
        tokio::spawn(driver.run(halves, outgoing));
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

    pub(super) async fn submit<R: Request>(
        self: &Arc<Self>,
        request: &R,
        frame_bytes_max: u32,
        wait: Duration,
    ) -> Result<PendingAnswer<R::Answer>, ClientError> {
        let doing = R::KEY.doing();
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
            doing,
            wait,
            deadline: Instant::now() + wait,
            answer: PhantomData,
        })
    }

    /// Returns whether the connection has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// Ends the connection: the driver stops and tells all who wait.
    pub(super) fn end(&self, why: &ClientError) {
        self.state.lock().ended.get_or_insert_with(|| why.clone());
        self.ended.notify_one();
    }

    fn why_ended(&self) -> ClientError {
        let ended = self.state.lock().ended.clone();
        ended.unwrap_or_else(|| self.disconnected(None))
    }

    pub(super) fn disconnected(&self, source: Option<io::Error>) -> ClientError {
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
    let doing = key.doing();
    let header = RequestHeader {
        api_key: key.number(),
        api_version: key.version(),
        correlation_id,
    };
    let parts = frame::encode_request(header, |writer| request.write(writer))
        .map_err(|source| ClientError::Encode { doing, source })?;
    let bytes = parts.iter().map(Bytes::len).sum::<usize>();
    let bytes = u32::try_from(bytes.saturating_sub(LENGTH_BYTES)).unwrap_or(u32::MAX);
    if bytes > bytes_max {
        let source = FrameTooLarge { bytes, bytes_max };
        return Err(ClientError::TooLarge { doing, source });
    }
    Ok(parts)
}
