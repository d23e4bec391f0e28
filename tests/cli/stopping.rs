//! What signals do to a broker that has something under way.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::broker::{Broker, signal};

/// Publishes a message to `destination`.
fn publish(broker: &Broker, destination: &str) {
    broker.ask(&format!("POST /v2/publish/{destination}"));
}

/// Waits for an attempt, and leaves it without an answer.
fn attempt(destination: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = destination.accept().unwrap();
    let mut attempt = BufReader::new(stream);
    let mut line = String::new();
    attempt.read_line(&mut line).unwrap();
    assert_eq!(line, "POST / HTTP/1.1\r\n");
    attempt
}

/// Asks for the end, and returns when the broker has heard it: nobody can connect any more.
fn begin_to_stop(broker: &Broker, how: &str) {
    signal(broker.pid(), how);
    while TcpStream::connect(&broker.http).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_second_signal_ends_the_drain_at_once_and_nothing_is_lost() {
    let destination = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", destination.local_addr().unwrap());
    let mut broker = Broker::start();
    publish(&broker, &url);
    // Whoever hangs holds the drain up, and the exit of a drain that came to its end is a success.
    let mut held = vec![attempt(&destination)];
    for [first, second] in [["-TERM", "-TERM"], ["-INT", "-TERM"], ["-TERM", "-INT"]] {
        begin_to_stop(&broker, first);
        let status = broker.stop(second);
        assert_eq!(status.code(), Some(1), "{first} {second}");
        broker.restart();
        held.push(attempt(&destination));
    }
}

#[test]
fn a_drain_leaves_an_attempt_its_time_and_ends_well() {
    let destination = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", destination.local_addr().unwrap());
    let mut broker = Broker::start();
    publish(&broker, &url);
    let mut held = attempt(&destination);
    begin_to_stop(&broker, "-TERM");
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    held.get_mut().write_all(answer).unwrap();
    assert_eq!(broker.ended().code(), Some(0));
}
