//! Errors with what lies behind them, for people.

use std::error::Error;
use std::fmt;

/// Shows an error and its sources, each behind a colon. A source that the text before ends with is not said twice.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn each_cause_is_said_once() {
        let with = |text, source: Said| Said(text, Some(Box::new(source)));
        let chain = with("cannot write: no", with("no", Said("disk full", None)));
        assert_eq!(Causes(&chain).to_string(), "cannot write: no: disk full");
    }
}
