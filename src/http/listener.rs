//! The accept loop of an HTTP surface and the life of its connections.
//!
//! At the connection limit a stranger gives up its place for the next connection: one that has not shown the token and has
//! no request under way, the longest waiting first. Without one the next connection waits. A connection ends when its next
//! request's head does not arrive in time, when its peer does not take its answer, when it has lived for its maximum, or
//! when the broker drains: then accepting stops first, answers under way are finished, and what is not finished in time is
//! dropped. Who has no answer to come, as a peer that sent half a head, is dropped at once.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::error::ApiError;
use super::framing::is_ambiguous;
use super::limits::{
    ACCEPT_BACKOFF, BUFFER_BYTES_MAX, CONNECTION_LIFETIME_MAX, DRAIN_MAX, HEAD_BYTES_MAX,
    HEADER_COUNT_MAX,
};
use super::response::Response;
use super::timed::TimedWrites;
use crate::causes::Causes;
use crate::config::HttpConfig;
use crate::metrics::{Metrics, StatusLabel, SurfaceLabel};
use crate::strangers::{Stranger, Strangers};

/// Address of the client, among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The connection that a request came over, among its extensions: whoever has checked the token says so.
#[derive(Debug, Clone)]
pub struct Visitor(Arc<Stranger>);

impl Visitor {
    /// Its peer has shown the token: the connection keeps its place.
    pub fn is_known_now(&self) {
        self.0.is_known_now();
    }
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Time to the end of a request's head, also while a connection is idle.
    pub idle_max: Duration,
    /// Time that a peer has to take a piece of its answer.
    pub write_max: Duration,
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
            write_max: Duration::from_millis(config.write_ms_max),
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
    let strangers = Arc::new(Strangers::default());
    let (drain, draining) = watch::channel(());
    let mut connections = JoinSet::new();
    // Outside of the loop: the one that waits for a place is not lost when something else happens.
    let mut waiting = None;
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Ended connections are collected as they end, so that the set does not grow.
            Some(_ended) = connections.join_next() => continue,
            accepted = accept(&listener, &places, &strangers, &mut waiting) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            break;
        };
        let (surface, metrics) = (surface.clone(), Arc::clone(&metrics));
        let draining = draining.clone();
        let visitor = Visitor(Arc::new(strangers.enter()));
        connections.spawn(async move {
            let _open = OpenConnection::count(&metrics);
            // Without it small answers wait for the client's delayed acknowledgement; a socket that refuses works all the
            // same.
            let _is_set = stream.set_nodelay(true);
            let served = serve_visitor(&metrics, &visitor, peer, surface);
            tokio::select! {
                () = converse(stream, peer, limits, served, draining) => {}
                () = visitor.0.sent_off() => tracing::debug!(%peer, "a stranger gave up its place"),
            }
            drop(place);
        });
    }
    drop(listener);
    drop(drain);
    // Each connection bounds its own drain.
    while connections.join_next().await.is_some() {}
}

/// Waits for a connection, then for a place, which a stranger gives up. `None` only if the semaphore was closed, which
/// nobody does.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    strangers: &Strangers,
    waiting: &mut Option<(TcpStream, SocketAddr)>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    while waiting.is_none() {
        match listener.accept().await {
            Ok(accepted) => *waiting = Some(accepted),
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "an HTTP connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    let place = tokio::select! {
        biased;
        place = Arc::clone(places).acquire_owned() => place.ok()?,
        () = strangers.send_off_one() => Arc::clone(places).acquire_owned().await.ok()?,
    };
    let (stream, peer) = waiting.take()?;
    Some((stream, peer, place))
}

/// Wraps the surface: a request is told where it comes from, and its connection stays while it is answered.
fn serve_visitor<'a, S, F>(
    metrics: &'a Metrics,
    visitor: &'a Visitor,
    peer: SocketAddr,
    surface: S,
) -> impl Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response> + Send + 'a>> + 'a
where
    S: Fn(Request<Incoming>) -> F + 'a,
    F: Future<Output = Response> + Send + 'a,
{
    move |mut request| {
        if is_ambiguous(request.headers()) {
            let response = ambiguous();
            count_response(metrics, &response);
            return Box::pin(std::future::ready(response));
        }
        request.extensions_mut().insert(PeerAddress(peer));
        request.extensions_mut().insert(visitor.clone());
        visitor.0.begins();
        let answer = surface(request);
        Box::pin(async move {
            let response = answer.await;
            visitor.0.has_ended();
            count_response(metrics, &response);
            response
        })
    }
}

/// The answer to a request whose body ends nobody knows where. The connection ends with it: what follows may be the body.
fn ambiguous() -> Response {
    let error = "transfer-encoding must be `chunked`, once and alone";
    let mut response = ApiError::bad_request(error).to_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Serves one connection over any stream to its end, or until `draining` changes.
pub async fn connection<S, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    limits: HttpLimits,
    metrics: &Metrics,
    surface: S,
    draining: watch::Receiver<()>,
) where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response> + Send,
{
    let visitor = Visitor(Arc::new(Arc::new(Strangers::default()).enter()));
    let served = serve_visitor(metrics, &visitor, peer, surface);
    converse(stream, peer, limits, served, draining).await;
}

async fn converse<S, F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    limits: HttpLimits,
    surface: S,
    mut draining: watch::Receiver<()>,
) where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response>,
{
    let answering = AtomicUsize::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = UnderWay::count(&answering);
        let answer = surface(request);
        async move {
            let answer = answer.await;
            drop(under_way);
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = TimedWrites::new(stream, limits.write_max);
    let is_stuck = stream.is_stuck();
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_max)
        .max_headers(HEADER_COUNT_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let mut is_drained = false;
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        _ = draining.changed() => {
            is_drained = true;
            None
        }
        () = tokio::time::sleep(limits.lifetime_max) => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(Some(ended))
    } else {
        serving.as_mut().graceful_shutdown();
        // Each poll writes what the peer takes: what is still to come is an answer that is being made, or one that is stuck.
        let has_answer = || answering.load(Ordering::Relaxed) > 0 || is_stuck.get();
        let ending = std::future::poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if is_drained && !has_answer() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::time::timeout(limits.drain_max, ending).await
    };
    match ended {
        Ok(Some(Ok(())) | None) => {}
        Ok(Some(Err(error))) => {
            tracing::debug!(%peer, error = %Causes(&error), "an HTTP connection ended with an error");
        }
        Err(_elapsed) => {
            tracing::warn!(%peer, "an HTTP connection did not end in time and was dropped");
        }
    }
}

/// Counts an answer as under way for as long as it is being made.
struct UnderWay<'a> {
    answering: &'a AtomicUsize,
}

impl<'a> UnderWay<'a> {
    fn count(answering: &'a AtomicUsize) -> Self {
        answering.fetch_add(1, Ordering::Relaxed);
        Self { answering }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.answering.fetch_sub(1, Ordering::Relaxed);
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
