//! `ProducerId`: a new id for an idempotent producer, handed out once.
//!
//! The request is empty.
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | id | `u64` | never handed out before |
//! | epoch | `u16` | to begin with |

use super::api_key::ApiKey;
use super::cursor::wire_struct;
use super::frame::Request;

/// Asks for an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdRequest {}
wire_struct!(ProducerIdRequest {});

/// A new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdAnswer {
    /// The id.
    pub id: u64,
    /// The epoch to begin with.
    pub epoch: u16,
}
wire_struct!(ProducerIdAnswer { id, epoch });

impl Request for ProducerIdRequest {
    const KEY: ApiKey = ApiKey::ProducerId;
    type Answer = ProducerIdAnswer;
}
