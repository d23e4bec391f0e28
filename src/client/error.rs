//! What can go wrong for a client, with the facts, and whether asking again may help.

use std::io;
use std::sync::Arc;

use storage::batch::BuildError;
use storage::error::Corruption;
use storage::offset::Offset;

use crate::protocol::cursor::{DecodeError, EncodeError};
use crate::protocol::error_code::Refusal;
use crate::protocol::frame::FrameTooLarge;

/// Why a request, a delivery or a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot connect to {addr}")]
    Connect {
        /// Address of the broker.
        addr: Arc<str>,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The connection ended before the answer came: whether the request was carried out is unknown.
    #[error("the connection to {addr} ended")]
    Disconnected {
        /// Address of the broker.
        addr: Arc<str>,
        /// What the system said, if it was an error.
        source: Option<Arc<io::Error>>,
    },
    /// The answer did not come in time: whether the request was carried out is unknown.
    #[error("{doing}: {addr} did not answer within {ms} ms")]
    TimedOut {
        /// Address of the broker.
        addr: Arc<str>,
        /// What was being done, as in "creating a topic".
        doing: &'static str,
        /// How long it was waited, in milliseconds.
        ms: u64,
    },
    /// The broker refused the request.
    #[error("{doing} was refused: {refusal}")]
    Refused {
        /// What was being done, as in "creating a topic".
        doing: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// The broker refused what was asked of one partition.
    #[error("{doing} was refused for partition {partition} of {topic}: {refusal}")]
    PartitionRefused {
        /// What was being done, as in "creating a topic".
        doing: &'static str,
        /// Topic.
        topic: Arc<str>,
        /// Index of the partition within the topic.
        partition: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The offset is outside of what the partition holds.
    #[error(
        "offset {requested} of partition {partition} of {topic} is out of range: it holds {log_start} to {high_watermark} (exclusive)"
    )]
    OffsetOutOfRange {
        /// Topic.
        topic: Arc<str>,
        /// Index of the partition within the topic.
        partition: u32,
        /// Offset that was asked for.
        requested: Offset,
        /// First offset that can be read.
        log_start: Offset,
        /// End of what can be read (exclusive).
        high_watermark: Offset,
    },
    /// The answer does not decode.
    #[error("{doing}: the answer does not decode")]
    Decode {
        /// What was being done, as in "creating a topic".
        doing: &'static str,
        /// Why.
        source: DecodeError,
    },
    /// The answer is none to this request.
    #[error("{addr} gave an answer that does not belong to its request: {found}")]
    Unexpected {
        /// Address of the broker.
        addr: Arc<str>,
        /// What is wrong with it.
        found: &'static str,
    },
    /// A batch that was read does not verify.
    #[error(
        "a batch of partition {partition} of {topic} at or behind offset {offset} does not verify"
    )]
    Corrupt {
        /// Topic.
        topic: Arc<str>,
        /// Index of the partition within the topic.
        partition: u32,
        /// Next offset to be read.
        offset: Offset,
        /// Why.
        source: Corruption,
    },
    /// The request cannot be put into bytes.
    #[error("{doing}: the request cannot be sent")]
    Encode {
        /// What was being done, as in "creating a topic".
        doing: &'static str,
        /// Why.
        source: EncodeError,
    },
    /// The request or the answer is larger than a frame may be.
    #[error("{doing}: the request or its answer is too large")]
    TooLarge {
        /// What was being done, as in "creating a topic".
        doing: &'static str,
        /// The sizes.
        source: FrameTooLarge,
    },
    /// The peer speaks another protocol.
    #[error("{addr} speaks {protocol}, not the binary protocol of the broker")]
    OtherProtocol {
        /// Address that was connected to.
        addr: Arc<str>,
        /// What it speaks.
        protocol: &'static str,
    },
    /// The record is refused before anything was sent.
    #[error("the record cannot be put into a batch")]
    Record {
        /// Why.
        source: Arc<BuildError>,
    },
    /// The topic has no such partition.
    #[error("{topic} has no partition {partition}, it has {partition_count} of them")]
    NoPartition {
        /// Topic.
        topic: Arc<str>,
        /// Index that was asked for.
        partition: u32,
        /// How many there are.
        partition_count: u32,
    },
    /// It was tried for as long as the options allow.
    #[error("gave up after {attempts} attempts")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// Why the last attempt failed.
        source: Box<ClientError>,
    },
    /// The producer or consumer was closed.
    #[error("it was closed")]
    Closed,
}

impl ClientError {
    /// Returns whether the same may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::Refused { refusal, .. } | Self::PartitionRefused { refusal, .. } => {
                refusal.code.is_retryable()
            }
            Self::OffsetOutOfRange { .. }
            | Self::Decode { .. }
            | Self::Unexpected { .. }
            | Self::Corrupt { .. }
            | Self::Encode { .. }
            | Self::TooLarge { .. }
            | Self::OtherProtocol { .. }
            | Self::Record { .. }
            | Self::NoPartition { .. }
            | Self::GaveUp { .. }
            | Self::Closed => false,
        }
    }

    /// Returns whether the request may have been carried out although it failed.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            Self::GaveUp { source, .. } => source.is_outcome_unknown(),
            Self::Refused { refusal, .. } | Self::PartitionRefused { refusal, .. } => {
                refusal.code == crate::protocol::error_code::ErrorCode::OutcomeUnknown
            }
            _ => false,
        }
    }

    /// Returns the broker's refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } | Self::PartitionRefused { refusal, .. } => Some(refusal),
            Self::GaveUp { source, .. } => source.refusal(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::api_key::ApiKey;
    use crate::protocol::error_code::ErrorCode;

    /// The names of requests are the protocol's, and say nothing to who gave a command.
    #[test]
    fn errors_say_in_words_what_was_being_done() {
        for key in ApiKey::ALL {
            let doing = key.doing();
            let refusal = Refusal::new(ErrorCode::Overloaded, "ask again");
            let size = FrameTooLarge {
                bytes: 2,
                bytes_max: 1,
            };
            for error in [
                ClientError::TimedOut {
                    addr: Arc::from("a:1"),
                    doing,
                    ms: 5,
                },
                ClientError::Refused {
                    doing,
                    refusal: refusal.clone(),
                },
                ClientError::PartitionRefused {
                    doing,
                    topic: Arc::from("t"),
                    partition: 0,
                    refusal,
                },
                ClientError::TooLarge {
                    doing,
                    source: size,
                },
            ] {
                let said = error.to_string();
                assert!(said.starts_with(doing) && doing.contains(' '), "{said}");
                assert!(!said.contains(key.name()), "{said}");
            }
        }
        let timed_out = ClientError::TimedOut {
            addr: Arc::from("a:1"),
            doing: ApiKey::RetryLetters.doing(),
            ms: 5,
        };
        let said = "retrying dead letters: a:1 did not answer within 5 ms";
        assert_eq!(timed_out.to_string(), said);
    }
}
