//! The destination of a publish: a URL, which is the raw rest of the path with the request's query, or the name of a URL
//! group. PURE.

use std::fmt;

use storage::hidden::HiddenQuery;

use crate::delivery::destination::Destination;
use crate::http::ApiError;
use crate::http::parameters::TOKEN_PARAMETER;
use crate::http::query::pairs;
use crate::names::UrlGroupName;
use crate::qstash::headers::{cut, cut_url};

/// Where a message is to go.
#[derive(Clone, PartialEq, Eq)]
pub enum PublishTarget {
    /// A URL.
    Url(String),
    /// The endpoints of a URL group.
    UrlGroup(UrlGroupName),
}

impl fmt::Debug for PublishTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "Url({:?})", HiddenQuery(url)),
            Self::UrlGroup(name) => write!(f, "UrlGroup({name:?})"),
        }
    }
}

impl PublishTarget {
    /// Parses a destination as it was given: nothing in it is decoded.
    ///
    /// # Errors
    /// 400 with the text and what would be right.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = |expected: &str| {
            ApiError::bad_request(format!(
                "the destination is {:?}: {expected}",
                cut_url(text)
            ))
        };
        if text.contains("://") || has_scheme(text, ":") {
            let destination =
                Destination::parse(text).map_err(|error| wrong(&error.to_string()))?;
            return Ok(Self::Url(destination.as_str().to_owned()));
        }
        if has_scheme(text, "%3a") {
            return Err(wrong(
                "it is percent-encoded, give the URL as it is, such as https://example.com/api",
            ));
        }
        if text == "api" || text.starts_with("api/") {
            return Err(wrong(
                "LLM and email APIs are not provided here: give the provider a base URL of its own, so that the destination \
                 is a plain URL",
            ));
        }
        let name = UrlGroupName::parse(text).map_err(|error| {
            wrong(&format!(
                "it must be a URL that begins with http:// or https://, or the name of a URL group ({error})"
            ))
        })?;
        Ok(Self::UrlGroup(name))
    }

    /// Parses the rest of a path and the request's query. The query belongs to the URL, all but the token.
    ///
    /// # Errors
    /// As [`Self::parse`]; also 400 for a URL group with a query.
    pub fn from_path(rest: &str, query: Option<&str>) -> Result<Self, ApiError> {
        match query.and_then(without_token) {
            None => Self::parse(rest),
            Some(query) => {
                let target = Self::parse(&format!("{rest}?{query}"));
                // The name alone, for the better error.
                match Self::parse(rest) {
                    Ok(Self::UrlGroup(name)) => Err(ApiError::bad_request(format!(
                        "unknown query parameters {:?}: URL group {name} takes none",
                        cut(&query)
                    ))),
                    _ => target,
                }
            }
        }
    }
}

fn has_scheme(text: &str, colon: &str) -> bool {
    ["http", "https"].iter().any(|scheme| {
        let length = scheme.len() + colon.len();
        let start = text.get(..length);
        start.is_some_and(|start| start.eq_ignore_ascii_case(&format!("{scheme}{colon}")))
    })
}

/// Returns a query without the token, byte for byte; `None` if nothing else stands in it. What is let in as a token, by a name
/// that is decoded, goes no further.
fn without_token(query: &str) -> Option<String> {
    let is_token = |pair: &&str| pairs(pair).any(|(name, _)| name == TOKEN_PARAMETER);
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn url(rest: &str, query: Option<&str>) -> String {
        match PublishTarget::from_path(rest, query) {
            Ok(PublishTarget::Url(url)) => url,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_url_keeps_its_bytes() {
        for (rest, query, expected) in [
            ("https://h", None, "https://h"),
            ("https://h//a%2Fb/", None, "https://h//a%2Fb/"),
            (
                "http://127.0.0.1:9//c",
                Some("x=y&z=%20%2F&q=a+b"),
                "http://127.0.0.1:9//c?x=y&z=%20%2F&q=a+b",
            ),
            ("https://h/a", Some(""), "https://h/a?"),
            ("https://h/a", Some("qstash_token=t"), "https://h/a"),
            (
                "https://h/a",
                Some("b=1&qstash_token=t&&c"),
                "https://h/a?b=1&&c",
            ),
            ("https://h/a", Some("qstash%5Ftoken=t"), "https://h/a"),
            (
                "https://h/a",
                Some("%71stash_toke%6e=t&b%5f=%5F"),
                "https://h/a?b%5f=%5F",
            ),
            (
                "https://h/a",
                Some("xqstash_token=t&u=https://x/y"),
                "https://h/a?xqstash_token=t&u=https://x/y",
            ),
        ] {
            assert_eq!(url(rest, query), expected);
        }
    }

    #[test]
    fn what_is_no_url_is_the_name_of_a_group() {
        let name = UrlGroupName::parse("my-group.1").unwrap();
        let group = Ok(PublishTarget::UrlGroup(name));
        assert_eq!(PublishTarget::from_path("my-group.1", None), group);
        let with_token = PublishTarget::from_path("my-group.1", Some("qstash_token=t"));
        assert_eq!(with_token, group);
        let error = PublishTarget::from_path("my-group.1", Some("x=1")).unwrap_err();
        assert!(error.message.contains("takes none"), "{error}");
    }

    #[test]
    fn what_is_neither_is_refused_with_its_text() {
        for (text, expected) in [
            ("https:/h/a", "https:/h/a"),
            ("https://", "https://"),
            ("ftp://h/a", "http:// or https://"),
            ("https%3A%2F%2Fh", "percent-encoded"),
            ("HTTP%3a//h", "percent-encoded"),
            ("api/llm", "base URL"),
            ("api/email", "base URL"),
            ("a b", "name of a URL group"),
            ("h/a", "name of a URL group"),
            ("", "name of a URL group"),
        ] {
            let error = PublishTarget::parse(text).unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.message.contains(expected), "{text}: {error}");
        }
        let error = PublishTarget::parse(&"x/".repeat(10_000)).unwrap_err();
        assert!(error.message.len() < 500, "{error}");
    }
}
