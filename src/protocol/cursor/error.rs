//! What can be wrong with a message, with the place.

/// A message that does not decode. `field` is the innermost field, as `Message.field`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{field} at byte {position} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of the frame's body.
        position: usize,
        /// Bytes that it needs (for an array: at least).
        needed: u64,
        /// Bytes that are left.
        available: usize,
    },
    /// The value is none that this version knows.
    #[error("{field} at byte {position} has the value {value}, which means nothing here")]
    Value {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of the frame's body.
        position: usize,
        /// The value.
        value: u64,
    },
    /// A string is not UTF-8.
    #[error("{field} at byte {position} is not UTF-8")]
    Utf8 {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of the frame's body.
        position: usize,
    },
    /// The message has more array values than its reader takes.
    #[error(
        "{field} at byte {position} has {count} values, at most {count_max} are taken in one message"
    )]
    TooMany {
        /// The field.
        field: &'static str,
        /// Where its values begin, in bytes from the start of the frame's body.
        position: usize,
        /// How many values it says it has.
        count: usize,
        /// How many values all arrays of a message may have together.
        count_max: usize,
    },
    /// Bytes are left behind the message.
    #[error("{bytes} bytes are left behind the message, from byte {position} on")]
    Trailing {
        /// Where the message ends, in bytes from the start of the frame's body.
        position: usize,
        /// How many bytes are left.
        bytes: usize,
    },
}

impl DecodeError {
    /// Names the field of an error that has no name yet.
    #[must_use]
    pub fn of(mut self, name: &'static str) -> Self {
        match &mut self {
            Self::Truncated { field, .. }
            | Self::Value { field, .. }
            | Self::TooMany { field, .. }
            | Self::Utf8 { field, .. } => {
                if field.is_empty() {
                    *field = name;
                }
            }
            Self::Trailing { .. } => {}
        }
        self
    }
}

/// A message that cannot be encoded: one of its values is longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {value} of {bytes} bytes or items does not fit, the most is {bytes_max}")]
pub struct EncodeError {
    /// What it is: string, text, bytes, array or frame.
    pub value: &'static str,
    /// Its length.
    pub bytes: usize,
    /// The largest length.
    pub bytes_max: usize,
}
