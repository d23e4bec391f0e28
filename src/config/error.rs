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
    /// An address off loopback that lacks what makes it safe there.
    #[error("{source_place}: {key} = {address} can be reached from other machines{}", .lack.told(*.address))]
    Reachable {
        /// Where the address stands.
        source_place: Source,
        /// The key of the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What is missing.
        lack: Lack,
    },
}

/// What an address off loopback lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A token.
    Token,
    /// A token that is not the public development token.
    OwnToken,
    /// The confirmation that nothing encrypts it here.
    Plaintext,
}

impl Lack {
    fn told(self, address: SocketAddr) -> String {
        let port = address.port();
        match self {
            Self::Token => format!(
                ", but no token is set: set `token` (REDRIVE_TOKEN, --token) and `plaintext = true`, or use a loopback \
                 address as 127.0.0.1:{port}"
            ),
            Self::OwnToken => {
                ", but the token is the public development token: set a `token` of your own"
                    .to_owned()
            }
            Self::Plaintext => format!(
                " and the broker speaks no TLS: end TLS in front of it and set `plaintext = true` \
                 (REDRIVE_PLAINTEXT=true, --plaintext), or use a loopback address as 127.0.0.1:{port}"
            ),
        }
    }
}

impl ConfigError {
    /// Returns whether a flag of the command line is what is wrong.
    pub fn is_of_flag(&self) -> bool {
        match self {
            Self::UnknownKey { source_place, .. } | Self::Value { source_place, .. } => {
                matches!(source_place, Source::Flag(_))
            }
            Self::Read { .. } | Self::Syntax { .. } | Self::Reachable { .. } => false,
        }
    }
}

fn suggested(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(
        || "; `redrive config reference` lists all keys".to_owned(),
        |near| format!("; did you mean {near}?"),
    )
}
