//! One connection to a destination, driven by the attempt that uses it.
//!
//! No task stands between an attempt and its socket: what arrives wakes the attempt, and an attempt that is given up closes its
//! connection with itself.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::delivery::guard::GuardedStream;

/// Largest head of an answer, and largest piece of a body in memory, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Headers of an answer. It is hyper's default, and not set: for a number that is set, hyper allocates the places of the headers
/// anew for each answer.
pub(super) const HEADER_COUNT_MAX: usize = 100;

/// A connection. It is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` when it has come to its end.
    connection: Option<Connection<TokioIo<GuardedStream>, Full<Bytes>>>,
}

impl Link {
    /// Begins to speak HTTP over a connection.
    pub(super) async fn new(stream: GuardedStream) -> hyper::Result<Self> {
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            sender,
            connection: Some(connection),
        })
    }

    /// Returns whether a request can be sent: the one before has been answered whole, and the other side has not closed.
    pub(super) async fn is_idle(&mut self) -> bool {
        poll_fn(|cx| {
            self.poll_connection(cx);
            Poll::Ready(self.connection.is_some() && self.sender.is_ready())
        })
        .await
    }

    /// Returns whether the answer was read whole, so that the next request can be sent. What the other side has done since is
    /// seen when the connection is taken.
    pub(super) async fn is_done(&mut self) -> bool {
        (self.connection.is_some() && self.sender.is_ready()) || self.is_idle().await
    }

    /// Sends a request, and waits for the head of its answer. An error that holds the request has not sent any of it.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let answer = self.sender.try_send_request(request);
        self.drive(answer).await
    }

    /// Reads the next piece of an answer's body; `None` at its end.
    pub(super) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        self.drive(body.frame()).await
    }

    /// Drives the connection until something that depends on it is done.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.poll_connection(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Why a connection has ended is told to whoever waits for its answer.
    fn poll_connection(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None;
        }
    }
}
