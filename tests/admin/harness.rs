//! A broker in this process and a client for each of its surfaces.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use redrive::client::api::rejection;
use redrive::client::{Client, ClientOptions, Producer, ProducerOptions};
use redrive::config::{FlagValue, ServeConfig, Settings};
use redrive::run::run;
use redrive::shutdown::Shutdown;
use serde_json::Value;
use storage::batch::{HeaderRef, NewRecord};
use storage::offset::{Offset, TimestampMs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A broker that is served.
pub(crate) struct Broker {
    pub(crate) http: SocketAddr,
    pub(crate) client: Client,
    shutdown: Shutdown,
    running: JoinHandle<()>,
    requests: HttpClient<HttpConnector, Full<Bytes>>,
    dir: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    /// Returns the JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Returns the message of an error with this status.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> String {
        let value = self.expect(status);
        let object = value.as_object().unwrap();
        assert_eq!(object.len(), 1, "{object:?}");
        object["error"].as_str().unwrap().to_owned()
    }
}

/// Returns the topics of a list that are not the broker's own.
pub(crate) fn created_topics(list: &Value) -> Vec<Value> {
    let topics = list["topics"].as_array().unwrap().iter();
    let is_created = |topic: &&Value| !topic["name"].as_str().unwrap().starts_with('_');
    topics.filter(is_created).cloned().collect()
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a broker with some keys of its configuration set.
    pub(crate) async fn start_with(keys: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), keys).await
    }

    /// Starts a broker on what stands in `data` of a directory.
    pub(crate) async fn start_in(dir: tempfile::TempDir, keys: &[(&str, &str)]) -> Self {
        let data_dir = dir.path().join("data").to_str().unwrap().to_owned();
        let own = [
            ("data_dir", data_dir.as_str()),
            ("http", "127.0.0.1:0"),
            ("listen", "127.0.0.1:0"),
            ("storage.min_free_bytes", "0"),
        ];
        let flags: Vec<_> = own
            .iter()
            .chain(keys)
            .map(|(key, value)| FlagValue {
                flag: "--set".to_owned(),
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        let settings = Settings::resolve(None, [], &flags).unwrap();
        let config = ServeConfig::from_settings(&settings).unwrap();
        let shutdown = Shutdown::new();
        let (started, addresses) = tokio::sync::oneshot::channel();
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                run(config, shutdown, |addresses| {
                    started.send(addresses).unwrap();
                })
                .await
                .unwrap();
            }
        });
        let addresses = addresses.await.unwrap();
        let mut options = ClientOptions::new(addresses.protocol.to_string());
        let token = keys.iter().find(|(key, _)| *key == "token");
        options.token = token.map(|(_, token)| (*token).to_owned());
        Self {
            http: addresses.http,
            client: Client::new(options),
            shutdown,
            running,
            requests: HttpClient::builder(TokioExecutor::new()).build_http(),
            dir,
        }
    }

    /// Ends the broker in good order.
    pub(crate) async fn stop(self) {
        drop(self.client);
        drop(self.requests);
        self.shutdown.trigger();
        self.running.await.unwrap();
        self.dir.close().unwrap();
    }

    /// Ends the broker in good order and starts another one on what it has left.
    pub(crate) async fn restart(self, keys: &[(&str, &str)]) -> Self {
        drop(self.client);
        drop(self.requests);
        self.shutdown.trigger();
        self.running.await.unwrap();
        Self::start_in(self.dir, keys).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.http));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let response = self.requests.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Announces a body of this length, sends none of it, and returns everything up to the end of the connection.
    pub(crate) async fn announce(&self, target: &str, bytes: u64) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) async fn get(&self, target: &str) -> Answered {
        self.send(Method::GET, target, &[], "").await
    }

    pub(crate) async fn post(&self, target: &str, body: &str) -> Answered {
        self.send(Method::POST, target, &[], body).await
    }

    pub(crate) async fn delete(&self, target: &str) -> Answered {
        self.send(Method::DELETE, target, &[], "").await
    }

    /// Creates a topic with its settings as JSON.
    pub(crate) async fn create(&self, name: &str, partition_count: u32, settings: &str) -> Value {
        let body = format!(
            r#"{{"name": "{name}", "partition_count": {partition_count}, "settings": {settings}}}"#
        );
        self.post("/admin/v1/topics", &body).await.expect(201)
    }

    /// Produces values to partition 0, each in a batch of its own.
    pub(crate) async fn produce(&self, topic: &str, values: &[&[u8]]) {
        let producer = Producer::open(&self.client, topic, ProducerOptions::default())
            .await
            .unwrap();
        for value in values {
            let headers = [HeaderRef {
                name: "h",
                value: Some(b"\xff"),
            }];
            let record = NewRecord {
                timestamp: TimestampMs(1_700_000_000_000),
                key: Some(b"k"),
                value: Some(value),
                headers: &headers,
            };
            let delivery = producer.send_to(0, &record).await.unwrap();
            producer.flush().await;
            delivery.wait().await.unwrap();
        }
        producer.close().await.unwrap();
    }

    /// Rejects a record of partition 0, and returns the letter's id.
    pub(crate) async fn reject(
        &self,
        topic: &str,
        group: &str,
        offset: u64,
        reason: &str,
    ) -> String {
        let request = rejection(group, (topic, 0, Offset(offset)), reason, None);
        self.client.reject(&request).await.unwrap().letter_id
    }
}
