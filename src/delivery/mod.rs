//! Delivering pushed messages over HTTP: the pure decisions, the guarded client, and the gates.
//!
//! What needs the broker's partitions lives above, in the broker.

pub mod gates;
pub mod window;
