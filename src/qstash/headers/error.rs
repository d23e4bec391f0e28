//! What is wrong with a header: its name, its value, and what would be right. PURE.

use std::fmt;

use crate::delivery::header_lists::canonical_name;
use crate::http::ApiError;
use crate::qstash::limits::SHOWN_BYTES_MAX;

/// A header that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {expected}")]
pub struct HeaderError {
    what: Shown,
    expected: String,
}

/// The header, with its value unless that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    name: String,
    value: Option<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header {}", self.name)?;
        match &self.value {
            Some(value) => write!(f, " is {value:?}"),
            None => Ok(()),
        }
    }
}

impl HeaderError {
    /// Refuses a value.
    pub fn value(name: &str, value: &str, expected: impl Into<String>) -> Self {
        Self {
            what: Shown {
                name: canonical_name(&cut(name)),
                value: Some(cut(value)),
            },
            expected: expected.into(),
        }
    }

    /// Refuses a header without its value, which may be a secret.
    pub fn name(name: &str, expected: impl Into<String>) -> Self {
        Self {
            what: Shown {
                name: canonical_name(&cut(name)),
                value: None,
            },
            expected: expected.into(),
        }
    }
}

impl From<HeaderError> for ApiError {
    fn from(error: HeaderError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// Cuts a text to what an error repeats.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Cuts a URL to what an error repeats, without the name and the password in front of its host.
pub(crate) fn cut_url(text: &str) -> String {
    let without = || {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (place, path) = rest.split_at_checked(end)?;
        let (_credentials, host) = place.rsplit_once('@')?;
        Some(format!("{scheme}://(credentials)@{host}{path}"))
    };
    cut(without().as_deref().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_url_are_not_repeated() {
        for (text, shown) in [
            (
                "http://user:hunter2@a.example/b?c",
                "http://(credentials)@a.example/b?c",
            ),
            (
                "http://a@b:hunter2@a.example",
                "http://(credentials)@a.example",
            ),
            ("http://a.example/@b", "http://a.example/@b"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(cut_url(text), shown);
        }
    }

    #[test]
    fn an_error_names_the_header_its_value_and_what_would_be_right() {
        let error = HeaderError::value("upstash-retries", "x", "it must be a number");
        assert_eq!(
            error.to_string(),
            "header Upstash-Retries is \"x\": it must be a number"
        );
        let error = HeaderError::name("upstash-forward-authorization", "it is too long");
        assert_eq!(
            error.to_string(),
            "header Upstash-Forward-Authorization: it is too long"
        );
        let error = HeaderError::value("x", &"\u{e9}".repeat(1000), "no");
        assert!(error.to_string().len() < 2 * SHOWN_BYTES_MAX + 50);
    }
}
