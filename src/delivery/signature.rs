//! `Upstash-Signature`: a JWT (HS256) that tells a receiver who sent a request, to whom, when, and with which body. PURE.
//!
//! | claim | content |
//! |---|---|
//! | `iss` | [`ISSUER`] |
//! | `sub` | the destination, as it was published |
//! | `exp` | `iat` + [`LIFETIME_SECONDS`] |
//! | `nbf`, `iat` | when it was signed, unix seconds, rounded down |
//! | `jti` | names this token |
//! | `body` | SHA-256 of the body in base64url, with padding; both SDKs compare without it |
//!
//! Header and claims are in the order shown, so that equal input gives equal tokens. The key's text is the secret as it
//! stands, not decoded. A [`SigningKey`] never shows it in `Debug`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage::hidden::{Hidden, HiddenQuery};
use storage::offset::TimestampMs;

/// Who signs.
pub const ISSUER: &str = "Upstash";
/// How long a signature is taken, in seconds.
pub const LIFETIME_SECONDS: i64 = 300;

/// `{"alg":"HS256","typ":"JWT"}` in base64url.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// Bytes of the claims without the URL and the id, and of the parts besides the claims, or a few more.
const CLAIMS_BYTES: usize = 180;
const OTHER_PARTS_BYTES: usize = 84;

/// A key that signs deliveries. Its text is shown only to who asks for the text.
#[derive(Clone)]
pub struct SigningKey {
    text: String,
    mac: Hmac<Sha256>,
}

impl SigningKey {
    /// Takes a key as it is shown to receivers.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "HMAC takes keys of any length"
    )]
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            mac: Hmac::new_from_slice(text.as_bytes()).expect("HMAC takes keys of any length"),
        }
    }

    /// Returns the key's text, for the answer that shows keys and for their log. It must not be logged.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The destination, as it was published.
    pub url: &'a str,
    /// When it is signed.
    pub now: TimestampMs,
    /// Names the token.
    pub jti: &'a str,
    /// The request's body.
    pub body: &'a [u8],
}

impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("url", &HiddenQuery(self.url))
            .field("now", &self.now)
            .field("jti", &self.jti)
            .field("body", &Hidden(self.body))
            .finish()
    }
}

#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    iss: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    sub: std::borrow::Cow<'a, str>,
    exp: i64,
    nbf: i64,
    iat: i64,
    #[serde(borrow)]
    jti: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    body: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Why a signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is no JWT with the claims that are asked for.
    #[error(
        "the signature is no JWT of algorithm HS256 with the claims iss, sub, exp, nbf and body"
    )]
    Malformed,
    /// Another key, or something was changed.
    #[error("the signature was not made with this key")]
    Key,
    /// Somebody else signed.
    #[error("the signature's issuer is not {ISSUER}")]
    Issuer,
    /// It is too old.
    #[error("the signature expired at {exp}, now it is {now}; in unix seconds")]
    Expired {
        /// When it expired.
        exp: i64,
        /// What the time is.
        now: i64,
    },
    /// It is not yet to be taken.
    #[error("the signature is taken from {nbf} on, now it is {now}; in unix seconds")]
    NotYet {
        /// From when on.
        nbf: i64,
        /// What the time is.
        now: i64,
    },
    /// It is for another URL.
    #[error("the signature is for another URL")]
    Subject,
    /// It is for another body.
    #[error("the signature is for another body")]
    Body,
}

/// Signs a request: the value of `Upstash-Signature`.
#[must_use]
pub fn sign(key: &SigningKey, signed: &Signed<'_>) -> String {
    let now = seconds(signed.now);
    let claims = Claims {
        iss: ISSUER.into(),
        sub: signed.url.into(),
        exp: now.saturating_add(LIFETIME_SECONDS),
        nbf: now,
        iat: now,
        jti: signed.jti.into(),
        body: body_hash(signed.body).into(),
    };
    // Texts and numbers always become JSON.
    let texts = signed.url.len().saturating_add(signed.jti.len());
    let mut json = Vec::with_capacity(texts.saturating_add(CLAIMS_BYTES));
    // Writing to memory does not fail.
    let _ok = serde_json::to_writer(&mut json, &claims);
    let mut token = String::with_capacity(json.len() / 3 * 4 + OTHER_PARTS_BYTES);
    token.push_str(HEADER);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(json, &mut token);
    let mac = key.mac.clone().chain_update(&token).finalize();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(mac.into_bytes(), &mut token);
    token
}

/// Checks a signature as the SDKs' receivers do. `url` of `None` is any.
///
/// # Errors
/// The [`SignatureError`] that was met first.
pub fn verify(
    key: &SigningKey,
    token: &str,
    url: Option<&str>,
    body: &[u8],
    now: TimestampMs,
) -> Result<(), SignatureError> {
    let claims = open(key, token)?;
    let claims: Claims<'_> =
        serde_json::from_slice(&claims).map_err(|_not_json| SignatureError::Malformed)?;
    let now = seconds(now);
    if claims.iss != ISSUER {
        return Err(SignatureError::Issuer);
    }
    if claims.exp <= now {
        return Err(SignatureError::Expired {
            exp: claims.exp,
            now,
        });
    }
    if claims.nbf > now {
        return Err(SignatureError::NotYet {
            nbf: claims.nbf,
            now,
        });
    }
    if url.is_some_and(|url| url != claims.sub) {
        return Err(SignatureError::Subject);
    }
    if claims.body.trim_end_matches('=') != body_hash(body).trim_end_matches('=') {
        return Err(SignatureError::Body);
    }
    Ok(())
}

/// Returns the claims of a token that was made with this key.
fn open(key: &SigningKey, token: &str) -> Result<Vec<u8>, SignatureError> {
    let decode = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes.map_err(|_not_base64| SignatureError::Malformed)
    };
    let (signed, mac) = token.rsplit_once('.').ok_or(SignatureError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(SignatureError::Malformed)?;
    let header: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_not_json| SignatureError::Malformed)?;
    if header.alg != "HS256" {
        return Err(SignatureError::Malformed);
    }
    let made = key.mac.clone().chain_update(signed);
    made.verify_slice(&decode(mac)?)
        .map_err(|_other_mac| SignatureError::Key)?;
    decode(claims)
}

fn body_hash(body: &[u8]) -> String {
    URL_SAFE.encode(Sha256::digest(body))
}

fn seconds(time: TimestampMs) -> i64 {
    time.0.div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_795_867_200_999);
    const URL: &str = "https://example.org//a?x=y";
    const PLAIN: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    const BODY: &[u8] = "{\"hello\":\"w\u{f6}rld\"}".as_bytes();

    fn key() -> SigningKey {
        SigningKey::new("sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r")
    }

    fn token() -> String {
        let signed = Signed {
            url: URL,
            now: NOW,
            jti: "jwt_1",
            body: BODY,
        };
        sign(&key(), &signed)
    }

    fn later(seconds: i64) -> TimestampMs {
        NOW.saturating_add(seconds * 1000)
    }

    /// Signs these claims, whatever they are.
    fn forged(header: &str, claims: &str) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let mac = key().mac.chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Made with Python's `hmac`, `hashlib`, `json` and `base64`.
    #[test]
    fn a_token_is_the_one_that_another_program_makes() {
        let expected = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
            eyJpc3MiOiJVcHN0YXNoIiwic3ViIjoiaHR0cHM6Ly9leGFtcGxlLm9yZy8vYT94PXkiLCJleHAiOjE3OTU4Njc1MDAs\
            Im5iZiI6MTc5NTg2NzIwMCwiaWF0IjoxNzk1ODY3MjAwLCJqdGkiOiJqd3RfMSIsImJvZHkiOiJGZjZUYlZwY1NsWk1q\
            Y2tBSW9BQWttUEF6QXZROG80V1pTVXBxZmc3TFNNPSJ9.\
            mEQRiXHZe0c4ztrdyVScNHFS-J_wDgWyr30iojqmmx4";
        assert_eq!(token(), expected);
    }

    #[test]
    fn a_token_is_taken_for_five_minutes_by_its_key_for_its_url_and_body() {
        let token = token();
        let check = |url, body, now| verify(&key(), &token, url, body, now);
        assert_eq!(check(Some(URL), BODY, NOW), Ok(()));
        assert_eq!(check(None, BODY, later(299)), Ok(()));
        let (exp, now) = (1_795_867_500, 1_795_867_500);
        let expired = Err(SignatureError::Expired { exp, now });
        assert_eq!(check(None, BODY, later(300)), expired);
        let (nbf, now) = (1_795_867_200, 1_795_867_199);
        let early = Err(SignatureError::NotYet { nbf, now });
        assert_eq!(check(None, BODY, later(-1)), early);
        let other_url = Some("https://example.org/a?x=y");
        assert_eq!(check(other_url, BODY, NOW), Err(SignatureError::Subject));
        assert_eq!(check(None, b"{}", NOW), Err(SignatureError::Body));
        let other = SigningKey::new("sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs");
        let found = verify(&other, &token, None, BODY, NOW);
        assert_eq!(found, Err(SignatureError::Key));
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = token();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&key(), &changed, None, BODY, NOW).is_err(), "{at}");
            assert!(
                verify(&key(), token.get(..at).unwrap(), None, BODY, NOW).is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn claims_that_another_signer_would_make_are_refused() {
        let claims = |iss: &str| {
            let body = body_hash(BODY);
            format!(
                r#"{{"iss":"{iss}","sub":"{URL}","exp":1795867300,"nbf":0,"iat":0,"jti":"","body":"{body}"}}"#
            )
        };
        let check = |header: &str, claims: &str| {
            verify(&key(), &forged(header, claims), Some(URL), BODY, NOW)
        };
        assert_eq!(check(PLAIN, &claims("Upstash")), Ok(()));
        let unpadded = claims("Upstash").replace("=\"}", "\"}");
        assert_eq!(check(PLAIN, &unpadded), Ok(()));
        assert_eq!(
            check(PLAIN, &claims("upstash")),
            Err(SignatureError::Issuer)
        );
        let none = r#"{"alg":"none"}"#;
        assert_eq!(
            check(none, &claims("Upstash")),
            Err(SignatureError::Malformed)
        );
        assert_eq!(check(PLAIN, "{}"), Err(SignatureError::Malformed));
        assert_eq!(check(PLAIN, "[]"), Err(SignatureError::Malformed));
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = key();
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
        assert_eq!(key.text(), "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r");
        assert!(key != SigningKey::new("other"));
        // An empty and a very long key sign as well.
        for text in [String::new(), "k".repeat(1000)] {
            let key = SigningKey::new(&text);
            let signed = Signed {
                url: URL,
                now: NOW,
                jti: "",
                body: b"",
            };
            let token = sign(&key, &signed);
            assert_eq!(verify(&key, &token, Some(URL), b"", NOW), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_is_taken(url in "\\PC{0,60}", jti in "\\PC{0,20}", body in proptest::collection::vec(any::<u8>(), 0..100), now in any::<i64>()) {
            let now = TimestampMs(now);
            let signed = Signed { url: &url, now, jti: &jti, body: &body };
            let token = sign(&key(), &signed);
            prop_assert_eq!(verify(&key(), &token, Some(&url), &body, now), Ok(()));
            let is_header_value = token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            prop_assert!(is_header_value);
        }

        #[test]
        fn any_token_is_checked_or_refused(token in "[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,30}\\.[A-Za-z0-9_-]{0,50}|\\PC{0,60}") {
            prop_assert!(verify(&key(), &token, None, b"", NOW).is_err());
        }
    }
}
