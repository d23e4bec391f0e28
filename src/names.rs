//! Names of topics, groups, queues, URL groups and schedules, and flow-control keys: parsed once, valid ever after.
//!
//! A name has 1 to 249 bytes of `[A-Za-z0-9._-]` and is neither `.` nor `..`, as in Kafka and in the QStash API, so that names
//! can be carried over and stand in paths, URLs and metrics as they are. Names of topics that begin with `_` are the
//! broker's own. A flow-control key is what an application makes it from: any text of one line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use storage::limits::FLOW_KEY_BYTES_MAX;

use crate::limits::NAME_BYTES_MAX;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("the {kind} is empty, it must have 1 to {bytes_max} bytes")]
    Empty {
        /// What is named.
        kind: &'static str,
        /// How many bytes there may be.
        bytes_max: u32,
    },
    /// There is too much.
    #[error("the {kind} has {bytes} bytes, it must have 1 to {bytes_max}")]
    TooLong {
        /// What is named.
        kind: &'static str,
        /// How many bytes there are.
        bytes: usize,
        /// How many there may be.
        bytes_max: u32,
    },
    /// There is a character that no name has.
    #[error(
        "the {kind} {name:?} has {character:?} at place {place}, only letters, digits, '.', '_' and '-' may stand there"
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
    /// There is a character that ends or changes a line.
    #[error("the {kind} has the control character {character:?} at place {place}")]
    Control {
        /// What is named.
        kind: &'static str,
        /// The first character that is wrong.
        character: char,
        /// Its place, in characters, counted from 1.
        place: usize,
    },
    /// It means a directory.
    #[error("the {kind} is {name:?}, which stands for a directory: choose another")]
    Dots {
        /// What is named.
        kind: &'static str,
        /// The text.
        name: String,
    },
    /// It is the broker's own.
    #[error("the {kind} {name:?} begins with '_', such names are the broker's own")]
    Reserved {
        /// What is named.
        kind: &'static str,
        /// The text.
        name: String,
    },
}

fn check_length(kind: &'static str, text: &str, bytes_max: u32) -> Result<(), NameError> {
    let bytes = text.len();
    if bytes == 0 {
        return Err(NameError::Empty { kind, bytes_max });
    }
    if u32::try_from(bytes).map_or(true, |bytes| bytes > bytes_max) {
        return Err(NameError::TooLong {
            kind,
            bytes,
            bytes_max,
        });
    }
    Ok(())
}

fn parse(kind: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    // Before anything of the text goes into an error: it may be of any length.
    check_length(kind, text, NAME_BYTES_MAX)?;
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
    const KIND: &'static str = "topic name";

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
        parse("group name", text).map(Self)
    }
}

/// The name of a queue. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Parses a name that a client gives.
    ///
    /// # Errors
    /// The [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse("queue name", text).map(Self)
    }
}

/// The name of a URL group. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UrlGroupName(Arc<str>);

impl UrlGroupName {
    /// Parses a name that a client gives.
    ///
    /// # Errors
    /// The [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse("URL group name", text).map(Self)
    }
}

/// The id of a schedule. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleId(Arc<str>);

impl ScheduleId {
    /// Parses an id that a client gives.
    ///
    /// # Errors
    /// The [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse("schedule id", text).map(Self)
    }
}

/// A flow-control key: any text of one line, of at most [`FLOW_KEY_BYTES_MAX`] bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey(Arc<str>);

impl FlowKey {
    /// Parses a key that a client gives.
    ///
    /// # Errors
    /// [`NameError::Empty`], [`NameError::TooLong`], [`NameError::Control`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let kind = "flow-control key";
        check_length(kind, text, FLOW_KEY_BYTES_MAX)?;
        match (1..).zip(text.chars()).find(|(_, c)| c.is_control()) {
            Some((place, character)) => Err(NameError::Control {
                kind,
                character,
                place,
            }),
            None => Ok(Self(Arc::from(text))),
        }
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
is_text!(QueueName);
is_text!(UrlGroupName);
is_text!(ScheduleId);
is_text!(FlowKey);

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
                kind: "topic name",
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
        let (kind, bytes_max) = ("group name", 249);
        assert_eq!(
            GroupName::parse(""),
            Err(NameError::Empty { kind, bytes_max })
        );
        let told = TopicName::parse(&"x".repeat(250)).unwrap_err();
        let (kind, bytes) = ("topic name", 250);
        let expected = NameError::TooLong {
            kind,
            bytes,
            bytes_max,
        };
        assert_eq!(told, expected);
        assert!(
            told.to_string()
                .contains("250 bytes, it must have 1 to 249")
        );
    }

    #[test]
    fn queues_url_groups_and_schedules_are_named_by_the_same_rules() {
        fn told<T>(parsed: Result<T, NameError>) -> String {
            parsed.err().map(|e| e.to_string()).unwrap_or_default()
        }
        for text in ["a", "Az09._-", "_a", &"x".repeat(249)] {
            assert_eq!(QueueName::parse(text).unwrap().as_str(), text);
            assert_eq!(UrlGroupName::parse(text).unwrap().as_str(), text);
            assert_eq!(ScheduleId::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "a b", "a/b", ".", &"x".repeat(250)] {
            let queue = told(QueueName::parse(text));
            assert!(queue.starts_with("the queue name "), "{queue}");
            let group = told(UrlGroupName::parse(text));
            assert!(group.starts_with("the URL group name "), "{group}");
            let schedule = told(ScheduleId::parse(text));
            assert!(schedule.starts_with("the schedule id "), "{schedule}");
        }
    }

    #[test]
    fn a_flow_control_key_is_any_line_of_text() {
        for text in [
            "a",
            "https://x.example/a?b=c d",
            "caf\u{e9}",
            "..",
            &"x".repeat(1024),
        ] {
            assert_eq!(FlowKey::parse(text).unwrap().as_str(), text);
        }
        let kind = "flow-control key";
        let bytes_max = 1024;
        assert_eq!(
            FlowKey::parse(""),
            Err(NameError::Empty { kind, bytes_max })
        );
        let bytes = 1025;
        let long = NameError::TooLong {
            kind,
            bytes,
            bytes_max,
        };
        assert_eq!(FlowKey::parse(&"x".repeat(1025)), Err(long));
        for character in ['\n', '\0', '\u{7f}', '\u{85}'] {
            let place = 2;
            let control = NameError::Control {
                kind,
                character,
                place,
            };
            assert_eq!(FlowKey::parse(&format!("a{character}")), Err(control));
        }
    }

    #[test]
    fn names_of_directories_are_refused() {
        for text in [".", ".."] {
            let name = text.to_owned();
            let kind = "topic name";
            assert_eq!(TopicName::parse(text), Err(NameError::Dots { kind, name }));
        }
    }

    #[test]
    fn the_brokers_own_topics_are_refused_to_clients_only() {
        let kind = "topic name";
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
