//! A topic's settings, as requests change them and answers show them.
//!
//! | settings | type | meaning |
//! |---|---|---|
//! | segment bytes | `u64` | an active segment is sealed when it would grow beyond this |
//! | segment ms | `u64` | an active segment is sealed at this age |
//! | retention ms, bytes | optional `u64`, optional `u64` | sealed segments beyond either are deleted; none: kept |
//! | dead-letter retention ms, bytes | optional `u64`, optional `u64` | the same for dead letters |
//! | record bytes max, batch bytes max | `u64`, `u64` | the largest record and batch |
//!
//! A *change* of settings has the same eight fields in the same order, each an optional value: none leaves the setting as
//! it is, at creation the broker's default. In a change the four retentions are optional [`Limit`]s: a byte, 0 unlimited
//! or 1 a `u64` that follows.
//!
//! Durability is a byte: 1 synced, 2 written. It is named at creation and stays.

use super::cursor::{DecodeError, Reader, Wire, Writer, wire_struct};

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// When it is synced.
    #[default]
    Synced,
    /// When it is written; it is synced in the background.
    Written,
}

impl Wire for Durability {
    fn write(&self, writer: &mut Writer) {
        let byte: u8 = match self {
            Self::Synced => 1,
            Self::Written => 2,
        };
        byte.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            1 => Ok(Self::Synced),
            2 => Ok(Self::Written),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

/// A maximum that may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// There is none.
    Unlimited,
    /// At most this much (inclusive).
    AtMost(u64),
}

impl Limit {
    /// Returns the maximum, `None` when there is none.
    #[must_use]
    pub fn at_most(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(value) => Some(value),
        }
    }
}

impl Wire for Limit {
    fn write(&self, writer: &mut Writer) {
        self.at_most().write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match Option::<u64>::read(reader)? {
            None => Self::Unlimited,
            Some(value) => Self::AtMost(value),
        })
    }
}

/// A topic's settings. The table in the module's docs gives their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicSettings {
    /// Size at which a segment is sealed, in bytes.
    pub segment_bytes: u64,
    /// Age at which a segment is sealed, in milliseconds.
    pub segment_ms: u64,
    /// Age beyond which records are deleted, in milliseconds.
    pub retention_ms: Option<u64>,
    /// Size of a partition beyond which its oldest records are deleted, in bytes.
    pub retention_bytes: Option<u64>,
    /// Age beyond which dead letters are deleted, in milliseconds.
    pub dead_letter_retention_ms: Option<u64>,
    /// Size of a partition's dead-letter log beyond which its oldest letters are deleted, in bytes.
    pub dead_letter_retention_bytes: Option<u64>,
    /// Largest record, in bytes.
    pub record_bytes_max: u64,
    /// Largest batch, in bytes.
    pub batch_bytes_max: u64,
}
wire_struct!(TopicSettings {
    segment_bytes,
    segment_ms,
    retention_ms,
    retention_bytes,
    dead_letter_retention_ms,
    dead_letter_retention_bytes,
    record_bytes_max,
    batch_bytes_max,
});

/// A change of a topic's settings: what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettingsChange {
    /// Size at which a segment is sealed, in bytes.
    pub segment_bytes: Option<u64>,
    /// Age at which a segment is sealed, in milliseconds.
    pub segment_ms: Option<u64>,
    /// Age beyond which records are deleted, in milliseconds.
    pub retention_ms: Option<Limit>,
    /// Size of a partition beyond which its oldest records are deleted, in bytes.
    pub retention_bytes: Option<Limit>,
    /// Age beyond which dead letters are deleted, in milliseconds.
    pub dead_letter_retention_ms: Option<Limit>,
    /// Size of a partition's dead-letter log beyond which its oldest letters are deleted, in bytes.
    pub dead_letter_retention_bytes: Option<Limit>,
    /// Largest record, in bytes.
    pub record_bytes_max: Option<u64>,
    /// Largest batch, in bytes.
    pub batch_bytes_max: Option<u64>,
}
wire_struct!(SettingsChange {
    segment_bytes,
    segment_ms,
    retention_ms,
    retention_bytes,
    dead_letter_retention_ms,
    dead_letter_retention_bytes,
    record_bytes_max,
    batch_bytes_max,
});

impl SettingsChange {
    /// Returns `settings` with the change made.
    #[must_use]
    pub fn applied_to(&self, settings: TopicSettings) -> TopicSettings {
        let limit = |change: Option<Limit>, now| change.map_or(now, Limit::at_most);
        TopicSettings {
            segment_bytes: self.segment_bytes.unwrap_or(settings.segment_bytes),
            segment_ms: self.segment_ms.unwrap_or(settings.segment_ms),
            retention_ms: limit(self.retention_ms, settings.retention_ms),
            retention_bytes: limit(self.retention_bytes, settings.retention_bytes),
            dead_letter_retention_ms: limit(
                self.dead_letter_retention_ms,
                settings.dead_letter_retention_ms,
            ),
            dead_letter_retention_bytes: limit(
                self.dead_letter_retention_bytes,
                settings.dead_letter_retention_bytes,
            ),
            record_bytes_max: self.record_bytes_max.unwrap_or(settings.record_bytes_max),
            batch_bytes_max: self.batch_bytes_max.unwrap_or(settings.batch_bytes_max),
        }
    }
}
