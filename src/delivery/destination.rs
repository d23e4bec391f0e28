//! Where a delivery goes: an `http` or `https` URL that means one thing only. PURE.
//!
//! Invariants:
//! - The host stands in its one spelling (see [`Host`]); the path and the query are kept byte for byte, so that
//!   `https://host//a?x=y` stays what it is.
//! - What another reader might take for something else is refused and not repaired: credentials, blanks and control
//!   characters, backslashes before the path, zones, characters outside ASCII.
//! - A fragment is for the one who reads the answer. It is not sent and not kept.

use std::fmt;
use std::sync::Arc;

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use storage::hidden::HiddenQuery;

use super::host::{Host, HostError};

/// Longest URL, in bytes: what a dead letter keeps of one.
pub const URL_BYTES_MAX: usize = storage::dead_letter::limits::URL_BYTES_MAX;

/// A destination. Cheap to clone. `Debug` shows no query.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    text: String,
    host: Host,
    authority: Arc<str>,
    uri: Uri,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({:?})", HiddenQuery(&self.0.text))
    }
}

/// Why a text is no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// More than 8 KiB.
    #[error("a URL has at most {URL_BYTES_MAX} bytes")]
    Long,
    /// No `http://` or `https://` in front.
    #[error("a destination begins with http:// or https://")]
    Scheme,
    /// A name or a password in front of the host.
    #[error("a URL with credentials (`user@`) is not taken: send an Authorization header")]
    Credentials,
    /// No host, or no valid one.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No number from 1 to 65535 behind the colon.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// A character of the path or the query that must be escaped.
    #[error("{0:?} cannot stand in a path or a query: escape it, as %20 for a blank")]
    Path(char),
}

impl Destination {
    /// Parses a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        if text.len() > URL_BYTES_MAX {
            return Err(DestinationError::Long);
        }
        let (text, _fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = text.split_once("://").ok_or(DestinationError::Scheme)?;
        let (scheme, default_port) = if scheme.eq_ignore_ascii_case("https") {
            (Scheme::HTTPS, 443)
        } else if scheme.eq_ignore_ascii_case("http") {
            (Scheme::HTTP, 80)
        } else {
            return Err(DestinationError::Scheme);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(DestinationError::Credentials);
        }
        let (host, port) = split_port(place, default_port)?;
        let host = Host::parse(host)?;
        Ok(Self(Arc::new(Parts {
            text: text.to_owned(),
            authority: format!("{host}:{port}").into(),
            uri: uri(scheme, &host, port, default_port, path)?,
            host,
        })))
    }

    /// Returns the URL as it was written, without its fragment.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Returns the URL as it is requested: scheme and host in lower case, the default port left out.
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// Returns host and port, as `api.example:443` or `[::1]:8080`: the same for all URLs that lead to one server.
    pub fn authority(&self) -> &Arc<str> {
        &self.0.authority
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Returns whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

/// Splits at the colon of the port. An IPv6 address has colons of its own, between brackets.
fn split_port(place: &str, default: u16) -> Result<(&str, u16), DestinationError> {
    let behind_brackets = place.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = place
        .get(behind_brackets..)
        .and_then(|rest| rest.find(':'))
        .map(|at| at + behind_brackets);
    let Some((host, port)) = colon.and_then(|at| place.split_at_checked(at)) else {
        return Ok((place, default));
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    // As in `http://host:/`.
    if digits.is_empty() {
        return Ok((host, default));
    }
    let is_number = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port > 0 => Ok((host, port)),
        _ => Err(DestinationError::Port),
    }
}

fn uri(
    scheme: Scheme,
    host: &Host,
    port: u16,
    default_port: u16,
    path: &str,
) -> Result<Uri, DestinationError> {
    let authority = if port == default_port {
        host.to_string()
    } else {
        format!("{host}:{port}")
    };
    if let Some(wrong) = path.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(DestinationError::Path(wrong));
    }
    let path_and_query = match path.chars().next() {
        None => "/".to_owned(),
        Some('/') => path.to_owned(),
        Some(_) => format!("/{path}"),
    };
    let path_and_query =
        PathAndQuery::try_from(&path_and_query).map_err(|_wrong| refused(&path_and_query))?;
    let authority = Authority::try_from(authority).map_err(|_wrong| HostError::Ipv6)?;
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path_and_query)
        .build()
        .map_err(|_wrong| refused(path))
}

/// Finds the character for which a path was refused. A query takes fewer of them than a path.
fn refused(path: &str) -> DestinationError {
    let query = path.find('?').unwrap_or(path.len());
    let is_wrong = |(at, c): &(usize, char)| {
        let lead = if *at > query { "/?" } else { "/" };
        PathAndQuery::try_from(format!("{lead}{c}")).is_err()
    };
    let wrong = path.char_indices().find(is_wrong);
    DestinationError::Path(wrong.map_or('/', |(_, c)| c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn path_and_query_are_kept_byte_for_byte() {
        for (url, expected) in [
            ("https://a.example", "/"),
            ("https://a.example?x=y", "/?x=y"),
            ("https://a.example/?", "/?"),
            ("https://a.example//a?x=y", "//a?x=y"),
            ("https://a.example/../a/./b//", "/../a/./b//"),
            ("https://a.example/%2e%2E/%zz", "/%2e%2E/%zz"),
            ("https://a.example/a?b?c&d=[1]{e}", "/a?b?c&d=[1]{e}"),
            ("https://a.example/a@b:c", "/a@b:c"),
            ("https://a.example/http://b.example/", "/http://b.example/"),
            ("https://a.example/a#part?x", "/a"),
        ] {
            let destination = Destination::parse(url).unwrap();
            let sent = destination.uri().path_and_query().unwrap();
            assert_eq!(sent.as_str(), expected, "{url}");
            let written = url.split('#').next();
            assert_eq!(Some(destination.as_str()), written);
        }
    }

    #[rustfmt::skip]
    #[test]
    fn one_server_has_one_authority() {
        for (url, authority, sent) in [
            ("https://A.Example", "a.example:443", "https://a.example/"),
            ("HTTP://a.example.", "a.example:80", "http://a.example/"),
            ("https://a.example:443/", "a.example:443", "https://a.example/"),
            ("https://a.example:/", "a.example:443", "https://a.example/"),
            ("http://a.example:443/", "a.example:443", "http://a.example:443/"),
            ("http://a.example:00080/", "a.example:80", "http://a.example/"),
            ("http://0x7f.1:81", "127.0.0.1:81", "http://127.0.0.1:81/"),
            ("http://[0:0::1]/", "[::1]:80", "http://[::1]/"),
            ("http://[::1]:9/x", "[::1]:9", "http://[::1]:9/x"),
        ] {
            let destination = Destination::parse(url).unwrap();
            assert_eq!(&**destination.authority(), authority, "{url}");
            assert_eq!(destination.uri().to_string(), sent);
        }
    }

    #[rustfmt::skip]
    #[test]
    fn what_is_no_clear_destination_is_refused() {
        let long = format!("https://a.example/{}", "a".repeat(URL_BYTES_MAX));
        for (url, expected) in [
            (long.as_str(), DestinationError::Long),
            ("", DestinationError::Scheme),
            ("a.example", DestinationError::Scheme),
            ("//a.example", DestinationError::Scheme),
            ("https:/a.example", DestinationError::Scheme),
            ("https:a.example", DestinationError::Scheme),
            (" https://a.example", DestinationError::Scheme),
            ("ftp://a.example", DestinationError::Scheme),
            ("file:///etc/passwd", DestinationError::Scheme),
            ("gopher://a.example", DestinationError::Scheme),
            ("javascript://a.example", DestinationError::Scheme),
            ("https://a@b.example", DestinationError::Credentials),
            ("https://a:b@c.example", DestinationError::Credentials),
            ("https://@a.example", DestinationError::Credentials),
            ("https://a.example\\@b.example", DestinationError::Credentials),
            ("https://", DestinationError::Host(HostError::Empty)),
            ("https:///a", DestinationError::Host(HostError::Empty)),
            ("https://:80", DestinationError::Host(HostError::Empty)),
            ("https://?a", DestinationError::Host(HostError::Empty)),
            ("https://a b", DestinationError::Host(HostError::Character(' '))),
            ("https://a\tb", DestinationError::Host(HostError::Character('\t'))),
            ("https://a\\b", DestinationError::Host(HostError::Character('\\'))),
            ("https://[fe80::1%1]", DestinationError::Host(HostError::Zone)),
            ("https://::1/", DestinationError::Port),
            ("https://a:0/", DestinationError::Port),
            ("https://a:65536/", DestinationError::Port),
            ("https://a:+80/", DestinationError::Port),
            ("https://a:80:80/", DestinationError::Port),
            ("https://a:080000/", DestinationError::Port),
            ("https://[::1]80/", DestinationError::Host(HostError::Ipv6)),
            ("https://a/b c", DestinationError::Path(' ')),
            ("https://a/b\r\nx: y", DestinationError::Path('\r')),
            ("https://a/\u{e9}", DestinationError::Path('\u{e9}')),
            ("https://a/\"?\"", DestinationError::Path('"')),
            ("https://a/<b>", DestinationError::Path('<')),
        ] {
            assert_eq!(Destination::parse(url), Err(expected), "{url:?}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let text = |url| Destination::parse(url).unwrap_err().to_string();
        assert!(text("https://a@b").contains("Authorization header"));
        assert!(text("https://b\u{fc}cher.example").contains("Punycode"));
        assert!(text("https://a/ ").contains("%20"));
    }
}
