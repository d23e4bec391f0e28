//! Why a text is no expression, with its place. PURE.

use super::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// Why a text is no expression. Places are counted in characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// There is too much of it.
    #[error("the retry delay has {bytes} bytes, it may have {EXPRESSION_BYTES_MAX}")]
    TooLong {
        /// How many bytes there are.
        bytes: usize,
    },
    /// Parentheses, functions or signs stand too deep in each other.
    #[error(
        "the retry delay {text:?} is nested too deep at place {place}, it may be nested {EXPRESSION_DEPTH_MAX} times"
    )]
    TooDeep {
        /// The expression.
        text: String,
        /// Where it becomes too deep.
        place: usize,
    },
    /// Something stands where something else belongs.
    #[error("the retry delay {text:?} has {found} at place {place}, {expected} would be right")]
    Unexpected {
        /// The expression.
        text: String,
        /// Where.
        place: usize,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A name means nothing.
    #[error(
        "the retry delay {text:?} has the name {name:?} at place {place}, there are only the variable retried and the functions pow, sqrt, abs, exp, floor, ceil, round, min and max"
    )]
    UnknownName {
        /// The expression.
        text: String,
        /// Where.
        place: usize,
        /// The name.
        name: String,
    },
    /// A function has too few or too many arguments.
    #[error(
        "the retry delay {text:?} gives {function} at place {place} {found} arguments, it takes {expected}"
    )]
    ArgumentCount {
        /// The expression.
        text: String,
        /// Where the function's name begins.
        place: usize,
        /// The function's name.
        function: &'static str,
        /// How many arguments there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
}
