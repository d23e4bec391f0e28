//! Delivery over HTTP: what a destination may be, the one guarded way out of the broker, and one attempt through it.

pub mod host;
pub mod destination;
pub mod guard;
pub mod client;
