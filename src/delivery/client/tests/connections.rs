//! How connections are made, kept and given up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use storage::dead_letter::{AttemptResult, ErrorClass};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::harness::*;
use crate::delivery::client::AttemptClient;
use crate::delivery::guard::{GuardLimits, Resolve, ResolveFuture, SystemDial};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(50);

fn short_limits() -> GuardLimits {
    GuardLimits {
        resolve_wait_max: SHORT,
        connect_wait_max: SHORT,
        tls_wait_max: SHORT,
        ..GuardLimits::default()
    }
}

/// An address of this machine that nobody listens on.
async fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn one_connection_serves_many_attempts() {
    let server = Server::answering(OK).await;
    let client = open_client();
    for _ in 0..5 {
        let answer = attempt(&client, &server.url()).await;
        assert_eq!(answer.result, AttemptResult::Status(200));
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_whose_body_was_cut_is_not_used_again() {
    let body = "x".repeat(1 << 20);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n";
    let server = Server::answering(format!("{head}{body}")).await;
    let client = open_client();
    for _ in 0..2 {
        assert!(attempt(&client, &server.url()).await.is_body_cut);
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream.write_all(OK.as_bytes()).await
    })
    .await;
    let client = open_client();
    attempt(&client, &server.url()).await;
    server.ended().await;
    // The client sees the end when it looks; a request on the dying connection would be broken, not sent twice unnoticed.
    let answer = attempt(&client, &server.url()).await;
    let allowed = [
        AttemptResult::Status(200),
        AttemptResult::Error(ErrorClass::BROKEN),
    ];
    assert!(allowed.contains(&answer.result), "{answer:?}");
    assert!(server.accepted() <= 2);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let server = Server::answering(OK).await;
    let client = open_client();
    attempt(&client, &server.url()).await;
    // From here on time passes by itself whenever all wait.
    tokio::time::pause();
    let ended = tokio::time::timeout(LONG, server.ended()).await;
    assert_eq!(ended, Ok(()));
    drop(client);
}

#[tokio::test]
async fn nobody_listening_is_an_error_of_the_connection() {
    let address = dead_address().await;
    let answer = attempt(&open_client(), &format!("http://{address}/")).await;
    let text = format!("cannot connect to {address}: ");
    assert_error(&answer, ErrorClass::CONNECT, &text);
}

#[tokio::test]
async fn the_next_address_is_tried_but_not_for_ever() {
    let server = Server::answering(OK).await;
    let port = server.address.port();
    let resolver = FakeResolver::saying(&[&["127.0.0.2", "127.0.0.3", "127.0.0.1"]]);
    let open = || rules(true, &[]);
    let limits = GuardLimits::default();
    let real = client(open(), limits, resolver, Arc::new(SystemDial));
    let url = format!("http://a.example:{port}/");
    assert_eq!(
        attempt(&real, &url).await.result,
        AttemptResult::Status(200)
    );

    let many: Vec<String> = (1..100).map(|n| format!("127.0.0.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let dialler = Arc::new(FakeDial::default());
    let resolver = FakeResolver::saying(&[&many]);
    let fake = client(open(), limits, resolver, Arc::clone(&dialler) as _);
    assert_error(
        &attempt(&fake, &url).await,
        ErrorClass::CONNECT,
        "127.0.0.4",
    );
    assert_eq!(dialler.dialled.lock().len(), 4);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_says_so() {
    let limits = GuardLimits::default();
    for (resolver, part) in [
        (
            FakeResolver::saying(&[]),
            "cannot resolve a.example: no such name",
        ),
        (FakeResolver::saying(&[&[]]), "it has no address"),
    ] {
        let client = client(rules(true, &[]), limits, resolver, Arc::new(SystemDial));
        let answer = attempt(&client, "http://a.example/").await;
        assert_error(&answer, ErrorClass::RESOLVE, part);
    }
}

#[tokio::test]
async fn the_machines_resolver_knows_this_machine() {
    let server = Server::answering(OK).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let answer = attempt(&open_client(), &url).await;
    assert_eq!(
        answer.result,
        AttemptResult::Status(200),
        "{}",
        text(&answer)
    );
}

#[derive(Debug)]
struct SilentResolver;

impl Resolve for SilentResolver {
    fn resolve<'a>(&'a self, _name: &'a str) -> ResolveFuture<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn each_step_of_a_connection_has_its_time() {
    let silent = Server::start(|mut stream| async move { swallow(&mut stream).await }).await;
    let open = || rules(true, &[]);
    let limits = short_limits();
    let resolving = client(
        open(),
        limits,
        Arc::new(SilentResolver),
        Arc::new(SystemDial),
    );
    let answer = attempt(&resolving, "http://a.example/").await;
    assert_error(&answer, ErrorClass::RESOLVE, "no answer within 50 ms");
    let dialling = client(
        open(),
        limits,
        FakeResolver::saying(&[]),
        Arc::new(SilentDial),
    );
    let answer = attempt(&dialling, "http://127.0.0.1/").await;
    assert_error(&answer, ErrorClass::CONNECT, "no answer within 50 ms");
    let shaking = client(
        open(),
        limits,
        FakeResolver::saying(&[]),
        Arc::new(SystemDial),
    );
    let answer = attempt(&shaking, &format!("https://{}/", silent.address)).await;
    assert_error(&answer, ErrorClass::TLS, "no answer within 50 ms");
}

#[tokio::test]
async fn a_further_connection_waits_for_its_place() {
    let silent = Server::start(|mut stream| async move { swallow(&mut stream).await }).await;
    let server = Server::answering(OK).await;
    let limits = GuardLimits {
        connection_count_max: 1,
        ..GuardLimits::default()
    };
    let resolver = FakeResolver::saying(&[]);
    let client = client(rules(true, &[]), limits, resolver, Arc::new(SystemDial));
    let first = client.attempt(request(&silent.url(), LONG));
    let second = client.attempt(request(&server.url(), SHORT));
    tokio::select! {
        biased;
        _ = first => unreachable!("the first attempt has no answer"),
        answer = second => assert_error(&answer, ErrorClass::TIMEOUT, ""),
    }
    assert_eq!((silent.accepted(), server.accepted()), (1, 0));
    // The attempt that was given up has freed its place.
    let answer = attempt(&client, &server.url()).await;
    assert_eq!(answer.result, AttemptResult::Status(200));
}
