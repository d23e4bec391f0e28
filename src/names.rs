//! Names of topics and groups: parsed once, valid ever after.
//!
//! A name has 1 to 249 bytes of `[A-Za-z0-9._-]` and is neither `.` nor `..`, as in Kafka, so that names can be carried
//! over and stand in paths, URLs and metrics as they are. Names of topics that begin with `_` are the broker's own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("the {kind} name is empty, it must have 1 to {NAME_BYTES_MAX} bytes")]
    Empty {
        /// What is named.
        kind: &'static str,
    },
    /// There is too much.
    #[error("the {kind} name has {bytes} bytes, it must have 1 to {NAME_BYTES_MAX}")]
    TooLong {
        /// What is named.
        kind: &'static str,
        /// How many bytes there are.
        bytes: usize,
    },
    /// There is a character that no name has.
    #[error(
        "the {kind} name {name:?} has {character:?} at place {place}, only letters, digits, '.', '_' and '-' may stand there"
    )]
    Character {
        /// What is named.
        kind: &'static str,
        /// The text.
        name: String,
        /// The first character that is wrong.
        character: char,
        /// Its place, in characters, counted from 1.
        place: usize,
    },
    /// It means a directory.
    #[error("the {kind} name is {name:?}, which stands for a directory: choose another")]
    Dots {
        /// What is named.
        kind: &'static str,
        /// The text.
        name: String,
    },
    /// It is the broker's own.
    #[error("the {kind} name {name:?} begins with '_', such names are the broker's own")]
    Reserved {
        /// What is named.
        kind: &'static str,
        /// The text.
        name: String,
    },
}

fn parse(kind: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    // Before anything of the text goes into an error: it may be of any length.
    if u32::try_from(text.len()).map_or(true, |bytes| bytes > NAME_BYTES_MAX) {
        return Err(NameError::TooLong {
            kind,
            bytes: text.len(),
        });
    }
    let is_wrong = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let found = (1..).zip(text.chars()).find(|(_, c)| is_wrong(c));
    let name = text.to_owned();
    match found {
        Some((place, character)) => Err(NameError::Character {
            kind,
            name,
            character,
            place,
        }),
        None if matches!(text, "." | "..") => Err(NameError::Dots { kind, name }),
        None => Ok(Arc::from(name)),
    }
}

/// The name of a topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    const KIND: &'static str = "topic";

    /// Parses a name that a client gives.
    ///
    /// # Errors
    /// The [`NameError`]; [`NameError::Reserved`] for a name that begins with `_`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = Self::parse_internal(text)?;
        if name.is_internal() {
            return Err(NameError::Reserved {
                kind: Self::KIND,
                name: text.to_owned(),
            });
        }
        Ok(name)
    }

    /// Parses a name that the broker itself gives, or that is only looked up: it may begin with `_`.
    ///
    /// # Errors
    /// The [`NameError`].
    pub fn parse_internal(text: &str) -> Result<Self, NameError> {
        parse(Self::KIND, text).map(Self)
    }

    /// Returns whether the topic is the broker's own: clients cannot create it or produce to it.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('_')
    }
}

/// The name of a consumer group. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Parses a name that a client gives.
    ///
    /// # Errors
    /// The [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse("group", text).map(Self)
    }
}

macro_rules! is_text {
    ($name:ident) => {
        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // A map by name can be asked with a text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

is_text!(TopicName);
is_text!(GroupName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_whole_alphabet_are_taken_as_they_are() {
        for text in ["a", "Az09._-", "...", ".a", "-", "a_", &"x".repeat(249)] {
            assert_eq!(TopicName::parse(text).unwrap().as_str(), text);
            assert_eq!(GroupName::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_first_wrong_character_is_named_with_its_place() {
        for (text, character, place) in [
            ("a b/c", ' ', 2),
            ("/x", '/', 1),
            ("caf\u{e9}!", '\u{e9}', 4),
            ("\u{1f980}", '\u{1f980}', 1),
            ("a\n", '\n', 2),
            ("a\0", '\0', 2),
        ] {
            let expected = NameError::Character {
                kind: "topic",
                name: text.to_owned(),
                character,
                place,
            };
            assert_eq!(TopicName::parse(text), Err(expected));
        }
        let told = TopicName::parse("a b").unwrap_err().to_string();
        assert!(told.contains("\"a b\" has ' ' at place 2"), "{told}");
    }

    #[test]
    fn lengths_are_bounded_on_both_sides() {
        assert_eq!(
            GroupName::parse(""),
            Err(NameError::Empty { kind: "group" })
        );
        let told = TopicName::parse(&"x".repeat(250)).unwrap_err();
        let (kind, bytes) = ("topic", 250);
        assert_eq!(told, NameError::TooLong { kind, bytes });
        assert!(
            told.to_string()
                .contains("250 bytes, it must have 1 to 249")
        );
    }

    #[test]
    fn names_of_directories_are_refused() {
        for text in [".", ".."] {
            let name = text.to_owned();
            let kind = "topic";
            assert_eq!(TopicName::parse(text), Err(NameError::Dots { kind, name }));
        }
    }

    #[test]
    fn the_brokers_own_topics_are_refused_to_clients_only() {
        let kind = "topic";
        let name = "_push".to_owned();
        assert_eq!(
            TopicName::parse("_push"),
            Err(NameError::Reserved { kind, name })
        );
        assert!(TopicName::parse_internal("_push").unwrap().is_internal());
        assert!(!TopicName::parse_internal("push_").unwrap().is_internal());
        assert!(GroupName::parse("_g").is_ok());
    }
}
