//! Topic settings between the wire, where they are plain numbers, and the control log, where they are validated. PURE.

use storage::control::{Durability, TopicSettings};

use crate::config::check_topic_setting;
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
    check_bounds(change)?;
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

/// Keeps what is to change within the bounds of the configuration. What stands already may stay.
fn check_bounds(change: &wire::SettingsChange) -> Result<(), Refusal> {
    let limit = |limit: Option<wire::Limit>| match limit {
        Some(wire::Limit::AtMost(value)) => Some(value),
        Some(wire::Limit::Unlimited) | None => None,
    };
    for (setting, value) in [
        ("segment_bytes", change.segment_bytes),
        ("segment_ms", change.segment_ms),
        ("retention_ms", limit(change.retention_ms)),
        ("retention_bytes", limit(change.retention_bytes)),
        (
            "dead_letter_retention_ms",
            limit(change.dead_letter_retention_ms),
        ),
        (
            "dead_letter_retention_bytes",
            limit(change.dead_letter_retention_bytes),
        ),
        ("record_bytes_max", change.record_bytes_max),
        ("batch_bytes_max", change.batch_bytes_max),
    ] {
        let Some(value) = value else { continue };
        check_topic_setting(setting, value).map_err(|expected| {
            let message = format!("{setting} is {value}, it must be {expected}");
            Refusal::new(ErrorCode::InvalidSettings, message)
        })?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn message(change: &wire::SettingsChange) -> String {
        let refused = changed(&TopicSettings::default(), change).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidSettings);
        refused.message
    }

    #[test]
    fn a_topic_has_the_bounds_of_the_configuration() {
        let none = wire::SettingsChange::default();
        let retention_ms = wire::SettingsChange {
            retention_ms: Some(wire::Limit::AtMost(7)),
            ..none
        };
        let expected = "retention_ms is 7, it must be a duration of at least 1s, or none";
        assert_eq!(message(&retention_ms), expected);
        let record_bytes_max = wire::SettingsChange {
            record_bytes_max: Some(1),
            ..none
        };
        let expected = "record_bytes_max is 1, it must be a size from 1KiB to 16MiB";
        assert_eq!(message(&record_bytes_max), expected);
        // What stands below them since before there were any can stay while something else changes.
        let before = TopicSettings {
            retention_ms: Some(7),
            ..TopicSettings::default()
        };
        let other = wire::SettingsChange {
            retention_bytes: Some(wire::Limit::AtMost(1 << 20)),
            ..none
        };
        assert_eq!(changed(&before, &other).unwrap().retention_ms, Some(7));
    }
}
