//! The key of a JSON line: the value of one of its fields. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Returns the value of `field` in the JSON object that the line is: of a string its text, of anything else its JSON. A
/// missing field or null is no key.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn of<'a>(line: &'a [u8], field: &str) -> Result<Option<Cow<'a, [u8]>>, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let raw = json
        .deserialize_map(FieldOf(field))
        .and_then(|raw| json.end().map(|()| raw))
        .map_err(|error| {
            let why = within_line(&error);
            format!("--key-field needs a JSON object in each line: {why}")
        })?;
    let Some(raw) = raw else {
        return Ok(None);
    };
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with('"') {
        return Ok(Some(Cow::Borrowed(text.as_bytes())));
    }
    let text: String = serde_json::from_str(text).map_err(|error| within_line(&error))?;
    Ok(Some(Cow::Owned(text.into_bytes())))
}

/// Says what is wrong, by its column alone: to the parser each line is the first one.
fn within_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(why) => format!("{why} at column {}", error.column()),
        None => text,
    }
}

struct FieldOf<'f>(&'f str);

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_text_of_its_field() {
        for (line, expected) in [
            (r#"{"k":"a"}"#, Some("a")),
            (r#"{"a":{"k":1},"k":"x\ty"}"#, Some("x\ty")),
            (r#"{"k":17}"#, Some("17")),
            (r#"{"k":{"a": 1}}"#, Some(r#"{"a": 1}"#)),
            (r#"{"k":null}"#, None),
            (r#"{"a":1}"#, None),
            (r#"{"\u006b":"a"}"#, Some("a")),
        ] {
            let expected = expected.map(|key| Cow::Borrowed(key.as_bytes()));
            assert_eq!(of(line.as_bytes(), "k"), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_key() {
        for line in ["", "[1]", "{", r#"{"k":1"#, r#"{"k":1} x"#, "\u{0}"] {
            assert!(of(line.as_bytes(), "k").is_err(), "{line}");
        }
    }
}
