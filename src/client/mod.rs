//! The Rust client: async, pipelined, batching. The command line, the tests and the benches use it and nothing else.
//!
//! [`Client`] holds one connection to a broker and has its requests as methods; [`Producer`] batches records, keeps their
//! order and repeats what fails without storing anything twice; [`Consumer`] reads ahead of whoever takes records from it.

pub mod backoff;
pub mod error;
pub mod options;
pub mod connection;
mod retry;
pub mod api;
pub mod producer;
pub mod consumer;

pub use api::Client;
pub use connection::Connection;
pub use consumer::{Consumer, ConsumerOptions, Start};
pub use error::ClientError;
pub use options::ClientOptions;
pub use producer::{Producer, ProducerOptions};

#[cfg(test)]
mod tests;
