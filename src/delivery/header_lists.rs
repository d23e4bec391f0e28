//! Headers as QStash shows them in JSON: each name once, with all its values. PURE.
//!
//! Names are written as its server writes them, whatever was sent: `content-type` becomes `Content-Type`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Headers by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct HeaderLists(BTreeMap<String, Vec<String>>);

impl HeaderLists {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the values of a header, in the order they came.
    #[must_use]
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(&canonical_name(name)).map_or(&[], Vec::as_slice)
    }
}

/// Collects names and values. Bytes that are no UTF-8 are replaced.
impl<'a, N: AsRef<str> + 'a, V: AsRef<[u8]> + 'a> FromIterator<&'a (N, V)> for HeaderLists {
    fn from_iter<I: IntoIterator<Item = &'a (N, V)>>(headers: I) -> Self {
        let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_ref()).into_owned();
            lists
                .entry(canonical_name(name.as_ref()))
                .or_default()
                .push(value);
        }
        Self(lists)
    }
}

/// Writes a header's name with a capital at the beginning and behind each hyphen, and small letters elsewhere.
#[must_use]
pub fn canonical_name(name: &str) -> String {
    let mut is_first = true;
    let write = |c: char| {
        let written = if is_first {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        };
        is_first = c == '-';
        written
    };
    name.chars().map(write).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn names_are_written_in_one_way() {
        for (name, expected) in [
            ("content-type", "Content-Type"),
            ("X-API-KEY", "X-Api-Key"),
            ("etag", "Etag"),
            ("-a--b", "-A--B"),
            ("", ""),
        ] {
            assert_eq!(canonical_name(name), expected);
        }
    }

    #[test]
    fn values_of_one_name_stand_together_in_their_order() {
        let headers = [
            ("x-b".to_owned(), Bytes::from_static(b"2")),
            ("X-A".to_owned(), Bytes::from_static(b"caf\xe9")),
            ("X-B".to_owned(), Bytes::from_static(b"1")),
        ];
        let lists: HeaderLists = headers.iter().collect();
        let json = serde_json::to_string(&lists).unwrap();
        assert_eq!(json, "{\"X-A\":[\"caf\u{fffd}\"],\"X-B\":[\"2\",\"1\"]}");
        assert_eq!(lists.values("x-B"), ["2", "1"]);
        assert!(lists.values("x-c").is_empty());
        assert!(!lists.is_empty());
    }
}
