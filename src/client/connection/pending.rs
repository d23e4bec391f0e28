//! An answer that was asked for: waiting for it, and what a wait that runs out does to the connection.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::line::Line;
use crate::client::error::ClientError;
use crate::protocol::cursor::Wire;
use crate::protocol::frame;

/// An answer that is to come. Dropping it does not take the request back.
#[derive(Debug)]
pub struct PendingAnswer<T> {
    pub(super) receiver: oneshot::Receiver<Result<Bytes, ClientError>>,
    pub(super) line: Arc<Line>,
    pub(super) doing: &'static str,
    pub(super) wait: Duration,
    pub(super) deadline: Instant,
    pub(super) answer: PhantomData<fn() -> T>,
}

impl<T: Wire> PendingAnswer<T> {
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
                    doing: self.doing,
                    ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
                };
                self.line.end(&error);
                return Err(error);
            }
        };
        let doing = self.doing;
        let (_, answer) =
            frame::decode_answer(&body).map_err(|source| ClientError::Decode { doing, source })?;
        answer.map_err(|refusal| ClientError::Refused { doing, refusal })
    }

    /// Waits for the answer, once.
    ///
    /// # Errors
    /// As [`PendingAnswer::wait`].
    pub async fn answer(mut self) -> Result<T, ClientError> {
        self.wait().await
    }
}
