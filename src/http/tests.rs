//! Black box over real sockets: what a listener answers to hostile framing, to its limits, and when it drains.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    ApiError, HttpLimits, PeerAddress, Response, Visitor, body, connection, response, serve,
};
use crate::metrics::Metrics;
use crate::request_room::RequestRoom;

const LIMITS: HttpLimits = HttpLimits {
    connections_max: 2,
    idle_max: Duration::from_mins(1),
    write_max: Duration::from_mins(1),
    lifetime_max: Duration::from_hours(1),
    drain_max: Duration::from_secs(8),
};

struct Server {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    metrics: Arc<Metrics>,
    /// Lets one request for `/wait` go on.
    gate: Arc<Notify>,
    entered: Arc<Notify>,
}

impl Server {
    async fn start(limits: HttpLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let metrics = Arc::new(Metrics::new());
        let (gate, entered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let surface = {
            let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
            move |request| echo(request, Arc::clone(&gate), Arc::clone(&entered))
        };
        let served = tokio::spawn(serve(
            listener,
            limits,
            Arc::clone(&metrics),
            surface,
            async {
                let _stopped = stopped.await;
            },
        ));
        Self {
            address,
            stop: Some(stop),
            served,
            metrics,
            gate,
            entered,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and returns everything up to the end of the connection.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // A refused request may be answered and closed before it was sent whole.
        let _sent = stream.write_all(request).await;
        read_to_end(&mut stream).await
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end as well.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn echo(request: Request<Incoming>, gate: Arc<Notify>, entered: Arc<Notify>) -> Response {
    assert!(request.extensions().get::<PeerAddress>().is_some());
    if request.uri().path() != "/stranger" {
        request
            .extensions()
            .get::<Visitor>()
            .unwrap()
            .is_known_now();
    }
    if request.uri().path() == "/wait" {
        entered.notify_one();
        gate.notified().await;
    }
    let mut room = RequestRoom::new(1 << 20).request();
    let terms = body::Terms::new(request.headers(), 10, Duration::from_secs(5));
    match body::read(request.into_body(), terms, &mut room).await {
        Ok(body) => response::text(StatusCode::OK, body),
        Err(error) => ApiError::from(error).to_response(),
    }
}

/// Many clients send all of a body before they read an answer.
#[tokio::test]
async fn who_sends_too_much_can_send_all_of_it_and_hears_so() {
    let server = Server::start(LIMITS).await;
    // More than the buffers of a connection hold.
    let bytes = 32 << 20;
    let body = "x".repeat(bytes);
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let declared = format!("{head}Content-Length: {bytes}\r\n");
    for request in [
        format!("{declared}\r\n{body}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n"),
        // Who waits for a sign has sent nothing yet, and is not asked for it.
        format!("{declared}Expect: 100-continue\r\n\r\n"),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
}

#[tokio::test]
async fn ambiguous_framing_is_refused_and_ends_the_connection() {
    let server = Server::start(LIMITS).await;
    let follow_up = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n Folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
    ] {
        let answer = server
            .exchange(format!("{request}{follow_up}").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{request:?}: {answer}"
        );
    }
}

/// HTTP allows both readings here; hyper takes the lenient one, and no second request is ever found in the rest.
#[tokio::test]
async fn a_length_beside_chunks_is_ignored_and_ends_the_connection() {
    let server = Server::start(LIMITS).await;
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = server.exchange(request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_no_chunk() {
    let server = Server::start(LIMITS).await;
    let answer = server
        .exchange(b"GET / HTTP/1.1\nHost: a\nConnection: close\n\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let chunk =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n";
    let answer = server.exchange(chunk).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let server = Server::start(LIMITS).await;
    let long = "x".repeat(super::limits::HEAD_BYTES_MAX * 3 / 2);
    let many = "a: b\r\n".repeat(super::limits::HEADER_COUNT_MAX + 1);
    for head in [
        format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
    ] {
        let answer = server.exchange(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let answer = server
        .exchange(format!("GET /{long} HTTP/1.1\r\nA: b\r\n\r\n").as_bytes())
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 414 ") || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[tokio::test]
async fn a_large_body_is_413_and_ends_the_connection() {
    let server = Server::start(LIMITS).await;
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n6\r\nworld!\r\n0\r\n\r\n",
    ] {
        let answer = server.exchange(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{request:?}: {answer}");
        assert!(
            answer.contains(r#"{"error":"the body is larger than 10 bytes"}"#),
            "{answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_connection_limit_further_ones_wait() {
    let server = Server::start(LIMITS).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections_max {
        let mut stream = server.connect().await;
        stream.write_all(request).await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        held.push(stream);
    }
    let mut waiting = server.connect().await;
    waiting
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let open = "redrive_connections{surface=\"http\"} 2\n";
    assert!(
        server.metrics.encode().contains(open),
        "{}",
        server.metrics.encode()
    );
    // The clock is paused: it moves on only once nothing else can happen.
    let unanswered =
        tokio::time::timeout(Duration::from_secs(1), waiting.read(&mut [0; 512])).await;
    assert!(unanswered.is_err(), "accepted above the limit");
    held.pop();
    assert!(read_to_end(&mut waiting).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn strangers_give_way_to_the_next_connection() {
    let server = Server::start(LIMITS).await;
    let started = tokio::time::Instant::now();
    let mut asked = server.connect().await;
    let request = b"GET /stranger HTTP/1.1\r\nHost: a\r\n\r\n";
    asked.write_all(request).await.unwrap();
    assert!(asked.read(&mut [0; 512]).await.unwrap() > 0);
    let mut silent = server.connect().await;
    silent.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    // Each of them comes at once, although nobody closes.
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        stream.write_all(request).await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        held.push(stream);
    }
    assert_eq!(read_to_end(&mut asked).await, "");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(started.elapsed() < LIMITS.idle_max);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends() {
    let server = Server::start(LIMITS).await;
    let started = tokio::time::Instant::now();
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let _answer = read_to_end(&mut silent).await;
    let _answer = read_to_end(&mut slow).await;
    // The paused clock shows which limit ended them.
    assert!(started.elapsed() < LIMITS.lifetime_max);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_after_its_lifetime() {
    let limits = HttpLimits {
        lifetime_max: Duration::from_secs(30),
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let started = tokio::time::Instant::now();
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 200 "));
    assert!(started.elapsed() < limits.idle_max);
}

#[tokio::test]
async fn drain_finishes_the_answer_under_way_and_refuses_new_connections() {
    let mut server = Server::start(LIMITS).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    let mut idle = server.connect().await;
    server.stop();
    assert_eq!(read_to_end(&mut idle).await, "");
    server.gate.notify_one();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.served.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn drain_does_not_wait_for_who_has_asked_nothing() {
    let mut server = Server::start(LIMITS).await;
    let mut silent = server.connect().await;
    silent.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut again = server.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    again.write_all(request).await.unwrap();
    assert!(again.read(&mut [0; 512]).await.unwrap() > 0);
    again.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    // The clock is paused: it moves on once everything that was sent has been read.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = tokio::time::Instant::now();
    server.stop();
    server.served.await.unwrap();
    assert!(began.elapsed() < LIMITS.drain_max, "{:?}", began.elapsed());
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(read_to_end(&mut again).await, "");
}

#[tokio::test(start_paused = true)]
async fn drain_finishes_an_answer_that_its_reader_takes_slowly() {
    let (mut peer, stream) = tokio::io::duplex(16);
    let (drain, draining) = watch::channel(());
    let body = vec![b'x'; 1 << 16];
    let whole = body.clone();
    let answer = move |_request| {
        let body = body.clone();
        async move { response::text(StatusCode::OK, body) }
    };
    let served = tokio::spawn(async move {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let metrics = Metrics::new();
        connection(stream, address, LIMITS, &metrics, answer, draining).await;
    });
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    peer.write_all(request).await.unwrap();
    assert_eq!(peer.read_u8().await.unwrap(), b'H');
    drop(drain);
    tokio::time::sleep(LIMITS.drain_max / 2).await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(&whole), "{}", rest.len());
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drain_drops_what_does_not_end() {
    let mut server = Server::start(LIMITS).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    server.stop();
    server.served.await.unwrap();
    assert_eq!(read_to_end(&mut busy).await, "");
    assert!(
        server
            .metrics
            .encode()
            .contains("redrive_connections{surface=\"http\"} 0\n")
    );
}
