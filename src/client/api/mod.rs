//! The client: a connection that is made anew when it ends, the requests as methods, and what is known of topics.
//!
//! A request whose repetition changes nothing is repeated when it fails for a reason that may pass, for as long as the
//! options say. One that would (creating and deleting topics, resolving dead letters that are not named) is repeated only when
//! it was certainly not carried out.

mod topics;
mod records;
mod groups;
mod letters;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;

use super::connection::Connection;
use super::error::ClientError;
use super::options::ClientOptions;
use super::retry::Retry;
use crate::protocol::frame::Request;
use crate::protocol::handshake::HandshakeAnswer;

pub use letters::rejection;
pub use topics::is_unknown_topic;

/// A broker, seen from a client. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    connection: tokio::sync::Mutex<Option<Connection>>,
    /// Partition counts by topic. They only grow, and a wrong one is answered with a refusal.
    known: Mutex<HashMap<String, NonZeroU32>>,
}

impl Client {
    /// Takes the options; nothing is sent before the first request.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                connection: tokio::sync::Mutex::new(None),
                known: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// Takes the options and connects, so that a wrong address or token shows at once. Tried for as long as the options say.
    ///
    /// # Errors
    /// As [`Connection::open`]; [`ClientError::GaveUp`].
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self::new(options);
        let mut retry = client.retry();
        while let Err(error) = client.connection().await {
            retry.pause(error).await?;
        }
        Ok(client)
    }

    /// Returns a client of the same broker with a connection of its own: a long poll holds up what comes behind it.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::new(self.inner.options.clone())
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Returns the connection, made anew if it has ended. Tries once.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn connection(&self) -> Result<Connection, ClientError> {
        let mut current = self.inner.connection.lock().await;
        if let Some(connection) = current.as_ref()
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&self.inner.options).await?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    /// Returns what the broker said in its handshake.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn terms(&self) -> Result<HandshakeAnswer, ClientError> {
        Ok(self.connection().await?.terms().clone())
    }

    /// Sends a request whose repetition changes nothing, and repeats it while it fails for a reason that may pass.
    ///
    /// # Errors
    /// [`ClientError::GaveUp`]; what [`ClientError::is_retryable`] says is no use to repeat.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        self.call_while(request, |_error| true).await
    }

    /// Sends a request, and repeats it only when it was certainly not carried out.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::Disconnected`] and [`ClientError::TimedOut`] when the outcome is unknown.
    pub async fn call_once<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        self.call_while(request, |error| !error.is_outcome_unknown())
            .await
    }

    /// As [`Client::call`], but each error is first shown to `may_repeat`: where that says no, it is returned.
    ///
    /// # Errors
    /// As [`Client::call`]; the error that is not to be repeated.
    pub async fn call_while<R: Request>(
        &self,
        request: &R,
        mut may_repeat: impl FnMut(&ClientError) -> bool,
    ) -> Result<R::Answer, ClientError> {
        let mut retry = self.retry();
        loop {
            match self.attempt(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if !may_repeat(&error) => return Err(error),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn attempt<R: Request>(&self, request: &R) -> Result<R::Answer, ClientError> {
        self.connection().await?.call(request).await
    }

    pub(super) fn retry(&self) -> Retry {
        Retry::new(self.inner.options.backoff, self.inner.options.retry_for)
    }

    pub(super) fn unexpected(&self, found: &'static str) -> ClientError {
        ClientError::Unexpected {
            addr: self.inner.options.addr.clone(),
            found,
        }
    }
}
