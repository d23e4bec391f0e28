//! Query parameters and JSON bodies, decoded with errors that name the field, its value and what would be right. PURE.

use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::query;

/// A query parameter that every path takes: the token.
pub const TOKEN_PARAMETER: &str = "qstash_token";

/// The query parameters of a request, all of them known to its path.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Splits a query and refuses names that the path does not know.
    ///
    /// # Errors
    /// 400 with the name that is unknown, and the known ones.
    pub fn parse(text: &str, known: &[String]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for (name, value) in query::pairs(text) {
            if name == TOKEN_PARAMETER {
                continue;
            }
            if !known.iter().any(|known| *known == name) {
                return Err(unknown_parameter(&name, known));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// Splits a query and passes over names that the path does not know, but refuses those of `elsewhere`: they mean
    /// something, and the answer would look as if they had been heeded.
    ///
    /// # Errors
    /// 400 with the name that is refused, and the known ones.
    pub fn parse_known(
        text: &str,
        known: &[String],
        elsewhere: &[String],
    ) -> Result<Self, ApiError> {
        let is_in = |names: &[String], name: &str| names.iter().any(|one| one == name);
        let mut pairs = Vec::new();
        for (name, value) in query::pairs(text) {
            if is_in(known, &name) {
                pairs.push((name.into_owned(), value.into_owned()));
            } else if is_in(elsewhere, &name) {
                let message = format!(
                    "the query parameter {name} is not taken here: {}",
                    takes(known)
                );
                return Err(ApiError::bad_request(message));
            }
        }
        Ok(Self { pairs })
    }

    /// Returns all values of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self.pairs.iter().filter(|(known, _)| known == name);
        pairs.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of a parameter that stands at most once.
    ///
    /// # Errors
    /// 400 if it is repeated.
    pub fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.all(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            [first, second, ..] => Err(ApiError::bad_request(format!(
                "the query parameter {name} is given more than once, as {first:?} and {second:?}"
            ))),
        }
    }

    /// Returns a number.
    ///
    /// # Errors
    /// 400.
    pub fn number(&self, name: &str) -> Result<Option<u32>, ApiError> {
        let what = format!("the query parameter {name}");
        self.one(name)?.map(|text| number(&what, text)).transpose()
    }

    /// Returns a switch: `true` or `false`, and false when it is not given.
    ///
    /// # Errors
    /// 400.
    pub fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!(
                "the query parameter {name} is {other:?}, it must be true or false"
            ))),
        }
    }
}

/// Decodes a body. Nothing at all stands for an empty object.
///
/// # Errors
/// 400 with the path of the field.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    let mut decoder = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut decoder).map_err(|error| {
        let path = error.path().to_string();
        let said = plain(error.inner());
        let body = if error.inner().is_data() {
            "the body"
        } else {
            "the body cannot be read as JSON"
        };
        let message = match path.as_str() {
            "." => format!("{body}: {said}"),
            path => format!("{body}, {path}: {said}"),
        };
        ApiError::bad_request(message)
    })?;
    decoder.end().map_err(|error| {
        ApiError::bad_request(format!("the body cannot be read as JSON: {error}"))
    })?;
    Ok(value)
}

/// Says what is wrong with a value without the names that this program has for what it takes. Where it stands is said by its path;
/// of what is no JSON at all the line and the column are told.
fn plain(error: &serde_json::Error) -> String {
    let mut said = error.to_string();
    if error.is_data()
        && let Some(at) = said.rfind(" at line ")
    {
        said.truncate(at);
    }
    let Some((found, expected)) = said.rsplit_once(", expected ") else {
        return said;
    };
    let expected = match expected {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        name if name.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    };
    format!("{found}, expected {expected}")
}

fn unknown_parameter(name: &str, known: &[String]) -> ApiError {
    ApiError::bad_request(format!(
        "unknown query parameter {name:?}: {}",
        takes(known)
    ))
}

fn takes(known: &[String]) -> String {
    if known.is_empty() {
        "this path takes none".to_owned()
    } else {
        format!("this path takes {}", known.join(", "))
    }
}

/// Parses a number; `what` names the field for the error.
///
/// # Errors
/// 400.
pub fn number(what: &str, text: &str) -> Result<u32, ApiError> {
    text.parse().map_err(|_not_a_number| {
        ApiError::bad_request(format!(
            "{what} is {text:?}, it must be a number from 0 to {}",
            u32::MAX
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "what is decoded is not looked at")]
    struct Asked {
        count: u32,
        is_paused: Option<bool>,
        names: Option<Vec<String>>,
    }

    #[test]
    fn an_error_in_a_body_has_no_names_of_this_program() {
        for (body, expected) in [
            (
                r#"{"count": -3}"#,
                "the body, count: invalid value: integer `-3`, expected a whole number from 0 to 4294967295",
            ),
            (
                r#"{"count": 1, "is_paused": "x"}"#,
                "the body, is_paused: invalid type: string \"x\", expected true or false",
            ),
            (
                r#"{"count": 1, "names": {}}"#,
                "the body, names: invalid type: map, expected an array",
            ),
            (
                "3",
                "the body: invalid type: integer `3`, expected an object",
            ),
            ("{}", "the body: missing field `count`"),
        ] {
            let error = json::<Asked>(body.as_bytes()).unwrap_err();
            assert_eq!(error.message, expected);
        }
        for body in [r#"{"count" 1}"#, r#"{"count": 1} x"#, "x"] {
            let error = json::<Asked>(body.as_bytes()).unwrap_err();
            assert!(
                error.message.starts_with("the body cannot be read as JSON"),
                "{error}"
            );
            assert!(error.message.contains("line 1 column"), "{error}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_known_ones() {
        let known = ["from".to_owned(), "count".to_owned()];
        let query = Query::parse("from=a%20b&qstash_token=t", &known).unwrap();
        assert_eq!(query.one("from").unwrap(), Some("a b"));
        assert_eq!(query.number("count").unwrap(), None);
        let error = Query::parse("form=1", &known).unwrap_err();
        assert_eq!(
            error.message,
            "unknown query parameter \"form\": this path takes from, count"
        );
        let error = Query::parse("x", &[]).unwrap_err();
        assert!(error.message.ends_with("this path takes none"), "{error}");
        let twice = Query::parse("from=1&from=2", &known).unwrap();
        assert_eq!(twice.all("from"), ["1", "2"]);
        assert_eq!(twice.one("from").unwrap_err().status, 400);
        let wrong = Query::parse("count=-1&from=yes", &known).unwrap();
        assert!(
            wrong
                .number("count")
                .unwrap_err()
                .message
                .contains("\"-1\"")
        );
        assert!(
            wrong
                .switch("from")
                .unwrap_err()
                .message
                .contains("true or false")
        );
    }
}
