//! What is promised of kept connections, against servers that see every connection and every byte.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::{HeaderMap, Method};
use storage::dead_letter::{AttemptResult, ErrorClass};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};

use super::client::{Answer, AttemptClient as _, AttemptRequest, HttpClient};
use super::destination::Destination;
use crate::config::DestinationConfig;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Longer than any test takes: it is what makes a hang a failure.
const LONG: Duration = Duration::from_secs(20);
/// What the pool keeps to one host, and for how long.
const KEPT_MAX: usize = 128;
const KEPT_FOR: Duration = Duration::from_secs(4);

/// What a server has seen.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    ended: Notify,
}

/// Starts a server; `serve` has each connection, with its number from 0.
async fn server<F, W>(serve: F) -> (String, Arc<Seen>)
where
    F: Fn(TcpStream, usize, Arc<Seen>) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    let seen = Arc::<Seen>::default();
    let told = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = told.connections.fetch_add(1, Ordering::SeqCst);
            let (serving, told) = (serve(stream, number, Arc::clone(&told)), Arc::clone(&told));
            tokio::spawn(async move {
                serving.await;
                told.ended.notify_one();
            });
        }
    });
    (url, seen)
}

/// Reads the head of a request; false at the end of the connection.
async fn read_head(stream: &mut TcpStream, seen: &Seen) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    seen.requests.fetch_add(1, Ordering::SeqCst);
    true
}

/// Answers requests without a body until the client goes.
async fn answer_all(mut stream: TcpStream, seen: &Seen) {
    while read_head(&mut stream, seen).await {
        stream.write_all(OK).await.ok();
    }
}

fn client() -> HttpClient {
    HttpClient::new(&DestinationConfig {
        allow_private: true,
        allowed: Vec::new(),
        ca_file: None,
    })
    .unwrap()
}

async fn attempt(client: &HttpClient, url: &str, body: Bytes) -> Answer {
    let request = AttemptRequest {
        answer_bytes_max: 4 << 10,
        url: Destination::parse(url).unwrap(),
        method: Method::POST,
        headers: HeaderMap::new(),
        body,
        timeout: LONG,
    };
    client.attempt(request).await
}

async fn attempt_ok(client: &HttpClient, url: &str) {
    let answer = attempt(client, url, Bytes::new()).await;
    assert_eq!(answer.result, AttemptResult::Status(200), "{answer:?}");
}

/// Moves the clock of the runtime while no other task runs: whoever sweeps the pool comes too late.
fn jump(by: Duration) {
    tokio::time::pause();
    let mut advance = pin!(tokio::time::advance(by));
    let is_ready = advance
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready();
    assert!(!is_ready, "others had their turn");
    tokio::time::resume();
}

#[tokio::test]
async fn no_more_than_128_unused_connections_are_kept() {
    let more = 12;
    let barrier = Arc::new(Barrier::new(KEPT_MAX + more));
    let (url, seen) = server(move |mut stream, _, seen| {
        let barrier = Arc::clone(&barrier);
        async move {
            while read_head(&mut stream, &seen).await {
                // All are under way at once, each on a connection of its own.
                barrier.wait().await;
                stream.write_all(OK).await.ok();
            }
        }
    })
    .await;
    let client = client();
    for round in 0..3 {
        join_all((0..KEPT_MAX + more).map(|_| attempt_ok(&client, &url))).await;
        let opened = seen.connections.load(Ordering::SeqCst);
        assert_eq!(opened, KEPT_MAX + more + round * more, "round {round}");
    }
}

#[tokio::test]
async fn a_connection_past_its_time_is_not_used_again_however_late_the_sweep_is() {
    let (url, seen) =
        server(|stream, _, seen| async move { answer_all(stream, &seen).await }).await;
    let client = client();
    attempt_ok(&client, &url).await;
    jump(KEPT_FOR);
    attempt_ok(&client, &url).await;
    assert_eq!(seen.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_the_other_side_has_closed_is_not_used_again() {
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let (url, seen) = server(move |mut stream, _, seen| {
        let close = Arc::clone(&closing);
        async move {
            if read_head(&mut stream, &seen).await {
                stream.write_all(OK).await.ok();
                close.notified().await;
            }
        }
    })
    .await;
    let (other, _) = server(|stream, _, seen| async move { answer_all(stream, &seen).await }).await;
    let client = client();
    for number in 1..=20 {
        attempt_ok(&client, &url).await;
        assert_eq!(seen.connections.load(Ordering::SeqCst), number);
        // It is kept by now.
        close.notify_one();
        seen.ended.notified().await;
        // What came before has been seen when an answer is: the end of the kept connection too.
        attempt_ok(&client, &other).await;
    }
    assert_eq!(seen.requests.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_large_body_arrives_whole_however_little_is_taken_at_once() {
    let whole: Vec<u8> = (0..=250).cycle().take(8 << 20).collect();
    let expected = whole.clone();
    let (url, _) = server(move |mut stream, _, seen| {
        let expected = expected.clone();
        async move {
            while read_head(&mut stream, &seen).await {
                let mut found: Vec<u8> = Vec::new();
                let mut part = vec![0; 50_000];
                while found.len() < expected.len() {
                    let count = stream.read(&mut part).await.unwrap();
                    found.extend(part.iter().take(count));
                    // The client finds its buffer full again and again.
                    tokio::task::yield_now().await;
                }
                let is_same = found == expected;
                let answer = if is_same {
                    OK
                } else {
                    b"HTTP/1.1 400 Other\r\ncontent-length: 0\r\n\r\n"
                };
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let answer = attempt(&client, &url, Bytes::from(whole.clone())).await;
        assert_eq!(answer.result, AttemptResult::Status(200), "{answer:?}");
    }
}

/// Takes `taken` bytes of the second request's body on a kept connection, and is gone without an answer.
async fn broken_after(taken: usize) {
    let (url, seen) = server(move |mut stream, number, seen| async move {
        if number > 0 {
            return answer_all(stream, &seen).await;
        }
        if read_head(&mut stream, &seen).await {
            stream.write_all(OK).await.ok();
        }
        if read_head(&mut stream, &seen).await {
            let mut part = vec![0; taken];
            stream.read_exact(&mut part).await.ok();
        }
    })
    .await;
    let client = client();
    attempt_ok(&client, &url).await;
    let body = Bytes::from(vec![b'x'; taken.max(1) * 4]);
    let answer = attempt(&client, &url, body).await;
    assert_eq!(
        answer.result,
        AttemptResult::Error(ErrorClass::BROKEN),
        "{taken}: {answer:?}"
    );
    let (connections, requests) = (&seen.connections, &seen.requests);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "{taken}");
    assert_eq!(requests.load(Ordering::SeqCst), 2, "{taken}");
    // The next attempt, with a number of its own, has a connection of its own.
    attempt_ok(&client, &url).await;
    assert_eq!(connections.load(Ordering::SeqCst), 2, "{taken}");
}

#[tokio::test]
async fn what_was_sent_in_part_on_a_kept_connection_is_not_sent_again() {
    for taken in [0, 1, 10_000, 1 << 20] {
        broken_after(taken).await;
    }
}
