//! The language of `Upstash-Retry-Delay`: how many milliseconds to wait before a retry, as a function of `retried`. PURE.
//!
//! | rule | is |
//! |---|---|
//! | sum | product { (`+` or `-`) product } |
//! | product | factor { (`*` or `/`) factor } |
//! | factor | `-` factor, or a number, or `retried`, or `(` sum `)`, or a function: name `(` sum { `,` sum } `)` |
//! | number | decimal digits, at most one `.` among them; no sign and no exponent |
//! | function | of one argument `sqrt` `abs` `exp` `floor` `ceil` `round`; of two `pow` `min` `max` |
//!
//! Blanks may stand between all of them. `round` rounds halves away from zero. Everything is a 64-bit float, so nothing
//! fails when it is computed: what makes no sense (a division by zero, the root of a negative number) becomes an infinity
//! or no number, and [`Expression::delay_ms`] gives no delay for it.
//!
//! An expression is kept as a list of operations on a stack. Each operation takes at least a byte of text, so the length
//! bounds their number, and computing takes no recursion.

mod error;
mod operation;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use super::DAY_MS;
pub use error::ExpressionError;
use operation::Operation;

/// Longest expression, in bytes: a formula that a person still reads.
pub const EXPRESSION_BYTES_MAX: usize = 512;
/// Deepest nesting of parentheses, functions and signs: it bounds the parser's recursion.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

const DAY_MS_FLOAT: f64 = 86_400_000.0;
const _: () = assert!(DAY_MS == 86_400_000);

/// A retry delay that can be computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    operations: Vec<Operation>,
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// The [`ExpressionError`] that was met first.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ExpressionError::TooLong { bytes: text.len() });
        }
        let operations = parser::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            operations,
        })
    }

    /// Returns the text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Computes the delay before a retry in whole milliseconds, rounded down and at most a day. `retried` is 0 for the
    /// first retry. Returns `None` for what is no time to wait: no number, an infinity, a negative number.
    #[must_use]
    pub fn delay_ms(&self, retried: u32) -> Option<u64> {
        let delay = self.value(f64::from(retried));
        if !delay.is_finite() || delay < 0.0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a number from 0 to a day"
        )]
        let whole = delay.min(DAY_MS_FLOAT) as u64;
        Some(whole)
    }

    fn value(&self, retried: f64) -> f64 {
        operation::compute(&self.operations, retried)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
