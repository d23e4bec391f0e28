//! The QStash API under `/v2`.

mod limits;
pub mod headers;
pub mod target;
pub mod batch;
pub mod filters;
pub mod views;
