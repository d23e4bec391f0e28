//! Why the broker appended a record: the value of the reserved record header [`CAUSE_HEADER`].
//!
//! The synced append of a record with a cause is a commit point; recovery finishes the other side from the cause alone.
//! Causes mean something only in batches that the broker built.
//!
//! | at | field | bytes | type | meaning |
//! |---|---|---|---|---|
//! | 0 | version | 1 | u8 | [`CAUSE_VERSION`] |
//! | 1 | kind | 1 | u8 | [`CauseKind`] |
//! | 2 | log kind | 1 | u8 | [`LogKind`] of the log that the cause stands in |
//! | 3 | partition number | 4 | u32 | of that log |
//! | 7 | offset | 8 | u64 | where in that log it stands |
//! | 15 | detail count | 1 | u8 | how many details follow |
//!
//! Each detail: tag (u8), length (unsigned varint), bytes. Tags rise, so none stands twice and a cause has one encoding.
//!
//! | tag | detail | type |
//! |---|---|---|
//! | 1 | request id | UTF-8 |
//! | 2 | attempt number | u32 |
//! | 3 | due time | i64, ms |
//! | 4 | group | UTF-8 |

use crate::batch::varint::{VarintError, read_u32, write_u64};
use crate::error::Corruption;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{Offset, TimestampMs};

pub use crate::batch::RESERVED_PREFIX;

/// Reserved header whose value is a [`Cause`].
pub const CAUSE_HEADER: &str = "redrive.cause";
/// Reserved header of a record that is for one group alone: the group's name.
pub const GROUP_HEADER: &str = "redrive.group";
/// Reserved header of a republished record: its first message id, and how often it was republished.
pub const LINEAGE_HEADER: &str = "redrive.lineage";

/// The version of this layout.
pub const CAUSE_VERSION: u8 = 1;

const PART: &str = "cause";
/// Bytes that most causes fit when encoded: their group and request id have names of a few words.
const ENCODED_BYTES: usize = 96;
const TAG_REQUEST_ID: u8 = 1;
const TAG_ATTEMPT: u8 = 2;
const TAG_DUE: u8 = 3;
const TAG_GROUP: u8 = 4;

/// What made the broker append a record. The number is its byte on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CauseKind {
    /// A dead letter was sent back.
    Republish,
    /// A delivery came to its end and its sender asked to be told.
    Callback,
    /// A delivery failed for good and its sender asked to be told.
    FailureCallback,
    /// A schedule fired.
    Schedule,
    /// A record died.
    DeadLettering,
}

impl CauseKind {
    /// Returns the kind with this byte, or `None` for a byte that no kind has.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Republish),
            2 => Some(Self::Callback),
            3 => Some(Self::FailureCallback),
            4 => Some(Self::Schedule),
            5 => Some(Self::DeadLettering),
            _ => None,
        }
    }

    /// Returns the kind's byte on disk.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Republish => 1,
            Self::Callback => 2,
            Self::FailureCallback => 3,
            Self::Schedule => 4,
            Self::DeadLettering => 5,
        }
    }
}

/// What is known of a cause besides where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CauseDetail {
    /// The id that the caller gave the request.
    pub request_id: Option<String>,
    /// The number of the attempt, from 1.
    pub attempt: Option<u32>,
    /// When the append was due.
    pub due: Option<TimestampMs>,
    /// The consumer group that it is about.
    pub group: Option<String>,
}

/// What in another log made the broker append a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cause {
    /// What happened.
    pub kind: CauseKind,
    /// The log that the cause stands in.
    pub log: LogId,
    /// Where in that log it stands.
    pub offset: Offset,
    /// What else is known.
    pub detail: CauseDetail,
}

impl Cause {
    /// Returns the cause as the value of [`CAUSE_HEADER`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let detail = &self.detail;
        let attempt = detail.attempt.map(u32::to_be_bytes);
        let due = detail.due.map(|due| due.0.to_be_bytes());
        let details: [(u8, Option<&[u8]>); 4] = [
            (
                TAG_REQUEST_ID,
                detail.request_id.as_deref().map(str::as_bytes),
            ),
            (TAG_ATTEMPT, attempt.as_ref().map(<[u8; 4]>::as_slice)),
            (TAG_DUE, due.as_ref().map(<[u8; 8]>::as_slice)),
            (TAG_GROUP, detail.group.as_deref().map(str::as_bytes)),
        ];
        let mut out = Vec::with_capacity(ENCODED_BYTES);
        out.extend_from_slice(&[CAUSE_VERSION, self.kind.byte(), self.log.kind.byte()]);
        out.extend_from_slice(&self.log.partition.0.to_be_bytes());
        out.extend_from_slice(&self.offset.0.to_be_bytes());
        out.push(
            details
                .iter()
                .map(|(_, bytes)| u8::from(bytes.is_some()))
                .sum(),
        );
        for (tag, bytes) in details {
            if let Some(bytes) = bytes {
                out.push(tag);
                write_u64(&mut out, bytes_u64(bytes));
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    /// Decodes the value of [`CAUSE_HEADER`], all of it.
    ///
    /// # Errors
    /// [`Corruption::Truncated`] and [`Corruption::Field`]; an unknown version, kind or detail is one too.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let (&[version, kind, log_kind], rest) = chunk::<3>(bytes)?;
        if version != CAUSE_VERSION {
            return Err(field("cause version", u64::from(version)));
        }
        let kind =
            CauseKind::from_byte(kind).ok_or_else(|| field("cause kind", u64::from(kind)))?;
        let log_kind = LogKind::from_byte(log_kind)
            .ok_or_else(|| field("cause log kind", u64::from(log_kind)))?;
        let (partition, rest) = chunk::<4>(rest)?;
        let (offset, rest) = chunk::<8>(rest)?;
        let (&[count], rest) = chunk::<1>(rest)?;
        Ok(Self {
            kind,
            log: LogId::new(PartitionNumber(u32::from_be_bytes(*partition)), log_kind),
            offset: Offset(u64::from_be_bytes(*offset)),
            detail: decode_details(count, rest)?,
        })
    }
}

fn decode_details(count: u8, mut rest: &[u8]) -> Result<CauseDetail, Corruption> {
    let mut detail = CauseDetail::default();
    let mut tag_before = 0;
    for _ in 0..count {
        let (&[tag], after) = chunk::<1>(rest)?;
        let (length, after) = read_u32(after).map_err(|error| match error {
            VarintError::Truncated => truncated(1, after),
            VarintError::Malformed => field("cause detail length", u64::from(tag)),
        })?;
        let (bytes, after) = usize::try_from(length)
            .ok()
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(|| truncated(u64::from(length), after))?;
        rest = after;
        let wrong = || field("cause detail", u64::from(tag));
        if tag <= tag_before {
            return Err(wrong());
        }
        tag_before = tag;
        let text = || String::from_utf8(bytes.to_vec()).map_err(|_error| wrong());
        match tag {
            TAG_REQUEST_ID => detail.request_id = Some(text()?),
            TAG_ATTEMPT => {
                let number = bytes.try_into().map_err(|_error| wrong())?;
                detail.attempt = Some(u32::from_be_bytes(number));
            }
            TAG_DUE => {
                let number = bytes.try_into().map_err(|_error| wrong())?;
                detail.due = Some(TimestampMs(i64::from_be_bytes(number)));
            }
            TAG_GROUP => detail.group = Some(text()?),
            _ => return Err(wrong()),
        }
    }
    if rest.is_empty() {
        Ok(detail)
    } else {
        Err(field("bytes behind the cause", bytes_u64(rest)))
    }
}

fn chunk<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Corruption> {
    bytes
        .split_first_chunk::<N>()
        .ok_or_else(|| truncated(u64::try_from(N).unwrap_or(u64::MAX), bytes))
}

fn truncated(needed: u64, bytes: &[u8]) -> Corruption {
    Corruption::Truncated {
        part: PART,
        needed,
        available: bytes_u64(bytes),
    }
}

fn field(field: &'static str, value: u64) -> Corruption {
    Corruption::Field { field, value }
}

fn bytes_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]
    use super::*;
    use proptest::prelude::*;

    fn causes() -> impl Strategy<Value = Cause> {
        let log_kind = (1_u8..=4).prop_map(|byte| LogKind::from_byte(byte).unwrap());
        let kind = (1_u8..=5).prop_map(|byte| CauseKind::from_byte(byte).unwrap());
        let text = || proptest::option::of(".{0,200}");
        let detail = (text(), any::<Option<u32>>(), any::<Option<i64>>(), text()).prop_map(
            |(request_id, attempt, due, group)| CauseDetail {
                request_id,
                attempt,
                due: due.map(TimestampMs),
                group,
            },
        );
        (kind, log_kind, any::<u32>(), any::<u64>(), detail).prop_map(
            |(kind, log_kind, partition, offset, detail)| Cause {
                kind,
                log: LogId::new(PartitionNumber(partition), log_kind),
                offset: Offset(offset),
                detail,
            },
        )
    }

    proptest! {
        #[test]
        fn cause_comes_back_and_every_truncation_is_an_error(cause in causes()) {
            let bytes = cause.encode();
            prop_assert_eq!(Cause::decode(&bytes), Ok(cause));
            for end in 0..bytes.len() {
                prop_assert!(Cause::decode(&bytes[..end]).is_err(), "cut at {}", end);
            }
        }

        #[test]
        fn bytes_that_decode_encode_to_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(cause) = Cause::decode(&bytes) {
                prop_assert_eq!(cause.encode(), bytes);
            }
        }
    }

    #[test]
    fn unknown_version_kind_and_detail_are_errors() {
        let cause = Cause {
            kind: CauseKind::Schedule,
            log: LogId::CONTROL,
            offset: Offset(7),
            detail: CauseDetail {
                attempt: Some(3),
                ..CauseDetail::default()
            },
        };
        let good = cause.encode();
        for (at, byte, name) in [
            (0, 2, "cause version"),
            (1, 6, "cause kind"),
            (2, 0, "cause log kind"),
            (16, 5, "cause detail"),
            (16, 0, "cause detail"),
        ] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let value = u64::from(byte);
            assert_eq!(Cause::decode(&bytes), Err(field(name, value)));
        }
        let mut longer = good;
        longer.push(0);
        assert_eq!(
            Cause::decode(&longer),
            Err(field("bytes behind the cause", 1))
        );
    }

    #[test]
    fn a_detail_that_stands_twice_is_an_error() {
        let mut bytes = vec![1, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 2];
        bytes.extend_from_slice(&[4, 1, b'a', 4, 1, b'b']);
        assert_eq!(Cause::decode(&bytes), Err(field("cause detail", 4)));
    }
}
