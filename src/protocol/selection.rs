//! Which dead letters a request means.
//!
//! A selection is a byte: 1 ids (an array of string follows), 2 filter (a filter follows), 3 all.
//!
//! | filter | type | meaning |
//! |---|---|---|
//! | groups, fingerprints | array of string, array of string | fingerprints as 18 hex digits |
//! | dispositions | array of `u8` | |
//! | urls, labels, message ids, callers | four arrays of string | |
//! | statuses | array of `u16` | of the last attempt |
//! | died from, died to | optional time, optional time | inclusive, exclusive |
//! | URL groups, endpoints, queues, schedules, flow-control keys | five arrays of string | since version 2 |
//!
//! A letter matches when every field does; a field matches when one of its values does, and when it has none.
//!
//! | page | type | meaning |
//! |---|---|---|
//! | order | `u8` | 1 oldest first, 2 newest first |
//! | limit | `u32` | at most [`LETTERS_LISTED_MAX`](crate::limits::LETTERS_LISTED_MAX) of a list, [`LETTERS_PER_CALL_MAX`](crate::limits::LETTERS_PER_CALL_MAX) to be resolved |
//! | cursor | optional string | as the page before gave it; none: the first page |
//!
//! The first page fixes the end of the selection: letters that are made later are on none of its pages.

use storage::offset::TimestampMs;

use super::cursor::{DecodeError, Reader, Wire, Writer, wire_struct};

/// Which letters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a request has one, and there is no list of them"
)]
pub enum Selection {
    /// These.
    Ids(Vec<String>),
    /// Those that match.
    Filter(LetterFilter),
    /// All live letters of the topic.
    All,
}

impl Wire for Selection {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Ids(ids) => {
                1_u8.write(writer);
                ids.write(writer);
            }
            Self::Filter(filter) => {
                2_u8.write(writer);
                filter.write(writer);
            }
            Self::All => 3_u8.write(writer),
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            1 => Ok(Self::Ids(Wire::read(reader)?)),
            2 => Ok(Self::Filter(Wire::read(reader)?)),
            3 => Ok(Self::All),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

/// What letters are like. Fields without values match all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFilter {
    /// Groups that rejected.
    pub groups: Vec<String>,
    /// Fingerprints.
    pub fingerprints: Vec<String>,
    /// Dispositions, by number.
    pub dispositions: Vec<u8>,
    /// Destination URLs.
    pub urls: Vec<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Message ids.
    pub message_ids: Vec<String>,
    /// Callers.
    pub callers: Vec<String>,
    /// HTTP status of the last attempt.
    pub statuses: Vec<u16>,
    /// Earliest time of death (inclusive).
    pub died_from: Option<TimestampMs>,
    /// Latest time of death (exclusive).
    pub died_to: Option<TimestampMs>,
    /// URL groups that they were published to.
    pub url_groups: Vec<String>,
    /// Names of endpoints in URL groups.
    pub endpoints: Vec<String>,
    /// Queues.
    pub queues: Vec<String>,
    /// Ids of schedules that published them.
    pub schedules: Vec<String>,
    /// Flow-control keys.
    pub flow_control_keys: Vec<String>,
}
wire_struct!(LetterFilter {
    groups,
    fingerprints,
    dispositions,
    urls,
    labels,
    message_ids,
    callers,
    statuses,
    died_from,
    died_to,
} since 2 {
    url_groups,
    endpoints,
    queues,
    schedules,
    flow_control_keys,
});

/// In which order letters come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The ones that died first come first.
    #[default]
    OldestFirst,
    /// The ones that died last come first.
    NewestFirst,
}

impl Wire for Order {
    fn write(&self, writer: &mut Writer) {
        let byte: u8 = match self {
            Self::OldestFirst => 1,
            Self::NewestFirst => 2,
        };
        byte.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            1 => Ok(Self::OldestFirst),
            2 => Ok(Self::NewestFirst),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

/// Which part of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In which order.
    pub order: Order,
    /// How many letters at most.
    pub limit: u32,
    /// Where to go on; `None` for the first page.
    pub cursor: Option<String>,
}
wire_struct!(Page {
    order,
    limit,
    cursor
});

impl Page {
    /// Asks for the first `limit` letters.
    #[must_use]
    pub fn first(order: Order, limit: u32) -> Self {
        Self {
            order,
            limit,
            cursor: None,
        }
    }
}
