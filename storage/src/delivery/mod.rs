//! Pushed records: the envelope that says where one goes and how, and the log of what became of it.

pub mod limits;
pub mod envelope;

pub use envelope::{Callback, Envelope, FlowControl, Redaction};
