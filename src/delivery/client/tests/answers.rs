//! What a destination can answer, and what becomes of it.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use storage::dead_letter::{AttemptResult, ErrorClass};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::harness::*;
use crate::delivery::client::{Answer, AttemptClient};

const SHORT: Duration = Duration::from_millis(100);

async fn answer_of(bytes: impl Into<Vec<u8>>) -> Answer {
    let server = Server::answering(bytes).await;
    attempt(&open_client(), &server.url()).await
}

#[tokio::test]
async fn an_answer_has_status_headers_and_body() {
    let answer = answer_of(
        "HTTP/1.1 503 Later\r\nRetry-After: 9\r\nX-Odd: a\u{ff}b\r\nX-Odd: c\r\ncontent-length: 4\r\n\r\nbusy",
    )
    .await;
    assert_eq!(answer.result, AttemptResult::Status(503));
    assert_eq!(
        (text(&answer).as_str(), answer.is_body_cut),
        ("busy", false)
    );
    for header in [("retry-after", "9"), ("x-odd", "a\u{ff}b"), ("x-odd", "c")] {
        let header = (header.0.to_owned(), header.1.to_owned());
        assert!(answer.headers.contains(&header), "{header:?}");
    }
    assert!(answer.duration < LONG);
}

#[tokio::test]
async fn a_header_that_is_no_text_is_kept_as_far_as_it_is() {
    let answer = answer_of(b"HTTP/1.1 200 OK\r\nx: a\xffb\r\ncontent-length: 0\r\n\r\n").await;
    let header = ("x".to_owned(), "a\u{fffd}b".to_owned());
    assert!(answer.headers.contains(&header), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} x\r\nlocation: {}\r\n", target.url());
        let answer = answer_of(format!("{head}content-length: 0\r\n\r\n")).await;
        assert_eq!(answer.result, AttemptResult::Status(status));
    }
    assert_eq!(target.accepted(), 0);
}

#[tokio::test]
async fn an_interim_answer_is_passed_over_and_an_upgrade_is_an_answer() {
    let answer = answer_of(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n\
         HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(answer.result, AttemptResult::Status(201));
    let answer = answer_of("HTTP/1.1 101 Over\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    assert_eq!(answer.result, AttemptResult::Status(101));
}

#[tokio::test]
async fn a_body_is_kept_up_to_its_limit_and_then_cut() {
    for (bytes, is_cut) in [
        (0, false),
        (4095, false),
        (4096, false),
        (4097, true),
        (1 << 20, true),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
        let answer = answer_of(head + &"x".repeat(bytes)).await;
        assert_eq!(answer.result, AttemptResult::Status(200));
        let found = (answer.body.len(), answer.is_body_cut);
        assert_eq!(found, (bytes.min(4096), is_cut));
    }
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = answer_of(format!("{chunked}3\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n")).await;
    assert_eq!(
        (text(&answer).as_str(), answer.is_body_cut),
        ("abcde", false)
    );
}

#[tokio::test]
async fn packed_bodies_stay_packed_and_nobody_asks_for_them() {
    let packed = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u{1f}zz";
    let answer = answer_of(packed).await;
    assert_eq!(text(&answer), "\u{1f}zz");
}

#[tokio::test]
async fn a_body_without_end_is_cut_and_its_connection_closed() {
    for head in [
        "connection: close\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n",
    ] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b"4\r\nabcd\r\n").await?;
            }
        })
        .await;
        let answer = attempt(&open_client(), &server.url()).await;
        assert_eq!(answer.result, AttemptResult::Status(200));
        assert_eq!((answer.body.len(), answer.is_body_cut), (4096, true));
        server.ended().await;
    }
}

#[tokio::test]
async fn a_destination_that_hangs_is_left_at_the_deadline() {
    let silent = Server::start(|mut stream| async move { swallow(&mut stream).await }).await;
    let half = Server::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            .await?;
        swallow(&mut stream).await
    })
    .await;
    let endless_hints = Server::start(|mut stream| async move {
        read_request(&mut stream).await?;
        loop {
            stream
                .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                .await?;
        }
    })
    .await;
    for server in [silent, half, endless_hints] {
        let answer = open_client().attempt(request(&server.url(), SHORT)).await;
        assert_error(
            &answer,
            ErrorClass::TIMEOUT,
            "no whole answer within 100 ms",
        );
        assert!(answer.duration >= SHORT);
        server.ended().await;
    }
}

#[tokio::test]
async fn progress_does_not_move_the_deadline() {
    for head in [
        "HTTP/1.1 200 OK\r\nx: ",
        "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n",
    ] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut drip = tokio::time::interval(SHORT / 10);
            loop {
                drip.tick().await;
                stream.write_all(b"a").await?;
            }
        })
        .await;
        let answer = open_client().attempt(request(&server.url(), SHORT)).await;
        assert_error(&answer, ErrorClass::TIMEOUT, "no whole answer");
        server.ended().await;
    }
}

fn headers(count: u32) -> String {
    let lines: Vec<String> = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
    lines.concat()
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let many = headers(10_000);
    let one_too_many = headers(101);
    let long = format!("x: {}\r\n", "a".repeat(20 << 10));
    for lines in [many, one_too_many, long] {
        let answer = answer_of(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).await;
        let said = "127.0.0.1 sent too large a head of an answer: at most 16 KiB and 100 headers are taken";
        assert_error(&answer, ErrorClass::PROTOCOL, said);
    }
    let just_enough = headers(99);
    let answer = answer_of(format!(
        "HTTP/1.1 200 OK\r\n{just_enough}content-length: 0\r\n\r\n"
    ))
    .await;
    assert_eq!(answer.result, AttemptResult::Status(200));
    assert_eq!(answer.headers.len(), 100);
}

#[tokio::test]
async fn what_is_no_http_is_an_error_of_the_protocol() {
    let no_http = "127.0.0.1 sent what is no valid HTTP/1.1: an answer begins with a line such as HTTP/1.1 200 OK";
    let no_status = "127.0.0.1 sent an invalid status: it must have three digits";
    let no_chunk =
        "127.0.0.1 sent a body with an invalid chunk: before each chunk must stand its size";
    for (bytes, said) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", no_http),
        ("HTTP/1.1 20 OK\r\n\r\n", no_status),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            no_http,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", no_http),
        ("HTTP/1.1 200 OK\r\nbad header: 1\r\n\r\n", no_http),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            no_chunk,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            no_chunk,
        ),
    ] {
        let answer = answer_of(bytes).await;
        assert_error(&answer, ErrorClass::PROTOCOL, said);
    }
}

#[tokio::test]
async fn a_connection_that_closes_early_is_broken() {
    for bytes in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
    ] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(bytes.as_bytes()).await
        })
        .await;
        let answer = attempt(&open_client(), &server.url()).await;
        let said = text(&answer);
        // The system may tell of a reset where the request had not been read.
        let is_plain = [
            "127.0.0.1 closed the connection before the answer was whole",
            "the connection to 127.0.0.1 broke before the answer was whole: ",
        ]
        .iter()
        .any(|plain| said.starts_with(plain));
        assert!(is_plain, "{said}");
        assert_error(&answer, ErrorClass::BROKEN, "before the answer was whole");
    }
}

#[tokio::test]
async fn the_request_is_sent_as_it_is_but_for_what_belongs_to_the_connection() {
    let (sender, mut requests) = mpsc::channel(4);
    let server = Server::start(move |mut stream| {
        let sender = sender.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await? {
                sender.send(request).await.unwrap();
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                stream.write_all(answer).await?;
            }
            Ok(())
        }
    })
    .await;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "other.example"),
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("connection", "close, x-mine"),
        ("accept-encoding", "gzip"),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
        ("x-mine", "1"),
        ("content-type", "application/json"),
    ] {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static(value));
    }
    let url = format!("http://{}//a%20b/../c?x=y&&z=%zz#part", server.address);
    let client = open_client();
    let mut sent = request(&url, LONG);
    sent.headers = headers;
    let answer = client.attempt(sent).await;
    assert_eq!(
        answer.result,
        AttemptResult::Status(204),
        "{}",
        text(&answer)
    );
    let found = requests.recv().await.unwrap();
    let (head, body) = found.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST //a%20b/../c?x=y&&z=%zz HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: {}", server.address);
    let expected = [
        "content-length: 2",
        "content-type: application/json",
        &host,
        "x-mine: 1",
    ];
    assert_eq!((lines.as_slice(), body), (expected.as_slice(), "{}"));

    for (method, has_length) in [
        (Method::POST, true),
        (Method::PUT, true),
        (Method::GET, false),
    ] {
        let mut empty = request(&url, LONG);
        empty.method = method;
        empty.body = Bytes::new();
        client.attempt(empty).await;
        let found = requests.recv().await.unwrap();
        assert_eq!(found.contains("content-length: 0"), has_length, "{found}");
    }
}

#[tokio::test]
async fn a_tunnel_is_no_delivery() {
    let server = Server::answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let mut tunnel = request(&server.url(), LONG);
    tunnel.method = Method::CONNECT;
    let answer = open_client().attempt(tunnel).await;
    assert_error(&answer, ErrorClass::PROTOCOL, "tunnel");
    assert_eq!(server.accepted(), 0);
}
