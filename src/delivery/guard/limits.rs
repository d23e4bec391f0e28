//! Every maximum of the way out, each with its reason.

use std::time::Duration;

/// Longest lookup of a name: a resolver that asks twice has answered by then.
pub(super) const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Lookups at a time. Each takes a thread, and one that hangs keeps it; this many hang before others wait.
pub(super) const RESOLVE_COUNT_MAX: usize = 64;

/// Lookups of one name at a time: a name whose servers hang keeps these, and the others have the rest. A busy destination
/// needs few, for its connections are kept.
pub(super) const RESOLVE_COUNT_PER_NAME_MAX: usize = 4;

/// Addresses of one name that are looked at.
pub(super) const ADDRESS_COUNT_MAX: usize = 64;

/// Addresses of one name that are dialled before the attempt fails.
pub(super) const DIAL_COUNT_MAX: usize = 4;

/// Longest connection to one address: two lost packets are borne (RFC 6298: 1 s and 2 s).
pub(super) const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest TLS handshake.
pub(super) const TLS_WAIT_MAX: Duration = Duration::from_secs(10);

/// Connections at a time, idle ones among them: those of the attempts under way by default, and the idle ones of two dozen
/// destinations that were busy a moment ago. Each of them is an open file.
pub(super) const CONNECTION_COUNT_MAX: usize = 4_096;

/// Largest file of certificate authorities, in bytes: some ten times what an operating system ships.
pub(super) const CA_FILE_BYTES_MAX: u64 = 4 << 20;

/// What an operator's machine or a test may want otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardLimits {
    /// Longest lookup of a name.
    pub resolve_wait_max: Duration,
    /// Longest connection to one address.
    pub connect_wait_max: Duration,
    /// Longest TLS handshake.
    pub tls_wait_max: Duration,
    /// Connections at a time, idle ones among them. A further one waits for its place within the attempt's time.
    pub connection_count_max: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            resolve_wait_max: RESOLVE_WAIT_MAX,
            connect_wait_max: CONNECT_WAIT_MAX,
            tls_wait_max: TLS_WAIT_MAX,
            connection_count_max: CONNECTION_COUNT_MAX,
        }
    }
}
