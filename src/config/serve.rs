//! The validated configuration of `redrive serve`: one struct for each component, and the rules between keys. PURE.

use std::net::SocketAddr;
use std::path::PathBuf;

use storage::limits::{LETTER_OVERHEAD_BYTES, RECENT_BYTES_TOTAL_MAX};

use super::development;
use super::error::{ConfigError, Lack};
use super::kind::{AUTO, parse_switch};
use super::reader::Reader;
use super::secret::Secret;
use super::settings::Settings;
use super::units::format_bytes;
use crate::limits::FETCHED_BYTES_MAX;

/// Everything that `redrive serve` runs by.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Directory that holds all data.
    pub data_dir: PathBuf,
    /// Who may use the broker.
    pub access: AccessConfig,
    /// The HTTP surface.
    pub http: HttpConfig,
    /// The binary protocol.
    pub protocol: ProtocolConfig,
    /// Where deliveries may go.
    pub destinations: DestinationConfig,
    /// How messages are delivered.
    pub delivery: DeliveryConfig,
    /// The disk.
    pub storage: StorageConfig,
    /// What a topic gets that does not say otherwise.
    pub topic: TopicDefaults,
    /// What is logged.
    pub logging: LoggingConfig,
    /// What answers to fetches take in memory.
    pub fetches: FetchConfig,
}

/// What answers to fetches may take in memory. Nobody configures it; a limit on the process's memory lowers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchConfig {
    /// Bytes that are read and not sent, over all connections.
    pub answer_bytes_max: u64,
    /// Bytes of the batches appended last, over all logs.
    pub recent_bytes_max: usize,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            answer_bytes_max: FETCHED_BYTES_MAX,
            recent_bytes_max: RECENT_BYTES_TOTAL_MAX,
        }
    }
}

/// Who may use the broker.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// The token that a client must show: the configured one, or the public development token.
    pub token: Secret,
    /// Whether the development credentials are in force. Every address is then loopback.
    pub is_development: bool,
}

/// The HTTP surface.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Connections at a time.
    pub connections_max: usize,
    /// Largest request body, in bytes.
    pub body_bytes_max: u64,
    /// Time for a whole request body, in milliseconds.
    pub body_ms_max: u64,
    /// Time to the end of a request's headers, in milliseconds.
    pub idle_ms_max: u64,
    /// Time that a peer has to take a piece of its answer, in milliseconds.
    pub write_ms_max: u64,
}

/// The binary protocol.
#[derive(Debug, Clone)]
pub struct ProtocolConfig {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Connections at a time.
    pub connections_max: usize,
    /// Largest frame, in bytes.
    pub frame_bytes_max: u32,
    /// Unanswered requests of one connection.
    pub in_flight_max: usize,
    /// Bytes of requests in memory, over all connections.
    pub in_flight_bytes_max: u64,
    /// Time to the end of the handshake, in milliseconds.
    pub handshake_ms_max: u64,
    /// Time for a frame, in milliseconds.
    pub frame_ms_max: u64,
    /// Time that a peer has to take a piece of its answers, in milliseconds.
    pub write_ms_max: u64,
}

/// Where deliveries may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationConfig {
    /// Whether private, loopback and link-local addresses are allowed.
    pub allow_private: bool,
    /// Hosts and networks that are allowed although private.
    pub allowed: Vec<String>,
    /// PEM file of certificate authorities that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// How messages are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Partitions of the topic of pushed messages, when it is created.
    pub partition_count: u32,
    /// Attempts under way at a time.
    pub in_flight_max: usize,
    /// Attempts under way at a time to one destination.
    pub destination_in_flight_max: usize,
    /// Messages that have not come to their end.
    pub pending_max: usize,
    /// Deduplication ids that are remembered.
    pub deduplication_ids_max: usize,
    /// Largest body of a message, in bytes.
    pub message_bytes_max: u32,
    /// Time for an attempt of a message that does not say, in milliseconds.
    pub timeout_ms: u64,
    /// Longest time for an attempt, in milliseconds.
    pub timeout_ms_max: u64,
    /// Age from which delivered messages and events are deleted, in milliseconds; `None` keeps them.
    pub retention_ms: Option<i64>,
}

/// The disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageConfig {
    /// Free bytes below which produce is refused.
    pub min_free_bytes: u64,
    /// Threads that sync files.
    pub sync_threads: usize,
}

/// When a batch is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// After an fdatasync that began after its write.
    Synced,
    /// After its write.
    Written,
}

/// What a topic gets that does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicDefaults {
    /// When a batch is acknowledged.
    pub durability: Durability,
    /// Size at which a segment is sealed.
    pub segment_bytes: u32,
    /// Age at which a segment is sealed, in milliseconds.
    pub segment_ms: i64,
    /// Age from which sealed segments are deleted, in milliseconds; `None` keeps them.
    pub retention_ms: Option<i64>,
    /// Size of a partition's main log above which segments are deleted; `None` has no limit.
    pub retention_bytes: Option<u64>,
    /// Age from which dead letters are deleted, in milliseconds; `None` keeps them.
    pub dead_letter_retention_ms: Option<i64>,
    /// Size of a partition's dead-letter log above which segments are deleted; `None` has no limit.
    pub dead_letter_retention_bytes: Option<u64>,
    /// Largest record, in bytes.
    pub record_bytes_max: u32,
    /// Largest batch, in bytes.
    pub batch_bytes_max: u32,
}

/// Least severe message that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something needs attention.
    Warn,
    /// What the broker does.
    Info,
    /// How it does it.
    Debug,
    /// Every step.
    Trace,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object.
    Json,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggingConfig {
    /// Least severe message that is logged.
    pub level: LogLevel,
    /// Form of a log line.
    pub format: LogFormat,
}

impl ServeConfig {
    /// Builds the configuration and checks the rules between keys.
    ///
    /// # Errors
    /// [`ConfigError::Reachable`] for an address off loopback, [`ConfigError::Value`] for sizes that contradict each other.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let reader = Reader::new(settings);
        let http = http(&reader)?;
        let protocol = protocol(&reader)?;
        let topic = topic(&reader)?;
        let addresses = [("http", http.address), ("listen", protocol.address)];
        let access = access(&reader, addresses)?;
        check_sizes(&reader, &topic, &protocol)?;
        let is_loopback = addresses.iter().all(|(_, address)| is_loopback(*address));
        Ok(Self {
            data_dir: reader.read("data_dir", |text| Some(PathBuf::from(text)))?,
            access,
            http,
            protocol,
            destinations: DestinationConfig {
                allow_private: reader.read("destinations.allow_private", |text| {
                    if text == AUTO {
                        Some(is_loopback)
                    } else {
                        parse_switch(text)
                    }
                })?,
                allowed: reader.list("destinations.allowed"),
                ca_file: reader.optional_path("destinations.ca_file"),
            },
            delivery: delivery(&reader)?,
            storage: StorageConfig {
                min_free_bytes: reader.bytes("storage.min_free_bytes")?,
                sync_threads: reader.count("storage.sync_threads")?,
            },
            topic,
            logging: logging(&reader)?,
            fetches: FetchConfig::default(),
        })
    }
}

fn http(reader: &Reader<'_>) -> Result<HttpConfig, ConfigError> {
    Ok(HttpConfig {
        address: reader.read("http", |text| text.parse().ok())?,
        connections_max: reader.count("limits.http_connections_max")?,
        body_bytes_max: reader.bytes("limits.http_body_bytes_max")?,
        body_ms_max: reader.ms("limits.http_body_ms_max")?,
        idle_ms_max: reader.ms("limits.http_idle_ms_max")?,
        write_ms_max: reader.ms("limits.write_ms_max")?,
    })
}

fn protocol(reader: &Reader<'_>) -> Result<ProtocolConfig, ConfigError> {
    Ok(ProtocolConfig {
        address: reader.read("listen", |text| text.parse().ok())?,
        connections_max: reader.count("limits.connections_max")?,
        frame_bytes_max: reader.bytes("limits.frame_bytes_max")?,
        in_flight_max: reader.count("limits.in_flight_max")?,
        in_flight_bytes_max: reader.bytes("limits.in_flight_bytes_max")?,
        handshake_ms_max: reader.ms("limits.handshake_ms_max")?,
        frame_ms_max: reader.ms("limits.frame_ms_max")?,
        write_ms_max: reader.ms("limits.write_ms_max")?,
    })
}

fn delivery(reader: &Reader<'_>) -> Result<DeliveryConfig, ConfigError> {
    let partition_count = reader.count("delivery.partitions")?;
    Ok(DeliveryConfig {
        partition_count: u32::try_from(partition_count).unwrap_or(u32::MAX),
        in_flight_max: reader.count("delivery.in_flight_max")?,
        destination_in_flight_max: reader.count("delivery.destination_in_flight_max")?,
        pending_max: reader.count("delivery.pending_max")?,
        deduplication_ids_max: reader.count("delivery.deduplication_ids_max")?,
        message_bytes_max: reader.bytes("delivery.message_bytes_max")?,
        timeout_ms: reader.ms("delivery.timeout_ms")?,
        timeout_ms_max: reader.ms("delivery.timeout_ms_max")?,
        retention_ms: reader.optional_ms("delivery.retention_ms")?,
    })
}

fn topic(reader: &Reader<'_>) -> Result<TopicDefaults, ConfigError> {
    Ok(TopicDefaults {
        durability: reader.read("topic.durability", |text| match text {
            "synced" => Some(Durability::Synced),
            "written" => Some(Durability::Written),
            _ => None,
        })?,
        segment_bytes: reader.bytes("topic.segment_bytes")?,
        segment_ms: reader.ms("topic.segment_ms")?,
        retention_ms: reader.optional_ms("topic.retention_ms")?,
        retention_bytes: reader.optional_bytes("topic.retention_bytes")?,
        dead_letter_retention_ms: reader.optional_ms("topic.dead_letter_retention_ms")?,
        dead_letter_retention_bytes: reader.optional_bytes("topic.dead_letter_retention_bytes")?,
        record_bytes_max: reader.bytes("topic.record_bytes_max")?,
        batch_bytes_max: reader.bytes("topic.batch_bytes_max")?,
    })
}

fn logging(reader: &Reader<'_>) -> Result<LoggingConfig, ConfigError> {
    Ok(LoggingConfig {
        level: reader.read("log.level", |text| match text {
            "error" => Some(LogLevel::Error),
            "warn" => Some(LogLevel::Warn),
            "info" => Some(LogLevel::Info),
            "debug" => Some(LogLevel::Debug),
            "trace" => Some(LogLevel::Trace),
            _ => None,
        })?,
        format: reader.read("log.format", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        })?,
    })
}

/// Keeps the rule that nobody off this machine talks to a broker without a token, or without its owner having said that
/// nothing is encrypted here.
fn access(
    reader: &Reader<'_>,
    addresses: [(&'static str, SocketAddr); 2],
) -> Result<AccessConfig, ConfigError> {
    let token = reader.secret("token");
    let is_plaintext = reader.read("plaintext", parse_switch)?;
    for (key, address) in addresses {
        if is_loopback(address) {
            continue;
        }
        let lack = match &token {
            None => Lack::Token,
            Some(token) if token.matches(development::TOKEN.as_bytes()) => Lack::OwnToken,
            Some(_) if !is_plaintext => Lack::Plaintext,
            Some(_) => continue,
        };
        return Err(ConfigError::Reachable {
            source_place: reader.source(key),
            key,
            address,
            lack,
        });
    }
    // Whoever sets the development token by hand gets its rules as well: every web page knows it.
    let is_development = token
        .as_ref()
        .is_none_or(|token| token.matches(development::TOKEN.as_bytes()));
    let token = token.unwrap_or_else(|| Secret::new(development::TOKEN));
    Ok(AccessConfig {
        token,
        is_development,
    })
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn check_sizes(
    reader: &Reader<'_>,
    topic: &TopicDefaults,
    protocol: &ProtocolConfig,
) -> Result<(), ConfigError> {
    let overhead = u64::from(LETTER_OVERHEAD_BYTES);
    if u64::from(topic.record_bytes_max) + overhead > u64::from(topic.batch_bytes_max) {
        let room = u64::from(topic.batch_bytes_max).saturating_sub(overhead);
        let expected = format!(
            "at most {}, which is topic.batch_bytes_max less {} for a dead letter's history",
            format_bytes(room),
            format_bytes(overhead),
        );
        return Err(reader.contradiction("topic.record_bytes_max", expected));
    }
    // A frame holds a batch and the request around it.
    if u64::from(topic.batch_bytes_max) + overhead > u64::from(protocol.frame_bytes_max) {
        let expected = format!(
            "at least {}, which is topic.batch_bytes_max and {} for the request around it",
            format_bytes(u64::from(topic.batch_bytes_max) + overhead),
            format_bytes(overhead),
        );
        return Err(reader.contradiction("limits.frame_bytes_max", expected));
    }
    Ok(())
}
