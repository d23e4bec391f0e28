//! The broker's HTTP surface, and a destination for what it delivers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::process::Served;

/// Longest wait for an answer. A port in the ephemeral range may, once its broker is dead, connect to itself and say nothing.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Sends requests to one broker.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    address: SocketAddr,
    token: String,
    client: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Http {
    pub(crate) fn new(served: &Served) -> Self {
        Self {
            address: served.http,
            token: served.token.clone(),
            client: HttpClient::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Returns status and body, or `None` when no whole answer came.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, String)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        let answering = async {
            let sent = self.client.request(request.body(body).unwrap());
            let response = sent.await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some((status, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::time::timeout(ANSWER_WAIT, answering).await.ok()?
    }
}

/// What the destination is told of an attempt: message id and body. It answers with the status that it is given.
pub(crate) type Judge = std::sync::Arc<dyn Fn(&str, &str) -> u16 + Send + Sync>;

/// A destination; it is gone when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a destination.
pub(crate) async fn sink(judge: Judge) -> Sink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let judge = judge.clone();
            let service = service_fn(move |request| answer(judge.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                // A broker that dies ends its connections as it likes.
                connection.await.ok();
            });
        }
    });
    Sink { address, task }
}

async fn answer(
    judge: Judge,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = request.headers().get("upstash-message-id");
    let id = id
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    // A request that was cut off is no attempt that anything could be judged by.
    let status = match request.into_body().collect().await {
        Ok(body) => judge(&id, &String::from_utf8_lossy(&body.to_bytes())),
        Err(_) => 500,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(b"seen")));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    Ok(response)
}
