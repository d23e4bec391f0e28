//! A URL group: one message published to it is delivered to each of its endpoints.

use crate::control::fields::{Fields, Output};
use crate::error::Corruption;
use crate::offset::TimestampMs;

/// A URL group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlGroup {
    /// When it was created.
    pub created: TimestampMs,
    /// When it was changed last.
    pub updated: TimestampMs,
    /// Where its messages go, in the order in which the endpoints were added.
    pub endpoints: Vec<Endpoint>,
}

/// Where a URL group's messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name in the group, if it has one.
    pub name: Option<String>,
    /// Its URL.
    pub url: String,
}

impl UrlGroup {
    pub(super) const ENCODED_BYTES_MIN: u64 = 8 + 8 + 4;

    pub(super) fn encode(&self, out: &mut Output) {
        out.i64(self.created.0);
        out.i64(self.updated.0);
        out.count(self.endpoints.len());
        for endpoint in &self.endpoints {
            out.optional(endpoint.name.as_deref(), Output::text);
            out.text(&endpoint.url);
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            created: TimestampMs(fields.i64()?),
            updated: TimestampMs(fields.i64()?),
            endpoints: (0..fields.count(1 + 4)?)
                .map(|_| Endpoint::decode(fields))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Endpoint {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            name: fields.optional("endpoint name", |fields| fields.text("endpoint name"))?,
            url: fields.text("endpoint url")?,
        })
    }
}
