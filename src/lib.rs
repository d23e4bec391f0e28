//! The broker: topics over logs, the binary protocol, the admin HTTP surface, and the client that the command line uses.
//!
//! Modules are listed lowest layer first; a module imports only modules listed above it.

pub mod limits;
mod causes;
pub mod clock;
pub mod names;
pub mod metrics;
pub mod shutdown;
pub mod strangers;
mod failpoint;
pub mod request_room;
pub mod config;
pub mod protocol;
pub mod engine;
pub mod topic;
pub mod delivery;
pub mod broker;
pub mod client;
pub mod http;
pub mod admin;
pub mod qstash;
pub mod server;
mod open_files;
mod memory_limit;
mod apart;
pub mod run;
pub mod cli;
