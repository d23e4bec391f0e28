//! Delivery by HTTP push: what is sent, when it is sent again, and when it has failed for good.

pub mod api;
pub mod filter;
pub mod log_cursor;
pub mod settings;
