//! The accept loop of an HTTP surface and the life of its connections.
//!
//! At the connection limit nothing is accepted until a connection ends; a connection ends when its next request's head
//! does not arrive in time, when it has lived for its maximum, or when the broker drains: then accepting stops first,
//! answers under way are finished, and what is not finished in time is dropped.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::limits::{
    ACCEPT_BACKOFF, BUFFER_BYTES_MAX, CONNECTION_LIFETIME_MAX, DRAIN_MAX, HEAD_BYTES_MAX,
    HEADER_COUNT_MAX,
};
use super::response::Response;
use crate::config::HttpConfig;
use crate::metrics::{Metrics, StatusLabel, SurfaceLabel};

/// Address of the client, among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Time to the end of a request's head, also while a connection is idle.
    pub idle_max: Duration,
    /// Longest life of a connection.
    pub lifetime_max: Duration,
    /// Time to finish after the drain began.
    pub drain_max: Duration,
}

impl HttpLimits {
    /// Takes the limits from the configuration.
    pub fn new(config: &HttpConfig) -> Self {
        Self {
            connections_max: config.connections_max,
            idle_max: Duration::from_millis(config.idle_ms_max),
            lifetime_max: CONNECTION_LIFETIME_MAX,
            drain_max: DRAIN_MAX,
        }
    }
}

const SURFACE: SurfaceLabel = SurfaceLabel { surface: "http" };

/// Serves `surface` on `listener` until `shutdown` completes, then drains. Returns when every connection has ended.
pub async fn serve<S, F>(
    listener: TcpListener,
    limits: HttpLimits,
    metrics: Arc<Metrics>,
    surface: S,
    shutdown: impl Future<Output = ()>,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(
        limits.connections_max.min(Semaphore::MAX_PERMITS),
    ));
    let (drain, draining) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Ended connections are collected as they end, so that the set does not grow.
            Some(_ended) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            break;
        };
        let (surface, metrics) = (surface.clone(), Arc::clone(&metrics));
        let draining = draining.clone();
        connections.spawn(async move {
            let _open = OpenConnection::count(&metrics);
            // Without it small answers wait for the client's delayed acknowledgement; a socket that refuses works all the
            // same.
            let _is_set = stream.set_nodelay(true);
            connection(stream, peer, limits, &metrics, surface, draining).await;
            drop(place);
        });
    }
    drop(listener);
    drop(drain);
    // Each connection bounds its own drain.
    while connections.join_next().await.is_some() {}
}

/// Waits for a free place, then for a connection. `None` only if the semaphore was closed, which nobody does.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Serves one connection to its end, or until `draining` changes.
pub async fn connection<S, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    limits: HttpLimits,
    metrics: &Metrics,
    surface: S,
    mut draining: watch::Receiver<()>,
) where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response>,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(peer));
        let answer = surface(request);
        async move {
            let response = answer.await;
            count_response(metrics, &response);
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_max)
        .max_headers(HEADER_COUNT_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        _ = draining.changed() => None,
        () = tokio::time::sleep(limits.lifetime_max) => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(ended)
    } else {
        serving.as_mut().graceful_shutdown();
        tokio::time::timeout(limits.drain_max, serving).await
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "an HTTP connection ended with an error"),
        Err(_elapsed) => {
            tracing::warn!(%peer, "an HTTP connection did not end in time and was dropped");
        }
    }
}

fn count_response(metrics: &Metrics, response: &Response) {
    let class = match response.status().as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    metrics
        .connections
        .http_responses
        .get_or_create(&StatusLabel { class })
        .inc();
}

/// Counts a connection as open for as long as it lives, also when its task panics.
struct OpenConnection<'a> {
    metrics: &'a Metrics,
}

impl<'a> OpenConnection<'a> {
    fn count(metrics: &'a Metrics) -> Self {
        metrics.connections.accepted.get_or_create(&SURFACE).inc();
        metrics.connections.open.get_or_create(&SURFACE).inc();
        Self { metrics }
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.metrics.connections.open.get_or_create(&SURFACE).dec();
    }
}
