//! The bodies of the fuzz targets: each takes any bytes and panics when a promise is broken.
//!
//! They are plain functions, so that the corpora also run in the ordinary tests (`tests/fuzz_corpora.rs`). A body must not
//! depend on anything but its bytes: no clock, no randomness, no files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a fuzz target panics to report what it found"
)]

mod input;

pub mod answer_headers;
pub mod checkpoint;
pub mod configuration;
pub mod control_entry;
pub mod decode_batch;
pub mod decode_frame;
pub mod decode_letter;
pub mod delivery_entry;
pub mod destination;
pub mod dlq_query;
pub mod log_ops;
pub mod open_index;
pub mod qstash_headers;
pub mod retry_expression;
pub mod route_http;
pub mod scan_segment;
pub mod schedule;
pub mod signature;

/// A target: it panics when the bytes break a promise.
pub type Body = fn(&[u8]);

/// Every target with its name, which is also that of its corpus.
pub const TARGETS: [(&str, Body); 18] = [
    ("answer_headers", answer_headers::run),
    ("checkpoint", checkpoint::run),
    ("configuration", configuration::run),
    ("control_entry", control_entry::run),
    ("decode_batch", decode_batch::run),
    ("decode_frame", decode_frame::run),
    ("decode_letter", decode_letter::run),
    ("delivery_entry", delivery_entry::run),
    ("destination", destination::run),
    ("dlq_query", dlq_query::run),
    ("log_ops", log_ops::run),
    ("open_index", open_index::run),
    ("qstash_headers", qstash_headers::run),
    ("retry_expression", retry_expression::run),
    ("route_http", route_http::run),
    ("scan_segment", scan_segment::run),
    ("schedule", schedule::run),
    ("signature", signature::run),
];
