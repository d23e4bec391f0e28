//! The TOML file as a flat list of keys with their lines. PURE.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// One `key = value` of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    /// Dotted key.
    pub(super) key: String,
    /// Line, from 1.
    pub(super) line: usize,
    /// The value as one text, or the members of an array.
    pub(super) value: Result<FileValue, String>,
}

/// A value as far as TOML knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileValue {
    /// Text, number or boolean.
    Scalar(String),
    /// An array of those.
    List(Vec<String>),
}

/// Parses `text` into its entries, in the order of their lines.
///
/// # Errors
/// [`ConfigError::Syntax`] for what is not TOML.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<FileEntry>, ConfigError> {
    let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        message: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    flatten(text, "", document.get_ref(), &mut entries);
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn flatten(text: &str, prefix: &str, table: &DeTable<'_>, entries: &mut Vec<FileEntry>) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            if inner.is_empty() && prefix.is_empty() && is_known_table(&key) {
                continue;
            }
            if inner.is_empty() {
                entries.push(entry(
                    text,
                    key,
                    name.span().start,
                    Err("a table".to_owned()),
                ));
            } else {
                flatten(text, &format!("{key}."), inner, entries);
            }
        } else {
            entries.push(entry(text, key, name.span().start, flat_value(value)));
        }
    }
}

fn entry(text: &str, key: String, at: usize, value: Result<FileValue, String>) -> FileEntry {
    FileEntry {
        key,
        line: line_of(text, at),
        value,
    }
}

fn is_known_table(name: &str) -> bool {
    super::keys::KEYS.iter().any(|key| {
        key.name
            .split_once('.')
            .is_some_and(|(table, _)| table == name)
    })
}

fn flat_value(value: &Spanned<DeValue<'_>>) -> Result<FileValue, String> {
    if let DeValue::Array(members) = value.get_ref() {
        return members
            .iter()
            .map(scalar)
            .collect::<Result<_, _>>()
            .map(FileValue::List);
    }
    scalar(value).map(FileValue::Scalar)
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(is_true) => Ok(is_true.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_overflow| number.as_str().to_owned()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!("a {}", value.get_ref().type_str()))
        }
    }
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text
        .bytes()
        .take(position)
        .filter(|byte| *byte == b'\n')
        .count()
}
