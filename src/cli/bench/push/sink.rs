//! The destinations: HTTP servers of this process, on a thread of their own, that note what arrives and answer 200.

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
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::super::super::error::CliError;
use super::board::Board;

/// The destinations.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
    urls: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    board: Mutex<Arc<Board>>,
    /// Whether the first destination answers nothing.
    is_hanging: watch::Sender<bool>,
}

impl Sink {
    /// Starts destinations on ports of their own of the loopback address. They live as long as the process.
    pub(super) fn start(count: u32) -> Result<Self, CliError> {
        let failed = |source| CliError::Io {
            action: "start a destination".to_owned(),
            source,
        };
        let mut urls = Vec::new();
        let mut listeners = Vec::new();
        for _ in 0..count {
            let listener = StdListener::bind("127.0.0.1:0").map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            urls.push(format!(
                "http://{}/",
                listener.local_addr().map_err(failed)?
            ));
            listeners.push(listener);
        }
        let shared = Arc::new(Shared {
            board: Mutex::new(Arc::new(Board::new(0, 0, 1))),
            is_hanging: watch::Sender::new(false),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let serving = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || runtime.block_on(serve_all(listeners, serving)))
            .map_err(failed)?;
        Ok(Self { shared, urls })
    }

    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Notes what arrives from now on on this board.
    pub(super) fn use_board(&self, board: &Arc<Board>) {
        *self.shared.board.lock() = Arc::clone(board);
    }

    /// Lets the first destination answer nothing, or answer again, also what it has kept waiting.
    pub(super) fn hang(&self, is_hanging: bool) {
        self.shared.is_hanging.send_replace(is_hanging);
    }
}

async fn serve_all(listeners: Vec<StdListener>, shared: Arc<Shared>) {
    let mut serving = tokio::task::JoinSet::new();
    for (at, listener) in listeners.into_iter().enumerate() {
        let shared = Arc::clone(&shared);
        serving.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            loop {
                // One that breaks before it is taken is not the last one.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&shared), at == 0));
                }
            }
        });
    }
    serving.join_all().await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, may_hang: bool) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            // A request that breaks off has not arrived.
            if let Ok(body) = request.into_body().collect().await {
                let board = Arc::clone(&shared.board.lock());
                board.arrive(&body.to_bytes());
            }
            if may_hang {
                let mut hanging = shared.is_hanging.subscribe();
                hanging.wait_for(|is_hanging| !is_hanging).await.ok();
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    // A connection that breaks is the client's to tell.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
