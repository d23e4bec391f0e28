//! How clients reach the broker: the binary protocol and HTTP over connections in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use redrive::broker::Broker;
use redrive::client::{ClientError, ClientOptions, Connection};
use redrive::config::ServeConfig;
use redrive::http::{HttpLimits, Response};
use redrive::metrics::Metrics;
use redrive::request_room::RequestRoom;
use redrive::server::Connections;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::watch;

use crate::network::wire;
use crate::world::{TOKEN, World};

type Surface = Arc<dyn Fn(DuplexStream) + Send + Sync>;

/// The ways to one broker.
#[derive(Clone)]
pub(crate) struct Net {
    world: Arc<World>,
    connections: Connections,
    http: Surface,
    is_calm: bool,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Net")
    }
}

impl Net {
    pub(crate) fn new(
        world: &Arc<World>,
        broker: &Arc<Broker>,
        config: &ServeConfig,
        is_calm: bool,
    ) -> Self {
        let room = RequestRoom::new(config.protocol.in_flight_bytes_max);
        let surface = redrive::run::surface(broker, config, &room);
        let limits = HttpLimits::new(&config.http);
        let metrics = Arc::clone(broker.metrics());
        Self {
            world: Arc::clone(world),
            connections: Connections::new(
                Arc::clone(broker),
                config.access.clone(),
                config.protocol.clone(),
                room,
            ),
            http: Arc::new(move |stream| {
                tokio::spawn(serve(stream, limits, Arc::clone(&metrics), surface.clone()));
            }),
            is_calm,
        }
    }

    /// Connects over the binary protocol.
    pub(crate) async fn connect(&self) -> Result<Connection, ClientError> {
        let chance = self.world.chance("wire", self.world.next_wire());
        let (client, broker) = wire(chance, self.is_calm);
        let connections = self.connections.clone();
        tokio::spawn(async move {
            let (reading, writing) = tokio::io::split(broker);
            connections.serve(reading, writing).await;
        });
        let options = ClientOptions {
            token: Some(TOKEN.to_owned()),
            answer_wait: Duration::from_secs(4),
            retry_for: Duration::ZERO,
            ..ClientOptions::new("simulated")
        };
        Connection::over(client, &options).await
    }

    /// Sends one HTTP request on a connection of its own; `None` when no answer came.
    pub(crate) async fn http(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Option<(u16, Value)> {
        let chance = self.world.chance("http", self.world.next_wire());
        let (client, broker) = wire(chance, self.is_calm);
        (self.http)(broker);
        let asked = async {
            let shaken = hyper::client::conn::http1::handshake(TokioIo::new(client)).await;
            let (mut sender, connection) = shaken.ok()?;
            let mut request = Request::builder()
                .method(method)
                .uri(target)
                .header("host", "localhost")
                .header("authorization", format!("Bearer {TOKEN}"));
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let request = request.body(Full::new(Bytes::from(body))).unwrap();
            let driver = tokio::spawn(connection);
            let answer = sender.send_request(request).await.ok()?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            driver.abort();
            let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Some((status, value))
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), asked).await;
        answer.ok().flatten()
    }
}

async fn serve<S, F>(stream: DuplexStream, limits: HttpLimits, metrics: Arc<Metrics>, surface: S)
where
    S: Fn(Request<hyper::body::Incoming>) -> F,
    F: Future<Output = Response> + Send,
{
    let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let (_drain, draining) = watch::channel(());
    redrive::http::connection(stream, peer, limits, &metrics, surface, draining).await;
}
