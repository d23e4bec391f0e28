//! Typed access to settings: what the validated configuration is read through. PURE.

use std::path::PathBuf;

use super::error::ConfigError;
use super::kind::NONE;
use super::secret::Secret;
use super::settings::{Settings, Source, Value};
use super::units::{parse_bytes, parse_duration_ms};

/// Typed access to checked settings. A value that passed its key's check parses; one that does not is reported as wrong.
pub(super) struct Reader<'a> {
    settings: &'a Settings,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }

    pub(super) fn read<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        match self.settings.get(name) {
            Some((_, Value::Text(text), _)) => parse(text),
            _ => None,
        }
        .ok_or_else(|| {
            let expected = self
                .settings
                .get(name)
                .map_or_else(String::new, |(key, ..)| key.kind.expected());
            self.contradiction(name, expected)
        })
    }

    pub(super) fn source(&self, name: &str) -> Source {
        let source = self.settings.source(name);
        source.cloned().unwrap_or(Source::Default)
    }

    pub(super) fn contradiction(&self, name: &'static str, expected: String) -> ConfigError {
        let value = self.settings.get(name);
        ConfigError::Value {
            source_place: self.source(name),
            key: name,
            value: value.map_or_else(String::new, |(_, value, _)| value.to_string()),
            expected,
        }
    }

    pub(super) fn bytes<T: TryFrom<u64>>(&self, name: &'static str) -> Result<T, ConfigError> {
        self.read(name, |text| T::try_from(parse_bytes(text).ok()?).ok())
    }

    pub(super) fn optional_bytes(&self, name: &'static str) -> Result<Option<u64>, ConfigError> {
        self.read(name, |text| {
            if text == NONE {
                Some(None)
            } else {
                parse_bytes(text).ok().map(Some)
            }
        })
    }

    pub(super) fn ms<T: TryFrom<i64>>(&self, name: &'static str) -> Result<T, ConfigError> {
        self.read(name, |text| T::try_from(parse_duration_ms(text).ok()?).ok())
    }

    pub(super) fn optional_ms(&self, name: &'static str) -> Result<Option<i64>, ConfigError> {
        self.read(name, |text| {
            if text == NONE {
                Some(None)
            } else {
                parse_duration_ms(text).ok().map(Some)
            }
        })
    }

    pub(super) fn count(&self, name: &'static str) -> Result<usize, ConfigError> {
        self.read(name, |text| text.parse().ok())
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.settings.get(name) {
            Some((_, Value::List(members), _)) => members.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn optional_path(&self, name: &str) -> Option<PathBuf> {
        match self.settings.get(name) {
            Some((_, Value::Text(path), _)) => Some(PathBuf::from(path)),
            _ => None,
        }
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        match self.settings.get(name) {
            Some((_, Value::Secret(secret), _)) => Some(secret.clone()),
            _ => None,
        }
    }
}
