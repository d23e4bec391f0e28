//! Why a configuration was refused: where it stands, what it says, and what would be right.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::settings::Source;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// No such key.
    #[error("{source_place}: unknown key {key}{}", suggested(.suggestion.as_deref()))]
    UnknownKey {
        /// Where it stands.
        source_place: Source,
        /// The key, as written.
        key: String,
        /// The nearest known key.
        suggestion: Option<String>,
    },
    /// The value of a known key is wrong.
    #[error("{source_place}: {key} = {value} is not {expected}")]
    Value {
        /// Where it stands.
        source_place: Source,
        /// The key.
        key: &'static str,
        /// The value, or a stand-in for a secret.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// An address off loopback without a token.
    #[error(
        "{key} = {address} can be reached from other machines, but no token is set: set `token` \
         (REDRIVE_TOKEN, --token) and `plaintext = true`, or use a loopback address as 127.0.0.1:{}",
        .address.port()
    )]
    NoToken {
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// An address off loopback without the confirmation that nothing encrypts it here.
    #[error(
        "{key} = {address} can be reached from other machines and the broker speaks no TLS: end TLS in front of it and \
         set `plaintext = true` (REDRIVE_PLAINTEXT=true, --plaintext), or use a loopback address as 127.0.0.1:{}",
        .address.port()
    )]
    NotPlaintext {
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The public development token off loopback.
    #[error(
        "{key} = {address} can be reached from other machines, but the token is the public development token: set a \
         `token` of your own"
    )]
    DevelopmentToken {
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
}

impl ConfigError {
    /// Returns whether a flag of the command line is what is wrong.
    pub fn is_of_flag(&self) -> bool {
        match self {
            Self::UnknownKey { source_place, .. } | Self::Value { source_place, .. } => {
                matches!(source_place, Source::Flag(_))
            }
            Self::Read { .. }
            | Self::Syntax { .. }
            | Self::NoToken { .. }
            | Self::NotPlaintext { .. }
            | Self::DevelopmentToken { .. } => false,
        }
    }
}

fn suggested(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(
        || "; `redrive config reference` lists all keys".to_owned(),
        |near| format!("; did you mean {near}?"),
    )
}
