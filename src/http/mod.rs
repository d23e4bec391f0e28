//! What both HTTP surfaces share: the accept loop, the route table, access rules, bounded bodies, answers.
//!
//! A surface is an async function from a request to a [`Response`]; hyper 1 is used directly. Framing is hyper's
//! business: what is ambiguous (two lengths, a length and chunks, a bare line feed) is answered 400 and the connection
//! ends.

pub mod limits;
pub mod query;
pub mod route;
pub mod response;
pub mod error;
pub mod auth;
pub mod body;
pub mod listener;

pub use auth::{Access, Denied};
pub use error::ApiError;
pub use listener::{HttpLimits, PeerAddress, serve};
pub use response::Response;
pub use route::{Found, RouteError, RouteTable};

#[cfg(test)]
mod tests;
