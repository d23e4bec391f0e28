//! What a key's value may be: the check that every layer's value passes, and the words for what would be right. PURE.

use std::net::SocketAddr;

use super::units::{format_bytes, format_duration_ms, parse_bytes, parse_duration_ms};

/// The word that switches an optional limit off.
pub(super) const NONE: &str = "none";

/// The word that lets the broker decide by its address.
pub(super) const AUTO: &str = "auto";

/// The kind of value that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A path of the file system.
    Path,
    /// An IP address and a port.
    Address,
    /// A secret: hashed when read, never shown.
    Secret,
    /// `true` or `false`.
    Switch,
    /// `true`, `false`, or `auto`.
    SwitchOrAuto,
    /// A size in bytes, from the first to the second, both included.
    Bytes(u64, u64),
    /// A size in bytes of at least this, or `none`.
    BytesOrNone(u64),
    /// A duration in milliseconds, from the first to the second, both included.
    Duration(i64, i64),
    /// A duration in milliseconds of at least this, or `none`.
    DurationOrNone(i64),
    /// A whole number, from the first to the second, both included.
    Count(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of words; on one line they are separated by commas.
    List,
}

impl Kind {
    /// Checks a value that stands alone.
    ///
    /// # Errors
    /// What would be right.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let is_right = match self {
            Self::Path => !text.is_empty(),
            Self::Address => text.parse::<SocketAddr>().is_ok(),
            Self::Secret => is_token(text),
            Self::Switch => parse_switch(text).is_some(),
            Self::SwitchOrAuto => text == AUTO || parse_switch(text).is_some(),
            Self::Bytes(min, max) => parse_bytes(text).is_ok_and(|b| (min..=max).contains(&b)),
            Self::BytesOrNone(min) => text == NONE || parse_bytes(text).is_ok_and(|b| b >= min),
            Self::Duration(min, max) => {
                parse_duration_ms(text).is_ok_and(|ms| (min..=max).contains(&ms))
            }
            Self::DurationOrNone(min) => {
                text == NONE || parse_duration_ms(text).is_ok_and(|ms| ms >= min)
            }
            Self::Count(min, max) => text
                .parse::<u64>()
                .is_ok_and(|count| (min..=max).contains(&count)),
            Self::Choice(words) => words.contains(&text),
            Self::List => true,
        };
        if is_right {
            Ok(())
        } else {
            Err(self.expected())
        }
    }

    /// Returns the words for what is right.
    pub fn expected(self) -> String {
        match self {
            Self::Path => "a path".to_owned(),
            Self::Address => "an IP address and a port, as 127.0.0.1:8080 or [::1]:8080".to_owned(),
            Self::Secret => "1 to 512 visible ASCII characters without blanks".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::SwitchOrAuto => "true, false or auto".to_owned(),
            Self::Bytes(min, max) => {
                format!("a size from {} to {}", format_bytes(min), format_bytes(max))
            }
            Self::BytesOrNone(min) => format!("a size of at least {}, or none", format_bytes(min)),
            Self::Duration(min, max) => {
                format!(
                    "a duration from {} to {}",
                    format_duration_ms(min),
                    format_duration_ms(max)
                )
            }
            Self::DurationOrNone(min) => {
                format!(
                    "a duration of at least {}, or none",
                    format_duration_ms(min)
                )
            }
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List => {
                "a list of words: [\"a\", \"b\"] in the file, a,b in the variable and the flag"
                    .to_owned()
            }
        }
    }
}

/// Parses a boolean as the file and the environment spell it.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn is_token(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
