//! Configuration: a TOML file, then `REDRIVE_*` variables, then flags, each overriding the one before.
//!
//! Every key is declared once, in `keys`; the file, the environment, `--set`, `config print` and the reference in the
//! README all follow from that table. An unknown key is an error that names its line and the nearest known key. The
//! token's text is hashed the moment it is read and kept nowhere.

mod units;
mod nearest;
mod secret;
mod kind;
mod keys;
mod error;
mod file;
mod settings;
mod reader;
mod serve;
mod reference;

pub use error::{ConfigError, Lack};
pub(crate) use keys::check_topic_setting;
pub use keys::{KEYS, Key};
pub use kind::Kind;
pub use reference::{effective, reference_markdown};
pub use secret::Secret;
pub use serve::{
    AccessConfig, DeliveryConfig, DestinationConfig, Durability, FetchConfig, HttpConfig,
    LogFormat, LogLevel, LoggingConfig, ProtocolConfig, ServeConfig, StorageConfig, TopicDefaults,
};
pub use settings::{FileText, FlagValue, Settings, Source, Value};
pub use units::{UnitError, format_bytes, format_duration_ms, parse_bytes, parse_duration_ms};

/// The public development credentials that the QStash SDKs know for a server on this machine. They are in force only
/// while no token is configured, and accepted on loopback only.
pub mod development {
    /// The token.
    pub const TOKEN: &str =
        "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=";
    /// The key that signs deliveries.
    pub const CURRENT_SIGNING_KEY: &str = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r";
    /// The key that signs deliveries after a rotation.
    pub const NEXT_SIGNING_KEY: &str = "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs";
}

#[cfg(test)]
mod tests;
