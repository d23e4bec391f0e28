//! Changes of what deliveries over HTTP go by: kinds 10 to 19 of [`crate::control::entry`], which has their bytes.

use super::flow_override::FlowOverride;
use super::queue::Queue;
use super::schedule::Schedule;
use super::signing_keys::SigningKeys;
use super::url_group::UrlGroup;
use crate::control::fields::{Fields, Output};
use crate::error::Corruption;
use crate::offset::TimestampMs;

/// One change of what deliveries over HTTP go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEntry {
    /// A queue is so from now on.
    QueueSet {
        /// Its name.
        name: String,
        /// How it is.
        queue: Queue,
    },
    /// A queue is gone.
    QueueDeleted {
        /// Its name.
        name: String,
    },
    /// A URL group is so from now on.
    UrlGroupSet {
        /// Its name.
        name: String,
        /// How it is.
        group: UrlGroup,
    },
    /// A URL group is gone.
    UrlGroupDeleted {
        /// Its name.
        name: String,
    },
    /// A schedule is so from now on.
    ScheduleSet {
        /// Its id.
        id: String,
        /// How it is.
        schedule: Schedule,
    },
    /// A schedule is gone.
    ScheduleDeleted {
        /// Its id.
        id: String,
    },
    /// A schedule was paused or resumed.
    SchedulePaused {
        /// Its id.
        id: String,
        /// Whether it publishes nothing from now on.
        is_paused: bool,
        /// When.
        time: TimestampMs,
    },
    /// A flow-control key is so from now on.
    FlowKeySet {
        /// The key.
        key: String,
        /// What was decided about it.
        flow: FlowOverride,
    },
    /// Nothing is decided about a flow-control key any more.
    FlowKeyCleared {
        /// The key.
        key: String,
    },
    /// Deliveries are signed by these keys from now on.
    SigningKeysSet(SigningKeys),
}

impl PushEntry {
    pub(in crate::control) fn kind(&self) -> u8 {
        match self {
            Self::QueueSet { .. } => 10,
            Self::QueueDeleted { .. } => 11,
            Self::UrlGroupSet { .. } => 12,
            Self::UrlGroupDeleted { .. } => 13,
            Self::ScheduleSet { .. } => 14,
            Self::ScheduleDeleted { .. } => 15,
            Self::SchedulePaused { .. } => 16,
            Self::FlowKeySet { .. } => 17,
            Self::FlowKeyCleared { .. } => 18,
            Self::SigningKeysSet(_) => 19,
        }
    }

    /// Encodes the fields behind kind and version.
    pub(in crate::control) fn encode(&self, out: &mut Output) {
        match self {
            Self::QueueSet { name, queue } => {
                out.text(name);
                queue.encode(out);
            }
            Self::UrlGroupSet { name, group } => {
                out.text(name);
                group.encode(out);
            }
            Self::QueueDeleted { name: text }
            | Self::UrlGroupDeleted { name: text }
            | Self::ScheduleDeleted { id: text }
            | Self::FlowKeyCleared { key: text } => out.text(text),
            Self::ScheduleSet { id, schedule } => {
                out.text(id);
                schedule.encode(out);
            }
            Self::SchedulePaused {
                id,
                is_paused,
                time,
            } => {
                out.text(id);
                out.flag(*is_paused);
                out.i64(time.0);
            }
            Self::FlowKeySet { key, flow } => {
                out.text(key);
                flow.encode(out);
            }
            Self::SigningKeysSet(keys) => keys.encode(out),
        }
    }

    /// Decodes the fields of a kind; `None` when the kind is none of these.
    pub(in crate::control) fn decode(
        kind: u8,
        fields: &mut Fields<'_>,
    ) -> Result<Option<Self>, Corruption> {
        Ok(Some(match kind {
            10 => Self::QueueSet {
                name: fields.text("queue")?,
                queue: Queue::decode(fields)?,
            },
            11 => Self::QueueDeleted {
                name: fields.text("queue")?,
            },
            12 => Self::UrlGroupSet {
                name: fields.text("url group")?,
                group: UrlGroup::decode(fields)?,
            },
            13 => Self::UrlGroupDeleted {
                name: fields.text("url group")?,
            },
            14 => Self::ScheduleSet {
                id: fields.text("schedule")?,
                schedule: Schedule::decode(fields)?,
            },
            15 => Self::ScheduleDeleted {
                id: fields.text("schedule")?,
            },
            16 => Self::SchedulePaused {
                id: fields.text("schedule")?,
                is_paused: fields.flag("schedule paused")?,
                time: TimestampMs(fields.i64()?),
            },
            17 => Self::FlowKeySet {
                key: fields.text("flow key")?,
                flow: FlowOverride::decode(fields)?,
            },
            18 => Self::FlowKeyCleared {
                key: fields.text("flow key")?,
            },
            19 => Self::SigningKeysSet(SigningKeys::decode(fields)?),
            _ => return Ok(None),
        }))
    }
}
