//! The destination that the tests control: it records every request with its time, answers as the path or the test says, and wakes whoever waits for
//! a delivery.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::behaviour::Reply;
use crate::world::bounded;

/// A request that reached the destination.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
    /// Number of the connection that it came over.
    pub(crate) connection: u64,
}

impl Delivery {
    /// The value of a header; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn id(&self) -> &str {
        self.header("upstash-message-id")
    }

    /// How often it had been tried before, as the broker says.
    pub(crate) fn retried(&self) -> u32 {
        self.header("upstash-retried").parse().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a receiver verifies; `url` is where the destination believes to be.
    pub(crate) fn signed(&self, url: &str) -> Value {
        json!({"signature": self.header("upstash-signature"), "body": self.text(), "url": url})
    }
}

type Decide = Box<dyn Fn(&Delivery, usize) -> Reply + Send + Sync>;

/// What all connections share.
struct Records {
    decide: Decide,
    deliveries: Mutex<Vec<Delivery>>,
    of_target: Mutex<HashMap<String, usize>>,
    open: Mutex<HashSet<String>>,
    is_healed: AtomicBool,
    changed: watch::Sender<u64>,
    /// The far ends of the connections that are open.
    connected: watch::Sender<HashSet<SocketAddr>>,
}

/// A destination on a port of the system's choice.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    records: Arc<Records>,
    task: JoinHandle<()>,
}

impl Sink {
    /// Answers by path.
    pub(crate) async fn start() -> Self {
        Self::deciding(|delivery, earlier| Reply::by_path(&delivery.target, earlier)).await
    }

    /// Answers as `decide` says, which also gets the number of earlier requests to the same target.
    pub(crate) async fn deciding(
        decide: impl Fn(&Delivery, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let records = Arc::new(Records {
            decide: Box::new(decide),
            deliveries: Mutex::default(),
            of_target: Mutex::default(),
            open: Mutex::default(),
            is_healed: AtomicBool::new(false),
            changed: watch::channel(0).0,
            connected: watch::channel(HashSet::new()).0,
        });
        let task = tokio::spawn(accept(listener, records.clone()));
        Self {
            address,
            records,
            task,
        }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Returns when everything has been read that senders sent who are gone now: connections are accepted in their order, and
    /// end behind what came over them.
    pub(crate) async fn drained(&self) {
        let last = TcpStream::connect(self.address).await.unwrap();
        let last = last.local_addr().map(|address| (last, address)).unwrap();
        let mut connected = self.records.connected.subscribe();
        for is_done in [
            |open: &HashSet<SocketAddr>, me: &SocketAddr| open.contains(me),
            |open: &HashSet<SocketAddr>, me: &SocketAddr| open.len() == 1 && open.contains(me),
        ] {
            let waited = connected.wait_for(|open| is_done(open, &last.1));
            bounded("connections of a dead sender end", waited)
                .await
                .unwrap();
        }
    }

    /// From now on everything is answered 200.
    pub(crate) fn heal(&self) {
        self.records.is_healed.store(true, Ordering::SeqCst);
    }

    /// Answers what waits, and what will come, at `/gate/{name}`.
    pub(crate) fn open(&self, name: &str) {
        self.records.open.lock().insert(name.to_owned());
        self.records.changed.send_modify(|changes| *changes += 1);
    }

    /// Everything that has come so far, in the order of arrival.
    pub(crate) fn all(&self) -> Vec<Delivery> {
        self.records.deliveries.lock().clone()
    }

    /// Waits until `find` finds something in what has come.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[Delivery]) -> Option<T>,
    ) -> T {
        let mut changed = self.records.changed.subscribe();
        let finding = async {
            loop {
                if let Some(found) = find(&self.records.deliveries.lock()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        bounded(what, finding).await
    }

    /// Waits for `count` requests to a target and returns all that came to it.
    pub(crate) async fn deliveries(&self, target: &str, count: usize) -> Vec<Delivery> {
        let what = format!("{count} deliveries to {target}");
        self.until(&what, |all| {
            let to_it: Vec<_> = all
                .iter()
                .filter(|delivery| delivery.target == target)
                .cloned()
                .collect();
            (to_it.len() >= count).then_some(to_it)
        })
        .await
    }

    /// Waits for the first request to a target.
    pub(crate) async fn delivery(&self, target: &str) -> Delivery {
        self.deliveries(target, 1).await.swap_remove(0)
    }

    /// How many requests to a target have come.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.all()
            .iter()
            .filter(|delivery| delivery.target == target)
            .count()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, records: Arc<Records>) {
    let mut connections = JoinSet::new();
    for connection in 0_u64.. {
        let Ok((stream, peer)) = listener.accept().await else {
            break;
        };
        let records = records.clone();
        records.connected.send_modify(|open| {
            open.insert(peer);
        });
        let ended = records.clone();
        let service = service_fn(move |request| answer(records.clone(), request, connection));
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A sender that goes away is no matter of the destination.
            serving.await.ok();
            ended.connected.send_modify(|open| {
                open.remove(&peer);
            });
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    records: Arc<Records>,
    request: Request<Incoming>,
    connection: u64,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let delivery = Delivery {
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
        at: Instant::now(),
        connection,
    };
    let earlier = {
        let mut of_target = records.of_target.lock();
        let count = of_target.entry(delivery.target.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let reply = if records.is_healed.load(Ordering::SeqCst) {
        Reply::status(200)
    } else {
        (records.decide)(&delivery, earlier)
    };
    records.deliveries.lock().push(delivery);
    records.changed.send_modify(|changes| *changes += 1);
    match &reply {
        Reply::Hang => std::future::pending().await,
        Reply::Gate(name) => {
            let mut changed = records.changed.subscribe();
            while !records.open.lock().contains(name) {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        }
        _ => {}
    }
    Ok(reply.response())
}
