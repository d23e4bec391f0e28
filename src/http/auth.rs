//! Who may use an HTTP surface. PURE over the request's headers and URI.
//!
//! A request shows the token as `Authorization: Bearer TOKEN` or as the query parameter `qstash_token`. The development
//! token is public, so while it is in force the broker also asks whether a web page could have sent the request: `Host`
//! must be a loopback name (a page that rebinds its own name to 127.0.0.1 sends that name), `Origin` too, and
//! `Sec-Fetch-Site: cross-site` is refused.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};

use super::parameters::TOKEN_PARAMETER;
use super::query;
use crate::config::{AccessConfig, Secret};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules in force.
#[derive(Debug, Clone)]
pub struct Access {
    token: Secret,
    is_development: bool,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token was shown.
    #[error(
        "no token: send the header `Authorization: Bearer TOKEN`, or the query parameter qstash_token"
    )]
    NoToken,
    /// The token is wrong.
    #[error("wrong token: it must be the one that the broker was started with")]
    WrongToken,
    /// The header shows none as a bearer token.
    #[error(
        "the header Authorization has another scheme than Bearer: send `Authorization: Bearer TOKEN`"
    )]
    NoBearer,
    /// `Host` is not a loopback name.
    #[error(
        "host {host:?} is refused while the development credentials are in force: use 127.0.0.1 or localhost, or start \
         the broker with a token"
    )]
    Host {
        /// The name, as sent.
        host: String,
    },
    /// `Origin` is not loopback.
    #[error(
        "origin {origin:?} is refused while the development credentials are in force: only pages from this machine may \
         call the broker, or start it with a token"
    )]
    Origin {
        /// The origin, as sent.
        origin: String,
    },
    /// A page of another site sent the request.
    #[error(
        "a request from another site is refused while the development credentials are in force"
    )]
    CrossSite,
}

impl Access {
    /// Takes the rules from the configuration.
    pub fn new(config: &AccessConfig) -> Self {
        Self {
            token: config.token.clone(),
            is_development: config.is_development,
        }
    }

    /// Checks where a request comes from. For every request, also those that need no token.
    ///
    /// # Errors
    /// [`Denied::Host`], [`Denied::Origin`], [`Denied::CrossSite`].
    pub fn check_origin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
        if !self.is_development {
            return Ok(());
        }
        check_host(uri, headers)?;
        for origin in headers.get_all(ORIGIN) {
            let origin = lossy(origin);
            let host = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            if !host.is_some_and(is_loopback_authority) {
                return Err(Denied::Origin { origin });
            }
        }
        if headers
            .get_all(SEC_FETCH_SITE)
            .iter()
            .any(|site| site == "cross-site")
        {
            return Err(Denied::CrossSite);
        }
        Ok(())
    }

    /// Checks a request's token. The header counts before the query parameter.
    ///
    /// # Errors
    /// [`Denied::NoToken`], [`Denied::NoBearer`], [`Denied::WrongToken`].
    pub fn check_token(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
        let is_right = if let Some(value) = headers.get(AUTHORIZATION) {
            let token = bearer(value.as_bytes()).ok_or(Denied::NoBearer)?;
            self.token.matches(token)
        } else {
            let (_, token) = query::pairs(uri.query().unwrap_or_default())
                .find(|(name, _)| name == TOKEN_PARAMETER)
                .ok_or(Denied::NoToken)?;
            self.token.matches(token.as_bytes())
        };
        if is_right {
            Ok(())
        } else {
            Err(Denied::WrongToken)
        }
    }
}

fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
    let named = headers.get_all(HOST).iter().map(lossy);
    let in_target = uri
        .authority()
        .map(|authority| authority.as_str().to_owned());
    let mut hosts = named.chain(in_target).peekable();
    if hosts.peek().is_none() {
        return Err(Denied::Host {
            host: String::new(),
        });
    }
    match hosts.find(|host| !is_loopback_authority(host)) {
        Some(host) => Err(Denied::Host { host }),
        None => Ok(()),
    }
}

/// Returns the token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// Returns true for `localhost`, names below it, and loopback addresses, with or without a port.
fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed
            .strip_suffix(']')
            .and_then(|address| address.parse::<IpAddr>().ok())
            .is_some_and(|address| address.is_ipv6() && address.to_canonical().is_loopback());
    }
    let name = host.to_ascii_lowercase();
    // Anything but a name is none, whatever it ends with.
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    name == "localhost"
        || (is_name && name.ends_with(".localhost"))
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_ipv4() && address.is_loopback())
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    const DEVELOPMENT: bool = true;

    fn access(is_development: bool) -> Access {
        Access {
            token: Secret::new("s3cret="),
            is_development,
        }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn token_by_header_or_query() {
        for (target, authorization, expected) in [
            ("/", Some("Bearer s3cret="), Ok(())),
            ("/", Some("bearer   s3cret="), Ok(())),
            ("/?qstash_token=s3cret%3D", None, Ok(())),
            ("/?a=1&qstash_token=s3cret=", None, Ok(())),
            ("/", None, Err(Denied::NoToken)),
            ("/?token=s3cret=", None, Err(Denied::NoToken)),
            ("/?qstash_token=", None, Err(Denied::WrongToken)),
            ("/?qstash_token=s3cret", None, Err(Denied::WrongToken)),
            (
                "/?qstash_token=wrong&qstash_token=s3cret=",
                None,
                Err(Denied::WrongToken),
            ),
            ("/", Some("s3cret="), Err(Denied::NoBearer)),
            ("/", Some("Basic s3cret="), Err(Denied::NoBearer)),
            ("/", Some("Bearer"), Err(Denied::NoBearer)),
            ("/", Some("Bearer S3CRET="), Err(Denied::WrongToken)),
            (
                "/?qstash_token=s3cret=",
                Some("Bearer wrong"),
                Err(Denied::WrongToken),
            ),
        ] {
            let fields: Vec<_> = authorization
                .map(|value| ("authorization", value))
                .into_iter()
                .collect();
            let uri: Uri = target.parse().unwrap();
            let result = access(DEVELOPMENT).check_token(&uri, &headers(&fields));
            assert_eq!(result, expected, "{target} {authorization:?}");
        }
    }

    #[test]
    fn loopback_names_pass_and_others_do_not() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.1.2.3:1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback_authority(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "example.com",
            "a/b.localhost",
            "user@a.localhost",
            "put /admin/v1/a.localhost",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.0.0.1.nip.io:80",
            "0.0.0.0",
            "10.0.0.1:8080",
            "[::]:1",
            "[::1",
            "::1",
            "notlocalhost",
            "user@localhost",
            "localhost/evil",
            "localhost:80:80",
            "[127.0.0.1]",
            "127.1",
            "2130706433",
        ] {
            assert!(!is_loopback_authority(host), "{host}");
        }
    }

    #[test]
    fn no_web_page_drives_a_broker_with_development_credentials() {
        let host = |name: &str| {
            Err(Denied::Host {
                host: name.to_owned(),
            })
        };
        let origin = |name: &str| {
            Err(Denied::Origin {
                origin: name.to_owned(),
            })
        };
        let local = ("host", "localhost:8080");
        for (target, fields, expected) in [
            ("/", vec![local], Ok(())),
            (
                "/",
                vec![local, ("origin", "http://localhost:3000")],
                Ok(()),
            ),
            ("/", vec![local, ("origin", "https://[::1]:3000")], Ok(())),
            ("/", vec![local, ("sec-fetch-site", "same-origin")], Ok(())),
            ("/", vec![local, ("sec-fetch-site", "none")], Ok(())),
            ("http://127.0.0.1/", vec![local], Ok(())),
            ("/", vec![], host("")),
            ("/", vec![("host", "evil.example")], host("evil.example")),
            (
                "/",
                vec![local, ("host", "evil.example")],
                host("evil.example"),
            ),
            ("http://evil.example/", vec![local], host("evil.example")),
            (
                "/",
                vec![local, ("origin", "https://evil.example")],
                origin("https://evil.example"),
            ),
            ("/", vec![local, ("origin", "null")], origin("null")),
            (
                "/",
                vec![local, ("origin", "file://localhost")],
                origin("file://localhost"),
            ),
            (
                "/",
                vec![local, ("sec-fetch-site", "cross-site")],
                Err(Denied::CrossSite),
            ),
        ] {
            let uri: Uri = target.parse().unwrap();
            let headers = headers(&fields);
            assert_eq!(
                access(DEVELOPMENT).check_origin(&uri, &headers),
                expected,
                "{target} {fields:?}"
            );
            assert_eq!(
                access(!DEVELOPMENT).check_origin(&uri, &headers),
                Ok(()),
                "{target} {fields:?}"
            );
        }
    }
}
