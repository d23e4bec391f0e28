//! What a client can be told, each with its default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;

/// Requests of one connection that wait for their answers at most; more wait before they are sent.
pub const IN_FLIGHT_MAX: usize = 256;

/// How to reach a broker and how patient to be.
#[derive(Clone)]
pub struct ClientOptions {
    /// Host and port of the broker's binary protocol.
    pub addr: Arc<str>,
    /// The broker's token, if it asks for one.
    pub token: Option<String>,
    /// Program and version, for the broker's logs.
    pub client_name: String,
    /// How long to wait for a connection and its handshake.
    pub connect_wait: Duration,
    /// How long to wait for an answer, besides what the request itself asks the broker to wait.
    pub answer_wait: Duration,
    /// For how long to repeat a request that fails for a reason that may pass; zero: not at all.
    pub retry_for: Duration,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// Requests of the connection that wait for their answers at most.
    pub in_flight_max: usize,
}

impl ClientOptions {
    /// Takes the defaults for a broker at `addr`.
    #[must_use]
    pub fn new(addr: impl Into<Arc<str>>) -> Self {
        Self {
            addr: addr.into(),
            token: None,
            client_name: concat!("redrive ", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_wait: Duration::from_secs(5),
            answer_wait: Duration::from_secs(30),
            retry_for: Duration::from_secs(30),
            backoff: Backoff::default(),
            in_flight_max: IN_FLIGHT_MAX,
        }
    }
}

/// Never shows the token.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("addr", &self.addr)
            .field("has_token", &self.token.is_some())
            .field("client_name", &self.client_name)
            .field("connect_wait", &self.connect_wait)
            .field("answer_wait", &self.answer_wait)
            .field("retry_for", &self.retry_for)
            .field("backoff", &self.backoff)
            .field("in_flight_max", &self.in_flight_max)
            .finish()
    }
}
