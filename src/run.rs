//! Running a broker: opening it, serving both surfaces, and ending in good order.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::apart::Apart;
use crate::broker::{self, Broker, DeliveryShare, OpenError, Upkeep};
use crate::config::ServeConfig;
use crate::delivery::client::{HttpClient, SetupError};
use crate::http::{self, HttpLimits, Response};
use crate::metrics::Metrics;
use crate::request_room::RequestRoom;
use crate::server::{Bound, Server};
use crate::shutdown::Shutdown;
use crate::{admin, memory_limit, open_files, qstash};

/// Why a broker did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Deliveries cannot be set up.
    #[error("cannot deliver messages")]
    Destinations(#[from] SetupError),
    /// The system starts no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Where a broker listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The binary protocol.
    pub protocol: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
}

/// Opens a broker and serves it until `shutdown` is triggered; then stops accepting, answers what was accepted, and syncs.
///
/// `started` is told the addresses once both surfaces accept connections.
///
/// # Errors
/// [`RunError`], before anything is served.
pub async fn run(
    mut config: ServeConfig,
    shutdown: Shutdown,
    started: impl FnOnce(Addresses),
) -> Result<(), RunError> {
    open_files::keep_within(&mut config, open_files::raise());
    memory_limit::keep_within(&mut config, memory_limit::found());
    survive_large_files();
    // The addresses and the client first: a mistake in the configuration must not cost a recovery.
    let client = Arc::new(HttpClient::new(&config.destinations)?);
    let protocol = Bound::bind(config.protocol.address)
        .await
        .map_err(|source| RunError::Bind {
            address: config.protocol.address,
            source,
        })?;
    let http_address = config.http.address;
    let http_listener = tokio::net::TcpListener::bind(http_address)
        .await
        .map_err(|source| RunError::Bind {
            address: http_address,
            source,
        })?;
    let addresses = Addresses {
        protocol: protocol.address().unwrap_or(config.protocol.address),
        http: http_listener.local_addr().unwrap_or(http_address),
    };
    let metrics = Arc::new(Metrics::new());
    let broker = {
        let (config, metrics, shutdown) = (config.clone(), Arc::clone(&metrics), shutdown.clone());
        let opened =
            tokio::task::spawn_blocking(move || broker::open(&config, metrics, shutdown)).await;
        opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
    };
    let room = RequestRoom::new(config.protocol.in_flight_bytes_max);
    let server = Server::start(
        Arc::clone(&broker),
        protocol,
        config.access.clone(),
        config.protocol.clone(),
        room.clone(),
    )
    .map_err(RunError::Thread)?;
    let upkeep = tokio::spawn(keep_up(Arc::clone(&broker)));
    let deliveries = deliveries(&broker, client).await?;
    let surface = surface(&broker, &config, &room);
    let limits = HttpLimits::new(&config.http);
    let http_shutdown = shutdown.clone();
    let http = http::serve(http_listener, limits, metrics, surface, async move {
        http_shutdown.wait().await;
    });
    started(addresses);
    tokio::join!(server.run(), http);
    upkeep.await.ok();
    let failed_count = deliveries.end().await;
    if failed_count > 0 {
        tracing::error!(failed_count, "threads of the deliveries have failed");
    }
    let closing = tokio::task::spawn_blocking(move || broker.close()).await;
    closing.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    Ok(())
}

/// Starts to deliver.
async fn deliveries(broker: &Arc<Broker>, client: Arc<HttpClient>) -> Result<Apart, RunError> {
    let count = Apart::count(broker.delivery_shares());
    let tasks = (0..count).map(|at| {
        let share = DeliveryShare { at, of: count };
        Arc::clone(broker).deliver_share(client.clone(), share)
    });
    let started = Apart::start("deliver", tasks).await;
    started.map_err(RunError::Thread)
}

/// Takes a write beyond a limit of file sizes for an error, which is told to who wanted it, and not for the end of the process.
fn survive_large_files() {
    let kind = SignalKind::from_raw(Signal::XFSZ.as_raw());
    // Once there is a handler it stays: nobody needs to listen to it.
    if let Err(error) = signal(kind) {
        tracing::warn!(%error, "a limit of file sizes would end the broker");
    }
}

/// Returns what is served over HTTP: the QStash API below its paths, and the admin surface everywhere else.
pub fn surface(
    broker: &Arc<Broker>,
    config: &ServeConfig,
    room: &RequestRoom,
) -> impl Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let qstash = qstash::surface(Arc::clone(broker), config, room.clone());
    let admin = admin::surface(
        Arc::clone(broker),
        config,
        qstash::openapi::TEXT,
        room.clone(),
    );
    move |request| {
        if qstash::is_served(request.uri().path()) {
            qstash(request)
        } else {
            admin(request)
        }
    }
}

/// Does the broker's own work, a round at a time, until it shuts down.
async fn keep_up(broker: Arc<Broker>) {
    let shutdown = broker.shutdown().clone();
    let mut upkeep = Upkeep::new(Arc::clone(&broker));
    loop {
        tokio::select! {
            () = tokio::time::sleep(Upkeep::interval()) => {}
            () = shutdown.wait() => return,
        }
        let round = tokio::task::spawn_blocking(move || {
            upkeep.round();
            upkeep
        });
        upkeep = match round.await {
            Ok(upkeep) => upkeep,
            Err(panic) => {
                // Without it nothing would be healed, checkpointed or deleted any more.
                tracing::error!(%panic, "a round of the broker's own work has failed");
                Upkeep::new(Arc::clone(&broker))
            }
        };
    }
}
