//! Servers that behave in any way, a resolver that says anything, and a dialler that keeps book.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use parking_lot::Mutex;
use storage::dead_letter::{AttemptResult, ErrorClass};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::config::DestinationConfig;
use crate::delivery::client::{Answer, AttemptClient, AttemptRequest, HttpClient};
use crate::delivery::destination::Destination;
use crate::delivery::guard::{
    AddressRules, Dial, DialFuture, Guard, GuardLimits, Resolve, ResolveFuture, SystemDial,
    client_config,
};

/// Longer than any test takes.
pub(super) const LONG: Duration = Duration::from_mins(2);

/// A server whose connections all behave alike.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    end: Arc<Notify>,
}

impl Server {
    pub(super) async fn start<F, W>(behave: F) -> Self
    where
        F: Fn(TcpStream) -> W + Send + 'static,
        W: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            address,
            accepted: Arc::default(),
            ended: Arc::default(),
            end: Arc::default(),
        };
        let (accepted, ended, end) = (
            Arc::clone(&server.accepted),
            Arc::clone(&server.ended),
            Arc::clone(&server.end),
        );
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                let (work, ended, end) = (behave(stream), Arc::clone(&ended), Arc::clone(&end));
                tokio::spawn(async move {
                    // A client that leaves is what some tests are about.
                    let _how = work.await;
                    ended.fetch_add(1, Ordering::SeqCst);
                    end.notify_one();
                });
            }
        });
        server
    }

    /// Answers each request with the same bytes, on one connection as long as the client likes.
    pub(super) async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Arc::new(bytes.into());
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                while read_request(&mut stream).await?.is_some() {
                    stream.write_all(&bytes).await?;
                }
                Ok(())
            }
        })
        .await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/a", self.address)
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Waits until a connection has ended.
    pub(super) async fn ended(&self) {
        while self.ended.load(Ordering::SeqCst) == 0 {
            self.end.notified().await;
        }
    }
}

/// Reads a request with its body; `None` at the end of the connection.
pub(super) async fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(Some(text));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Takes the client's bytes until it leaves.
pub(super) async fn swallow(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// A resolver that says the next answer of a list each time it is asked, over and over.
#[derive(Debug, Default)]
pub(super) struct FakeResolver {
    pub(super) answers: Vec<Vec<IpAddr>>,
    pub(super) asked: Mutex<Vec<String>>,
}

impl FakeResolver {
    pub(super) fn saying(answers: &[&[&str]]) -> Arc<Self> {
        let parsed = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self {
            answers: answers.iter().map(parsed).collect(),
            asked: Mutex::default(),
        })
    }
}

impl Resolve for FakeResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> ResolveFuture<'a> {
        Box::pin(async move {
            let mut asked = self.asked.lock();
            let turn = asked.len();
            asked.push(name.to_owned());
            if self.answers.is_empty() {
                return Err(io::Error::other("no such name"));
            }
            Ok(self.answers[turn % self.answers.len()].clone())
        })
    }
}

/// A dialler that notes what it is asked for. It stands outside the guard and judges it.
#[derive(Debug, Default)]
pub(super) struct FakeDial {
    pub(super) dialled: Mutex<Vec<SocketAddr>>,
    /// Where every connection leads; without it all are refused.
    pub(super) target: Option<SocketAddr>,
}

impl Dial for FakeDial {
    fn dial(&self, address: SocketAddr) -> DialFuture<'_> {
        self.dialled.lock().push(address);
        match self.target {
            Some(target) => SystemDial.dial(target),
            None => Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }),
        }
    }
}

/// A dialler whose connections never come about.
#[derive(Debug)]
pub(super) struct SilentDial;

impl Dial for SilentDial {
    fn dial(&self, _address: SocketAddr) -> DialFuture<'_> {
        Box::pin(std::future::pending())
    }
}

pub(super) fn rules(allow_private: bool, allowed: &[&str]) -> AddressRules {
    AddressRules::new(&DestinationConfig {
        allow_private,
        allowed: allowed.iter().map(|&entry| entry.to_owned()).collect(),
        ca_file: None,
    })
    .unwrap()
}

pub(super) fn client(
    rules: AddressRules,
    limits: GuardLimits,
    resolver: Arc<dyn Resolve>,
    dialler: Arc<dyn Dial>,
) -> HttpClient {
    let tls = client_config(None).unwrap();
    HttpClient::with_guard(Guard::with(rules, tls, limits, resolver, dialler))
}

/// A client that may go to this machine.
pub(super) fn open_client() -> HttpClient {
    HttpClient::new(&DestinationConfig {
        allow_private: true,
        allowed: Vec::new(),
        ca_file: None,
    })
    .unwrap()
}

pub(super) fn request(url: &str, timeout: Duration) -> AttemptRequest {
    AttemptRequest {
        answer_bytes_max: 4 << 10,
        url: Destination::parse(url).unwrap(),
        method: Method::POST,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        timeout,
    }
}

pub(super) async fn attempt(client: &HttpClient, url: &str) -> Answer {
    client.attempt(request(url, LONG)).await
}

pub(super) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[track_caller]
pub(super) fn assert_error(answer: &Answer, class: ErrorClass, part: &str) {
    let text = text(answer);
    assert_eq!(answer.result, AttemptResult::Error(class), "{text}");
    assert!(text.contains(part), "{part:?} in {text:?}");
    assert!(answer.headers.is_empty() && !answer.is_body_cut);
}
