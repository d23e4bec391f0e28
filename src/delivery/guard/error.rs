//! Why there is no connection.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use storage::dead_letter::ErrorClass;

use super::rules::Forbidden;
use crate::delivery::host::HostError;

/// Why there is no connection to a destination. No byte of the request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL has no host that can be dialled.
    #[error("the URL leads nowhere")]
    Host(#[source] HostError),
    /// The lookup failed.
    #[error("cannot resolve {name}")]
    Resolve {
        /// The name.
        name: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The rules forbid every address.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The connection leads elsewhere than it was dialled: something on this machine redirects it.
    #[error("the connection to {dialled} leads to {found}")]
    Redirected {
        /// What was dialled.
        dialled: SocketAddr,
        /// Where it led.
        found: SocketAddr,
    },
    /// The last address that was dialled did not answer or refused.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS with {host} failed")]
    Tls {
        /// The host.
        host: String,
        /// What failed.
        source: io::Error,
    },
    /// The broker stops.
    #[error("the broker makes no more connections")]
    Closed,
}

impl ConnectError {
    /// Returns the class for the history of attempts.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Resolve { .. } => ErrorClass::RESOLVE,
            Self::Host(_) | Self::Forbidden(_) | Self::Redirected { .. } => ErrorClass::FORBIDDEN,
            Self::Connect { .. } | Self::Closed => ErrorClass::CONNECT,
            Self::Tls { .. } => ErrorClass::TLS,
        }
    }
}

/// A file of certificate authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read destinations.ca_file = {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no certificate, or something else between its lines.
    #[error("destinations.ca_file = {path} is no PEM file of certificates: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate in it is no authority's.
    #[error("destinations.ca_file = {path}: certificate {number} cannot be an authority")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Which certificate, from 1.
        number: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The cryptography lacks what TLS 1.2 and 1.3 need.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}
