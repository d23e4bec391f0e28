//! Topic settings between the wire, where they are plain numbers, and the control log, where they are validated. PURE.

use storage::control::{Durability, TopicSettings};

use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::settings as wire;

/// Returns the settings as answers show them.
#[must_use]
pub fn view_of(settings: &TopicSettings) -> wire::TopicSettings {
    let positive = |ms: i64| u64::try_from(ms).unwrap_or(0);
    wire::TopicSettings {
        segment_bytes: u64::from(settings.segment_bytes),
        segment_ms: positive(settings.segment_ms),
        retention_ms: settings.retention_ms.map(positive),
        retention_bytes: settings.retention_bytes,
        dead_letter_retention_ms: settings.dead_letter_retention_ms.map(positive),
        dead_letter_retention_bytes: settings.dead_letter_retention_bytes,
        record_bytes_max: u64::from(settings.record_bytes_max),
        batch_bytes_max: u64::from(settings.batch_bytes_max),
    }
}

/// Returns the durability as answers show it.
#[must_use]
pub fn durability_of(settings: &TopicSettings) -> wire::Durability {
    match settings.durability {
        Durability::Synced => wire::Durability::Synced,
        Durability::Written => wire::Durability::Written,
    }
}

/// Returns `settings` with a change made and checked.
///
/// # Errors
/// [`ErrorCode::InvalidSettings`] with the setting, its value and its range.
pub fn changed(
    settings: &TopicSettings,
    change: &wire::SettingsChange,
) -> Result<TopicSettings, Refusal> {
    let wanted = change.applied_to(view_of(settings));
    let settings = TopicSettings {
        durability: settings.durability,
        segment_bytes: small("segment_bytes", wanted.segment_bytes)?,
        segment_ms: duration("segment_ms", wanted.segment_ms)?,
        retention_ms: optional("retention_ms", wanted.retention_ms)?,
        retention_bytes: wanted.retention_bytes,
        dead_letter_retention_ms: optional(
            "dead_letter_retention_ms",
            wanted.dead_letter_retention_ms,
        )?,
        dead_letter_retention_bytes: wanted.dead_letter_retention_bytes,
        record_bytes_max: small("record_bytes_max", wanted.record_bytes_max)?,
        batch_bytes_max: small("batch_bytes_max", wanted.batch_bytes_max)?,
    };
    settings
        .validate()
        .map_err(|error| Refusal::new(ErrorCode::InvalidSettings, error.to_string()))?;
    Ok(settings)
}

fn small(setting: &str, value: u64) -> Result<u32, Refusal> {
    u32::try_from(value)
        .ok()
        .ok_or_else(|| too_large(setting, value, u64::from(u32::MAX)))
}

fn duration(setting: &str, value: u64) -> Result<i64, Refusal> {
    i64::try_from(value)
        .ok()
        .ok_or_else(|| too_large(setting, value, i64::MAX.unsigned_abs()))
}

fn optional(setting: &str, value: Option<u64>) -> Result<Option<i64>, Refusal> {
    value.map(|value| duration(setting, value)).transpose()
}

fn too_large(setting: &str, value: u64, max: u64) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidSettings,
        format!("{setting} is {value}, it must be at most {max}"),
    )
}
