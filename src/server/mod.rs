//! The binary protocol over TCP: accepting connections, reading frames, and answering in their order.
//!
//! Connections are spread over a few threads with a runtime of their own each, so that checking and writing a batch happen
//! on the thread that has just read it. The control plane runs elsewhere.

mod connection;
mod dispatch;
mod frames;
mod listener;

pub use listener::{Bound, Connections, Server};
