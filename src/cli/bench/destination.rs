//! Destinations of deliveries: HTTP servers of this process, on a thread of their own.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::super::error::CliError;

/// What destinations answer.
pub(super) trait Answers: Send + Sync + 'static {
    /// Takes what one of them was sent, and answers it.
    fn answer(
        &self,
        destination: usize,
        body: Bytes,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Starts destinations on ports of their own of the loopback address. They live as long as the process. Returns their URLs.
pub(super) fn start<A: Answers>(count: u32, answers: &Arc<A>) -> Result<Vec<String>, CliError> {
    let failed = |source| CliError::Io {
        action: "start a destination".to_owned(),
        source,
    };
    let mut urls = Vec::new();
    let mut listeners = Vec::new();
    for _ in 0..count {
        let listener = StdListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        urls.push(format!("http://{address}/"));
        listeners.push(listener);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let answers = Arc::clone(answers);
    std::thread::Builder::new()
        .name("destination".to_owned())
        .spawn(move || runtime.block_on(serve_all(listeners, answers)))
        .map_err(failed)?;
    Ok(urls)
}

async fn serve_all<A: Answers>(listeners: Vec<StdListener>, answers: Arc<A>) {
    let mut serving = tokio::task::JoinSet::new();
    for (destination, listener) in listeners.into_iter().enumerate() {
        let answers = Arc::clone(&answers);
        serving.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            loop {
                // One that breaks before it is taken is not the last one.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, destination, Arc::clone(&answers)));
                }
            }
        });
    }
    serving.join_all().await;
}

async fn serve<A: Answers>(stream: TcpStream, destination: usize, answers: Arc<A>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move {
            // A request that breaks off has not arrived, and nobody waits for its answer.
            let answer = match request.into_body().collect().await {
                Ok(body) => answers.answer(destination, body.to_bytes()).await,
                Err(_) => Response::default(),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    // A connection that breaks is the client's to tell.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
