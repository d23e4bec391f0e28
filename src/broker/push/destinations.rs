//! Destinations that were parsed lately: most messages go where others went.

use std::collections::HashMap;

use crate::delivery::destination::{Destination, DestinationError};

/// Bytes of the URLs that are remembered.
const URL_BYTES_MAX: usize = 256 << 10;

/// Parsed destinations by their URLs, at most [`URL_BYTES_MAX`] bytes of those, or one.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    known: HashMap<String, Destination>,
    bytes: usize,
}

impl Destinations {
    /// Parses a URL as [`Destination::parse`] does.
    pub(super) fn parse(&mut self, url: &str) -> Result<Destination, DestinationError> {
        if let Some(known) = self.known.get(url) {
            return Ok(known.clone());
        }
        let destination = Destination::parse(url)?;
        if self.bytes.saturating_add(url.len()) > URL_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes = self.bytes.saturating_add(url.len());
        self.known.insert(url.to_owned(), destination.clone());
        Ok(destination)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn what_is_remembered_is_what_is_parsed_and_bounded() {
        let mut destinations = Destinations::default();
        let path = "p".repeat(1_000);
        for at in 0..1_000 {
            let url = format!("http://h{}.example/{path}", at % 600);
            let parsed = destinations.parse(&url).unwrap();
            assert_eq!(parsed, Destination::parse(&url).unwrap());
            let bytes: usize = destinations.known.keys().map(String::len).sum();
            assert_eq!(bytes, destinations.bytes);
            assert!(bytes <= URL_BYTES_MAX);
        }
        for _ in 0..2 {
            assert_eq!(
                destinations.parse("ftp://h/"),
                Err(DestinationError::Scheme)
            );
        }
    }
}
