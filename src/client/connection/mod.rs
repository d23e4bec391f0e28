//! One connection: requests are sent as they come, answers belong to them in the same order.
//!
//! One task owns the socket and drives both directions, so that no answer waits behind a request that the broker does not
//! take yet. What ends the connection (the peer, an answer that does not belong, a wait that ran out) is told to every
//! request that was waiting.
//!
//! Invariant: a request is in the line of those that wait before its first byte is sent. At most `in_flight_max` requests
//! are in that line or on their way to it.

mod driver;
mod line;
mod low_water;
mod pending;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::ClientError;
use super::options::ClientOptions;
use crate::limits::HANDSHAKE_FRAME_BYTES_MAX;
use crate::protocol::frame::Request;
use crate::protocol::handshake::{HandshakeAnswer, HandshakeRequest, PROTOCOL_VERSION};
use line::Line;
use low_water::LowWater;

pub use pending::PendingAnswer;

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
        Self::start(stream.into_split(), options).await
    }

    /// Shakes hands over a stream that is connected.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`]; [`ClientError::Disconnected`]; [`ClientError::Refused`] by the handshake.
    pub async fn over<S>(stream: S, options: &ClientOptions) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        Self::start(tokio::io::split(stream), options).await
    }

    async fn start<R, W>(halves: (R, W), options: &ClientOptions) -> Result<Self, ClientError>
    where
        R: AsyncRead + LowWater + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let line = Line::start(halves, options);
        let request = HandshakeRequest {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            client_name: options.client_name.clone(),
            token: options.token.clone(),
        };
        let pending = line
            .submit(&request, HANDSHAKE_FRAME_BYTES_MAX, options.connect_wait)
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
        self.line.is_ended()
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
