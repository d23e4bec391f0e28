//! What both HTTP surfaces share: the accept loop, the route table, access rules, bounded bodies, answers.
//!
//! A surface is an async function from a request to a [`Response`]; hyper 1 is used directly. Framing is hyper's
//! business: two different lengths or an unknown transfer coding are answered 400 and the connection ends, and so is more
//! than one coding. Where HTTP
//! allows a lenient reading hyper takes it: a bare line feed ends a header line, and chunks count before a length that
//! stands beside them, after which the connection ends, so that nothing smuggled behind them is read.

pub mod limits;
pub mod query;
pub mod base64;
pub mod route;
pub mod response;
pub mod error;
pub mod refusal;
pub mod parameters;
pub mod auth;
pub mod body;
mod framing;
mod timed;
pub mod listener;

pub use auth::{Access, Denied};
pub use error::ApiError;
pub use listener::{HttpLimits, PeerAddress, Visitor, connection, serve};
pub use response::Response;
pub use route::{Found, RouteError, RouteTable};

#[cfg(test)]
mod tests;
