//! Accepting connections and handing them to the threads that serve them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::connection;
use crate::broker::Broker;
use crate::causes::Causes;
use crate::config::{AccessConfig, ProtocolConfig};
use crate::limits::DRAIN_WAIT_MAX;
use crate::request_room::RequestRoom;
use crate::strangers::{Stranger, Strangers};

/// Threads that serve connections: what checks and copies is bound by the processors, and more of them only switch.
const SERVING_THREADS_MAX: usize = 4;
/// Accepted connections that wait for a thread.
const HANDED_OVER_MAX: usize = 64;
/// How long accepting rests when the process has no more descriptors.
const OUT_OF_DESCRIPTORS_WAIT: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) broker: Arc<Broker>,
    pub(super) access: AccessConfig,
    pub(super) config: ProtocolConfig,
    /// Room for requests in memory, over all connections.
    pub(super) room: RequestRoom,
    /// Connections that have not shaken hands.
    strangers: Arc<Strangers>,
    open: AtomicUsize,
}

impl Shared {
    fn new(
        broker: Arc<Broker>,
        access: AccessConfig,
        config: ProtocolConfig,
        room: RequestRoom,
    ) -> Arc<Self> {
        Arc::new(Self {
            broker,
            access,
            config,
            room,
            strangers: Arc::default(),
            open: AtomicUsize::new(0),
        })
    }

    /// Returns how many bytes of its buffer a connection keeps between two requests: its share of what all may hold.
    pub(super) fn kept_buffer_bytes(&self) -> usize {
        let open = u64::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        let share = self.config.in_flight_bytes_max.div_euclid(open.max(1));
        usize::try_from(share).unwrap_or(usize::MAX)
    }
}

/// Serves connections over any streams, on the caller's runtime.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

impl Connections {
    /// Serves this broker.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        access: AccessConfig,
        config: ProtocolConfig,
        room: RequestRoom,
    ) -> Self {
        Self(Shared::new(broker, access, config, room))
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, reading: impl AsyncRead + Unpin, writing: impl AsyncWrite + Unpin) {
        let open = Open::count(&self.0);
        connection::serve(&open.0, reading, writing, &open.1).await;
    }
}

/// A listener that is bound and does not accept yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
}

impl Bound {
    /// Binds the address.
    ///
    /// # Errors
    /// The system's error, such as an address in use.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
        })
    }

    /// Returns the address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The system's error.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The threads that serve connections.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    threads: Vec<(mpsc::Sender<Accepted>, JoinHandle<()>)>,
}

impl Server {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's error when it starts no more threads.
    pub fn start(
        broker: Arc<Broker>,
        bound: Bound,
        access: AccessConfig,
        config: ProtocolConfig,
        room: RequestRoom,
    ) -> std::io::Result<Self> {
        let shared = Shared::new(broker, access, config, room);
        let count = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(SERVING_THREADS_MAX);
        let threads = (0..count)
            .map(|at| {
                let (sender, receiver) = mpsc::channel(HANDED_OVER_MAX);
                let thread = std::thread::Builder::new()
                    .name(format!("serve-{at}"))
                    .spawn(move || serve(receiver))?;
                Ok((sender, thread))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            shared,
            listener: bound.listener,
            threads,
        })
    }

    /// Accepts connections until the broker shuts down, then waits for those that are still answering.
    pub async fn run(self) {
        let shutdown = self.shared.broker.shutdown().clone();
        let mut next = 0_usize;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.wait() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    next = next.wrapping_add(1);
                    self.hand_over(stream, next).await;
                }
                Err(error) => {
                    tracing::warn!(error = %Causes(&error), "cannot accept connections");
                    tokio::time::sleep(OUT_OF_DESCRIPTORS_WAIT).await;
                }
            }
        }
        drop(self.listener);
        let threads: Vec<_> = self.threads.into_iter().map(|(_, thread)| thread).collect();
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                thread.join().ok();
            }
        });
        if tokio::time::timeout(DRAIN_WAIT_MAX, joined).await.is_err() {
            tracing::warn!("connections did not end in time");
        }
    }

    async fn hand_over(&self, stream: TcpStream, number: usize) {
        let open = self.shared.open.load(Ordering::Relaxed);
        let is_full = open >= self.shared.config.connections_max;
        if is_full && !self.shared.strangers.send_off_oldest() {
            tracing::warn!(
                open,
                max = self.shared.config.connections_max,
                "a connection was refused: too many are open"
            );
            return;
        }
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let at = number.checked_rem(self.threads.len()).unwrap_or(0);
        // Counted from here on: those that wait for their thread may give way as well.
        let open = Open::count(&self.shared);
        if let Some((thread, _)) = self.threads.get(at) {
            thread.send((stream, open)).await.ok();
        }
    }
}

/// A connection on its way to its thread.
type Accepted = (std::net::TcpStream, Open);

/// Counts a connection for as long as it lives, however it ends.
#[derive(Debug)]
struct Open(Arc<Shared>, Stranger);

impl Open {
    fn count(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared), shared.strangers.enter())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves the connections of one thread until there come no more and all have ended.
fn serve(mut connections: mpsc::Receiver<Accepted>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = %Causes(&error), "cannot start a thread for connections");
            return;
        }
    };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let stream = tokio::select! {
                stream = connections.recv() => stream,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            };
            let Some((stream, open)) = stream else { break };
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    // The thread serves the next ones all the same.
                    tracing::warn!(error = %Causes(&error), "cannot serve a connection");
                    continue;
                }
            };
            tasks.spawn(async move {
                tokio::select! {
                    () = connection::serve_tcp(&open.0, stream, &open.1) => {}
                    () = open.1.sent_off() => tracing::debug!("a stranger gave up its place"),
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
}
