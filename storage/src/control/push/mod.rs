//! What deliveries over HTTP go by: queues, URL groups, schedules, flow-control keys, signing keys.
//!
//! | field of a snapshot | type | meaning |
//! |---|---|---|
//! | queues | list | as in a queue set entry; by name |
//! | URL groups | list | as in a URL group set entry; by name |
//! | next schedule number | u64 | |
//! | schedules | list | as in a schedule set entry; by id |
//! | flow keys | list | as in a flow key set entry; by key |
//! | signing keys | optional | as in a signing keys set entry |

mod queue;
mod url_group;
mod schedule;
mod flow_override;
mod signing_keys;
mod entry;
mod state;
mod rules;
mod snapshot;

pub use entry::PushEntry;
pub use flow_override::FlowOverride;
pub use queue::Queue;
pub use schedule::Schedule;
pub use signing_keys::{SigningKey, SigningKeys};
pub use state::PushState;
pub use url_group::{Endpoint, UrlGroup};

#[cfg(test)]
pub(super) mod tests;
