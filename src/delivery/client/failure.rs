//! What an error of the HTTP client means: its class, and its text for people. PURE.
//!
//! The text names hosts and addresses, never a header or a body.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};

use storage::dead_letter::ErrorClass;

use super::link::{HEAD_BYTES_MAX, HEADER_COUNT_MAX};
use crate::delivery::guard::ConnectError;

/// Longest text of an error, in bytes: a certificate may name hundreds of hosts.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { class, text }
    }

    /// Reads an error that the client met with a host. The client's own words are for those who program with it: what is told
    /// depends on the kind of error alone, so that letters which died of the same cause have the same fingerprint.
    pub(super) fn of(host: &str, error: &(dyn Error + 'static)) -> Self {
        let chain = chain(error);
        for (at, cause) in chain.iter().enumerate() {
            let told = || text(chain.get(at..).unwrap_or_default());
            if let Some(connect) = cause.downcast_ref::<ConnectError>() {
                return Self::new(connect.class(), told());
            }
            if let Some(wrong) = cause.downcast_ref().and_then(wrong_http) {
                return Self::new(ErrorClass::PROTOCOL, format!("{host} {wrong}"));
            }
            let Some(error) = cause.downcast_ref::<io::Error>() else {
                continue;
            };
            // An alert may come after the handshake: in TLS 1.3 one for a client certificate that is missed.
            if error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some()
            {
                let text = format!("TLS with {host} failed: {}", told());
                return Self::new(ErrorClass::TLS, text);
            }
            // How the parser reports a chunk that is none.
            if [ErrorKind::InvalidData, ErrorKind::InvalidInput].contains(&error.kind()) {
                return Self::new(ErrorClass::PROTOCOL, format!("{host} {WRONG_CHUNK}"));
            }
        }
        Self::new(ErrorClass::BROKEN, broken(host, &chain))
    }
}

const WRONG_CHUNK: &str = "sent a body with an invalid chunk: before each chunk must stand its size, in hexadecimal digits";

/// Says what a host did that is not HTTP/1.1, or does not fit the limits; `None` when the connection broke.
fn wrong_http(error: &hyper::Error) -> Option<String> {
    if error.is_parse_too_large() {
        let kib = HEAD_BYTES_MAX >> 10;
        return Some(format!(
            "sent too large a head of an answer: at most {kib} KiB and {HEADER_COUNT_MAX} headers are taken"
        ));
    }
    let wrong = if error.is_parse_version_h2() {
        "answered in HTTP/2: deliveries are made by HTTP/1.1"
    } else if error.is_parse_status() {
        "sent an invalid status: it must have three digits, as in HTTP/1.1 200 OK"
    } else if error.is_parse() {
        "sent what is no valid HTTP/1.1: an answer begins with a line such as HTTP/1.1 200 OK, and valid headers follow"
    } else if error.is_user() {
        "was not sent the request: it cannot be put into HTTP/1.1"
    } else {
        return None;
    };
    Some(wrong.to_owned())
}

/// Says how a connection ended before its time.
fn broken(host: &str, chain: &[&(dyn Error + 'static)]) -> String {
    let system = chain.iter().rev();
    let mut system = system.filter_map(|cause| cause.downcast_ref::<io::Error>());
    match system.next() {
        Some(error) if error.kind() != ErrorKind::UnexpectedEof => {
            format!("the connection to {host} broke before the answer was whole: {error}")
        }
        _ => format!("{host} closed the connection before the answer was whole"),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain = vec![error];
    let mut cause = error.source();
    while let Some(error) = cause {
        chain.push(error);
        cause = error.source();
    }
    chain
}

fn text(chain: &[&(dyn Error + 'static)]) -> String {
    let mut text = String::new();
    for cause in chain {
        let lead = if text.is_empty() { "" } else { ": " };
        // Writing to a string does not fail.
        let _ok = write!(text, "{lead}{cause}");
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.truncate(end);
    text
}
