//! The layers laid over one another: for each key its value and where that came from. PURE.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::file::{self, FileValue};
use super::keys::{self, KEYS, Key};
use super::kind::Kind;
use super::nearest::nearest;
use super::secret::Secret;

/// Variables that begin like ours and set no key: the command line reads them.
const OTHER_VARIABLES: &[&str] = &[
    "REDRIVE_CONFIG",
    "REDRIVE_ADDR",
    "REDRIVE_URL",
    "REDRIVE_TEST_ABORT",
    "REDRIVE_TEST_LIE",
];

/// What Kubernetes sets in every pod for a service that is called `redrive`.
const ORCHESTRATOR_PREFIXES: &[&str] = &["REDRIVE_SERVICE_", "REDRIVE_PORT"];

/// Prefix of variables that set keys.
const VARIABLE_PREFIX: &str = "REDRIVE_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The built-in default.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, as written on the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A checked value. A secret's text is already gone.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value.
    Unset,
    /// One text, which passes its key's check.
    Text(String),
    /// A list.
    List(Vec<String>),
    /// A secret.
    Secret(Secret),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::List(members) => f.write_str(&members.join(",")),
            Self::Secret(_) => f.write_str("(set, not shown)"),
        }
    }
}

/// The text of a configuration file.
#[derive(Debug, Clone, Copy)]
pub struct FileText<'a> {
    /// Its path, for messages.
    pub path: &'a Path,
    /// Its content.
    pub text: &'a str,
}

/// A value given by a flag.
#[derive(Clone)]
pub struct FlagValue {
    /// The flag as written, for messages: `--http`.
    pub flag: String,
    /// Name of the key that it sets.
    pub key: String,
    /// The value.
    pub value: String,
}

impl fmt::Debug for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be the token.
        write!(f, "FlagValue({} -> {})", self.flag, self.key)
    }
}

/// The effective value of every key, with its source.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, (Value, Source)>,
}

impl Settings {
    /// Lays the file over the defaults, the environment over the file, and the flags over the environment.
    ///
    /// # Errors
    /// [`ConfigError`] for what is not TOML, an unknown key, or a value that its key does not take.
    pub fn resolve(
        file: Option<FileText<'_>>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[FlagValue],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::defaults();
        if let Some(file) = file {
            settings.lay_file(file)?;
        }
        for (name, value) in environment {
            settings.lay_variable(&name, value)?;
        }
        for flag in flags {
            let source = Source::Flag(flag.flag.clone());
            settings.set(&flag.key, FileValue::Scalar(flag.value.clone()), source)?;
        }
        Ok(settings)
    }

    /// Returns a key's value and its source, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &Value, &Source)> {
        KEYS.iter().filter_map(|key| {
            self.values
                .get(key.name)
                .map(|(value, source)| (key, value, source))
        })
    }

    /// Returns where the value of a key came from; `None` if there is no such key.
    pub fn source(&self, name: &str) -> Option<&Source> {
        let (_, source) = self.values.get(name)?;
        Some(source)
    }

    /// Returns the value and the source of `name`.
    pub(super) fn get(&self, name: &str) -> Option<(&'static Key, &Value, &Source)> {
        let (value, source) = self.values.get(name)?;
        Some((keys::find(name)?, value, source))
    }

    fn defaults() -> Self {
        let values = KEYS
            .iter()
            .map(|key| {
                let value = match (key.kind, key.default) {
                    (Kind::List, "") => Value::List(Vec::new()),
                    (_, "") => Value::Unset,
                    (_, default) => Value::Text(default.to_owned()),
                };
                (key.name, (value, Source::Default))
            })
            .collect();
        Self { values }
    }

    fn lay_file(&mut self, file: FileText<'_>) -> Result<(), ConfigError> {
        for entry in file::parse(file.path, file.text)? {
            let source = Source::File {
                path: file.path.to_owned(),
                line: entry.line,
            };
            let value = match (entry.value, keys::find(&entry.key)) {
                (Ok(value), _) => value,
                // An unknown key is the better message, whatever its value.
                (Err(_), None) => FileValue::Scalar(String::new()),
                (Err(shown), Some(key)) => return Err(wrong(key, shown, source)),
            };
            self.set(&entry.key, value, source)?;
        }
        Ok(())
    }

    fn lay_variable(&mut self, name: &str, value: String) -> Result<(), ConfigError> {
        if !name.starts_with(VARIABLE_PREFIX)
            || OTHER_VARIABLES.contains(&name)
            || ORCHESTRATOR_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
        {
            return Ok(());
        }
        let source = Source::Variable(name.to_owned());
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
            // The prefix that all have in common makes no two of them near.
            let near = nearest(
                own_part(name),
                variables.iter().map(|known| own_part(known)),
            );
            let near = near.map(|near| format!("{VARIABLE_PREFIX}{near}"));
            return Err(ConfigError::UnknownKey {
                source_place: source,
                key: name.to_owned(),
                suggestion: near,
            });
        };
        self.set(key.name, FileValue::Scalar(value), source)
    }

    fn set(&mut self, name: &str, value: FileValue, source: Source) -> Result<(), ConfigError> {
        let Some(key) = keys::find(name) else {
            let near = nearest(name, KEYS.iter().map(|key| key.name));
            return Err(ConfigError::UnknownKey {
                source_place: source,
                key: name.to_owned(),
                suggestion: near.map(str::to_owned),
            });
        };
        let value = checked(key, value, &source)?;
        self.values.insert(key.name, (value, source));
        Ok(())
    }
}

fn own_part(variable: &str) -> &str {
    variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(variable)
}

fn checked(key: &'static Key, value: FileValue, source: &Source) -> Result<Value, ConfigError> {
    match (key.kind, value) {
        (Kind::List, FileValue::List(members)) => Ok(Value::List(members)),
        (Kind::List, FileValue::Scalar(text)) => Ok(Value::List(
            text.split(',')
                .map(str::trim)
                .filter(|m| !m.is_empty())
                .map(str::to_owned)
                .collect(),
        )),
        (_, FileValue::List(members)) => Err(wrong(
            key,
            format!("[{}]", members.join(", ")),
            source.clone(),
        )),
        (Kind::Secret, FileValue::Scalar(text)) => match key.kind.check(&text) {
            Ok(()) => Ok(Value::Secret(Secret::new(&text))),
            Err(_) => Err(wrong(key, text, source.clone())),
        },
        (_, FileValue::Scalar(text)) => match key.kind.check(&text) {
            Ok(()) => Ok(Value::Text(text)),
            Err(_) => Err(wrong(key, text, source.clone())),
        },
    }
}

/// Builds the error for a wrong value; a wrong secret is a secret still.
pub(super) fn wrong(key: &'static Key, shown: String, source: Source) -> ConfigError {
    let value = if key.kind == Kind::Secret {
        "(not shown)".to_owned()
    } else {
        shown
    };
    ConfigError::Value {
        source_place: source,
        key: key.name,
        value,
        expected: key.kind.expected(),
    }
}
