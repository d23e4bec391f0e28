//! The one table of configuration keys: name, flag, kind, default, help.

use storage::limits as storage_limits;

use super::kind::Kind;
use crate::limits::FRAME_BYTES_MAX;

/// Declaration of one configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name in the file; a dot separates a table from its key.
    pub name: &'static str,
    /// Flag of `redrive serve` that sets it, without dashes; others are set by `--set NAME=VALUE`.
    pub flag: Option<&'static str>,
    /// What its value may be.
    pub kind: Kind,
    /// Default, as one would write it; empty for a key that is unset by default.
    pub default: &'static str,
    /// One sentence of help.
    pub help: &'static str,
}

impl Key {
    /// Returns the environment variable that sets the key: `REDRIVE_TOPIC_SEGMENT_BYTES`.
    pub fn variable(&self) -> String {
        format!(
            "REDRIVE_{}",
            self.name.replace('.', "_").to_ascii_uppercase()
        )
    }
}

const GIB: u64 = 1 << 30;
const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400 * SECOND_MS;

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key {
        name,
        flag: None,
        kind,
        default,
        help,
    }
}

const fn with_flag(flag: &'static str, key: Key) -> Key {
    Key {
        flag: Some(flag),
        ..key
    }
}

const fn wide(bytes: u32) -> u64 {
    bytes as u64
}

/// All keys, in the order of the reference.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    with_flag("data-dir", key("data_dir", Kind::Path, "./redrive-data",
        "Directory that holds all data; created if missing, owned by one broker at a time.")),
    with_flag("http", key("http", Kind::Address, "127.0.0.1:8080",
        "Address of the HTTP surface; port 0 takes a free port.")),
    with_flag("listen", key("listen", Kind::Address, "127.0.0.1:7733",
        "Address of the binary protocol; port 0 takes a free port.")),
    with_flag("token", key("token", Kind::Secret, "",
        "Token that clients must show. Unset: the public development credentials are in force, on loopback only.")),
    with_flag("plaintext", key("plaintext", Kind::Switch, "false",
        "Confirms that an address off loopback is served without TLS, which ends in front of the broker.")),
    key("destinations.allow_private", Kind::SwitchOrAuto, "auto",
        "Whether deliveries may go to private, loopback and link-local addresses; auto allows it while every address is loopback."),
    key("destinations.allowed", Kind::List, "",
        "Hosts and networks that deliveries may go to although they are private, as api.internal or 10.1.0.0/16."),
    key("destinations.ca_file", Kind::Path, "",
        "PEM file of certificate authorities that deliveries trust besides the public ones."),
    key("delivery.partitions", Kind::Count(1, 1024), "8",
        "Partitions that pushed messages are spread over; fixed when the data directory is first used."),
    key("delivery.in_flight_max", Kind::Count(1, 1 << 16), "1024",
        "Attempts under way at a time, over all destinations. One whose body has more than 64 KiB counts as one for each 64 KiB."),
    key("delivery.destination_in_flight_max", Kind::Count(1, 1 << 16), "48",
        "Attempts under way at a time to one destination: host and port."),
    key("delivery.pending_max", Kind::Count(1, 1 << 30), "2000000",
        "Messages that have not come to their end; above it publish is answered 429."),
    key("delivery.deduplication_ids_max", Kind::Count(1, 1 << 30), "4000000",
        "Deduplication ids that are remembered, each for ten minutes; above it publish with another one is answered 429."),
    key("delivery.message_bytes_max", Kind::Bytes(1 << 10, wide(storage_limits::RECORD_BYTES_CEILING) - (1 << 17)), "1MiB",
        "Largest body of a message; a larger one is answered 413."),
    key("delivery.timeout_ms", Kind::Duration(1, DAY_MS), "2m",
        "Time for an attempt of a message that does not say."),
    key("delivery.timeout_ms_max", Kind::Duration(1, DAY_MS), "2h",
        "Longest time for an attempt that a message may ask for; a longer one is cut to it."),
    key("delivery.retention_ms", Kind::DurationOrNone(SECOND_MS), "3d",
        "Age from which delivered messages and the events of their deliveries are deleted."),
    key("storage.min_free_bytes", Kind::Bytes(0, 1 << 50), "1GiB",
        "Free space below which produce and publish are refused as retryable, and everything else goes on."),
    key("storage.sync_threads", Kind::Count(1, 256), "16",
        "Threads that sync files."),
    with_flag("segment-bytes", key("topic.segment_bytes",
        Kind::Bytes(wide(storage_limits::SEGMENT_BYTES_MIN), wide(storage_limits::SEGMENT_BYTES_MAX)), "128MiB",
        "Size at which a segment is sealed, for topics that do not say.")),
    key("topic.segment_ms", Kind::Duration(SECOND_MS, 3650 * DAY_MS), "1d",
        "Age at which a segment is sealed."),
    with_flag("retention-ms", key("topic.retention_ms", Kind::DurationOrNone(SECOND_MS), "7d",
        "Age from which sealed segments of the main log are deleted.")),
    with_flag("retention-bytes", key("topic.retention_bytes", Kind::BytesOrNone(1), "none",
        "Size of a partition's main log above which its oldest sealed segments are deleted.")),
    key("topic.dead_letter_retention_ms", Kind::DurationOrNone(SECOND_MS), "30d",
        "Age from which dead letters are deleted, counted from their death."),
    key("topic.dead_letter_retention_bytes", Kind::BytesOrNone(1), "none",
        "Size of a partition's dead-letter log above which its oldest sealed segments are deleted."),
    key("topic.durability", Kind::Choice(&["synced", "written"]), "synced",
        "When a batch is acknowledged: synced survives any crash, written a crash of the process alone."),
    key("topic.record_bytes_max", Kind::Bytes(1 << 10, wide(storage_limits::RECORD_BYTES_CEILING)), "1MiB",
        "Largest record: key, value and headers together."),
    key("topic.batch_bytes_max", Kind::Bytes(4 << 10, wide(storage_limits::BATCH_BYTES_CEILING)), "8MiB",
        "Largest batch, as sent."),
    key("limits.connections_max", Kind::Count(1, 1 << 20), "4096",
        "Connections of the binary protocol at a time; above it one that has not shown the token gives way, or the new one is closed."),
    key("limits.handshake_ms_max", Kind::Duration(SECOND_MS, DAY_MS), "10s",
        "Time from a connection of the binary protocol to the end of its handshake."),
    key("limits.frame_ms_max", Kind::Duration(SECOND_MS, DAY_MS), "1m",
        "Time from the first byte of a frame to its last; a slower one ends its connection."),
    key("limits.write_ms_max", Kind::Duration(SECOND_MS, DAY_MS), "1m",
        "Time that a peer has to take a piece of its answer, over HTTP as well; a slower one loses its connection."),
    key("limits.frame_bytes_max", Kind::Bytes(64 << 10, wide(FRAME_BYTES_MAX)), "64MiB",
        "Largest frame of the binary protocol; a longer one ends its connection."),
    key("limits.in_flight_max", Kind::Count(1, 1 << 16), "256",
        "Requests of one connection that are not yet answered; further ones are not read until then."),
    key("limits.in_flight_bytes_max", Kind::Bytes(1 << 20, 64 * GIB), "256MiB",
        "Bytes of requests in memory over all connections; above it sockets are not read."),
    key("limits.http_connections_max", Kind::Count(1, 1 << 20), "1024",
        "HTTP connections at a time; above it one without a token and a request gives way, or the new one waits."),
    key("limits.http_body_bytes_max", Kind::Bytes(1 << 10, GIB), "8MiB",
        "Largest HTTP request body; a longer one is answered 413."),
    key("limits.http_body_ms_max", Kind::Duration(SECOND_MS, DAY_MS), "30s",
        "Time for a whole HTTP request body; a slower one is answered 408."),
    key("limits.http_idle_ms_max", Kind::Duration(SECOND_MS, DAY_MS), "1m",
        "Time to the end of a request's headers, also while a kept-alive HTTP connection is idle."),
    key("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "info",
        "Least severe messages that are logged to stderr."),
    key("log.format", Kind::Choice(&["text", "json"]), "text",
        "Whether a log line is for people or a JSON object."),
];

/// Returns the declaration of `name`.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Checks a number that a topic's setting is to have, by the bounds of the key that is its default.
///
/// # Errors
/// What would be right.
pub(crate) fn check_topic_setting(setting: &str, value: u64) -> Result<(), String> {
    let key = KEYS.iter().find(|key| {
        key.name
            .strip_prefix("topic.")
            .is_some_and(|name| name == setting)
    });
    key.map_or(Ok(()), |key| key.kind.check(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check_and_names_are_unique() {
        for (position, key) in KEYS.iter().enumerate() {
            if !key.default.is_empty() {
                assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
            }
            assert!(
                KEYS.iter()
                    .skip(position + 1)
                    .all(|other| other.variable() != key.variable())
            );
            assert!(key.help.ends_with('.'), "{}", key.name);
        }
    }
}
