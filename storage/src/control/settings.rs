//! The settings of a topic: defaults, ranges, and their bytes in control entries.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | durability | 1 | u8 | 1 synced, 2 written |
//! | segment bytes | 4 | u32 | size at which a segment is rolled |
//! | segment ms | 8 | i64 | age at which a segment is rolled |
//! | retention ms | 1 or 9 | optional i64 | age past which main segments are deleted |
//! | retention bytes | 1 or 9 | optional u64 | size past which main segments are deleted |
//! | dead letter retention ms | 1 or 9 | optional i64 | the same for the dead-letter log |
//! | dead letter retention bytes | 1 or 9 | optional u64 | the same for the dead-letter log |
//! | record bytes max | 4 | u32 | largest record |
//! | batch bytes max | 4 | u32 | largest batch |
//!
//! An optional value is a byte 0, or a byte 1 and the value.
//!
//! Ranges are checked by [`TopicSettings::validate`] when a setting is asked for, and not when it is read back: a log
//! written under wider ranges must still open.

use super::fields::{Fields, Output};
use crate::batch::header::HEADER_BYTES_U32;
use crate::error::Corruption;
use crate::limits::{
    BATCH_BYTES_CEILING, BATCH_BYTES_DEFAULT, RECORD_BYTES_CEILING, RECORD_BYTES_DEFAULT,
    RECORD_OVERHEAD_BYTES_MAX, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SEGMENT_MS_DEFAULT, TIME_SETTING_MS_MAX,
};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// When a produced batch is acknowledged and becomes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// At a sync that began after the write.
    #[default]
    Synced,
    /// At the write; synced in the background.
    Written,
}

impl Durability {
    /// Returns the name, as a person writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Written => "written",
        }
    }

    /// Returns the durability with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "synced" => Some(Self::Synced),
            "written" => Some(Self::Written),
            _ => None,
        }
    }

    /// Returns the byte on disk and on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Synced => 1,
            Self::Written => 2,
        }
    }

    /// Returns the durability with this byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Synced),
            2 => Some(Self::Written),
            _ => None,
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The settings of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSettings {
    /// When a produced batch is acknowledged. Fixed when the topic is created.
    pub durability: Durability,
    /// Size at which a segment is rolled, in bytes.
    pub segment_bytes: u32,
    /// Age at which a segment is rolled, in milliseconds.
    pub segment_ms: i64,
    /// Age past which segments of the main log are deleted, in milliseconds; `None` keeps them.
    pub retention_ms: Option<i64>,
    /// Size past which segments of a main log are deleted, in bytes for each partition; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// Age past which segments of the dead-letter log are deleted, in milliseconds; `None` keeps them.
    pub dead_letter_retention_ms: Option<i64>,
    /// Size past which segments of a dead-letter log are deleted, in bytes for each partition; `None` keeps them.
    pub dead_letter_retention_bytes: Option<u64>,
    /// Largest record (key, value and headers together), in bytes.
    pub record_bytes_max: u32,
    /// Largest batch, header and records section as sent, in bytes.
    pub batch_bytes_max: u32,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            segment_ms: SEGMENT_MS_DEFAULT,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            dead_letter_retention_ms: Some(30 * DAY_MS),
            dead_letter_retention_bytes: None,
            record_bytes_max: RECORD_BYTES_DEFAULT,
            batch_bytes_max: BATCH_BYTES_DEFAULT,
        }
    }
}

/// A setting that a topic cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value is outside of its range.
    #[error("{setting} is {value}, it must be {min} to {max} {unit}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// The value asked for.
        value: i128,
        /// Smallest value (inclusive).
        min: i128,
        /// Largest value (inclusive).
        max: i128,
        /// What is counted.
        unit: &'static str,
    },
    /// A batch could not hold the largest record.
    #[error(
        "batch_bytes_max is {batch_bytes_max}, it must be at least {needed}: a record may have {record_bytes_max} bytes"
    )]
    BatchBelowRecord {
        /// The largest batch asked for, in bytes.
        batch_bytes_max: u32,
        /// The largest record asked for, in bytes.
        record_bytes_max: u32,
        /// The smallest batch that holds such a record, in bytes.
        needed: u32,
    },
}

impl TopicSettings {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// The first [`SettingsError`], with the value and the range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let bytes = |setting, value: u64, min: u32, max: u64| {
            in_range(setting, value.into(), min.into(), max.into(), "bytes")
        };
        let time = |setting, value: Option<i64>| {
            let value = value.unwrap_or(1).into();
            in_range(setting, value, 1, TIME_SETTING_MS_MAX.into(), "ms")
        };
        // A log's size is a sum of u64, and an i64 keeps it printable everywhere.
        let size_max = u64::MAX >> 1;
        let retention =
            |setting, value: Option<u64>| bytes(setting, value.unwrap_or(1), 1, size_max);
        let (segment, segment_max) = (self.segment_bytes, SEGMENT_BYTES_MAX);
        bytes(
            "segment_bytes",
            segment.into(),
            SEGMENT_BYTES_MIN,
            segment_max.into(),
        )?;
        time("segment_ms", Some(self.segment_ms))?;
        time("retention_ms", self.retention_ms)?;
        retention("retention_bytes", self.retention_bytes)?;
        time("dead_letter_retention_ms", self.dead_letter_retention_ms)?;
        retention(
            "dead_letter_retention_bytes",
            self.dead_letter_retention_bytes,
        )?;
        let (record, batch) = (self.record_bytes_max, self.batch_bytes_max);
        bytes(
            "record_bytes_max",
            record.into(),
            1,
            RECORD_BYTES_CEILING.into(),
        )?;
        bytes(
            "batch_bytes_max",
            batch.into(),
            HEADER_BYTES_U32,
            BATCH_BYTES_CEILING.into(),
        )?;
        let needed = record
            .saturating_add(HEADER_BYTES_U32)
            .saturating_add(RECORD_OVERHEAD_BYTES_MAX);
        if batch < needed {
            return Err(SettingsError::BatchBelowRecord {
                batch_bytes_max: batch,
                record_bytes_max: record,
                needed,
            });
        }
        Ok(())
    }

    /// Fewest bytes of encoded settings: those without any optional value.
    pub(super) const ENCODED_BYTES_MIN: u64 = 1 + 4 + 8 + 4 + 4 + 4;

    pub(super) fn encode(&self, out: &mut Output) {
        out.u8(self.durability.byte());
        out.u32(self.segment_bytes);
        out.i64(self.segment_ms);
        out.optional(self.retention_ms, Output::i64);
        out.optional(self.retention_bytes, Output::u64);
        out.optional(self.dead_letter_retention_ms, Output::i64);
        out.optional(self.dead_letter_retention_bytes, Output::u64);
        out.u32(self.record_bytes_max);
        out.u32(self.batch_bytes_max);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        let durability = fields.u8()?;
        Ok(Self {
            durability: Durability::from_byte(durability).ok_or(Corruption::Field {
                field: "durability",
                value: u64::from(durability),
            })?,
            segment_bytes: fields.u32()?,
            segment_ms: fields.i64()?,
            retention_ms: fields.optional("retention_ms", Fields::i64)?,
            retention_bytes: fields.optional("retention_bytes", Fields::u64)?,
            dead_letter_retention_ms: fields.optional("dead_letter_retention_ms", Fields::i64)?,
            dead_letter_retention_bytes: fields
                .optional("dead_letter_retention_bytes", Fields::u64)?,
            record_bytes_max: fields.u32()?,
            batch_bytes_max: fields.u32()?,
        })
    }
}

fn in_range(
    setting: &'static str,
    value: i128,
    min: i128,
    max: i128,
    unit: &'static str,
) -> Result<(), SettingsError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::OutOfRange {
        setting,
        value,
        min,
        max,
        unit,
    })
}
