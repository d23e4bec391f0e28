//! The one way out of the broker: whatever a stranger's URL names, nothing is dialled that the rules forbid.
//!
//! Invariants:
//! - A name is resolved here, once for each connection, and only what was resolved here is dialled: nobody resolves again
//!   between the check and the connection (DNS rebinding). Addresses in the URL are checked by the same rules.
//! - Every address that came back is checked; a forbidden one is never dialled, whatever stands beside it.
//! - After the connection and before a byte is sent, the peer's address is compared with what was dialled.
//! - Proxies of the environment are not looked at. `tests/tidy.rs` keeps other modules from dialling at all.

mod network;
mod ranges;
mod rules;
mod limits;
mod error;
mod lookups;
mod resolve;
mod dial;
mod tls;
mod stream;
mod connector;

pub use connector::Guard;
pub use dial::{Dial, DialFuture, SystemDial};
pub use error::{ConnectError, TrustError};
pub use limits::GuardLimits;
pub use network::{Network, NetworkError};
pub use ranges::{RANGES, Range, Reach};
pub use resolve::{Resolve, ResolveFuture, SystemResolver};
pub use rules::{AddressRules, Forbidden, RulesError};
pub use stream::GuardedStream;
pub use tls::client_config;
