//! What an error of the HTTP client means: its class, and its text for people. PURE.
//!
//! The text names hosts and addresses, never a header or a body.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use storage::dead_letter::ErrorClass;

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

    /// Reads an error of the client or of a body.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let chain = chain(error);
        for (at, cause) in chain.iter().enumerate() {
            let found = if let Some(connect) = cause.downcast_ref::<ConnectError>() {
                Some(connect.class())
            } else if let Some(http) = cause.downcast_ref::<hyper::Error>() {
                let is_invalid = http.is_parse() || http.is_parse_too_large() || http.is_user();
                is_invalid.then_some(ErrorClass::PROTOCOL)
            } else {
                cause.downcast_ref::<io::Error>().and_then(class_of_io)
            };
            if let Some(class) = found {
                return Self::new(class, text(chain.get(at..).unwrap_or_default()));
            }
        }
        let from = chain.iter().position(|cause| cause.is::<hyper::Error>());
        let chain = chain.get(from.unwrap_or(0)..).unwrap_or_default();
        Self::new(ErrorClass::BROKEN, text(chain))
    }
}

fn class_of_io(error: &io::Error) -> Option<ErrorClass> {
    // An alert may come after the handshake: in TLS 1.3 one for a client certificate that is missed.
    if error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some()
    {
        return Some(ErrorClass::TLS);
    }
    // How the parser reports a chunk that is none.
    let is_invalid =
        [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput].contains(&error.kind());
    is_invalid.then_some(ErrorClass::PROTOCOL)
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
