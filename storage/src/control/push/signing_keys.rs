//! The keys that sign deliveries. They are secrets: no `Debug` shows them.

use std::fmt;

use crate::control::fields::{Fields, Output};
use crate::error::Corruption;

/// A key that signs deliveries.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(String);

impl SigningKey {
    /// Takes a key's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the key's text, for signing and for whoever may see it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// The key that signs and the one that will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeys {
    /// Signs deliveries.
    pub current: SigningKey,
    /// Signs them after the next rotation. Receivers accept both.
    pub next: SigningKey,
}

impl SigningKeys {
    pub(super) fn encode(&self, out: &mut Output) {
        out.text(self.current.expose());
        out.text(self.next.expose());
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Corruption> {
        Ok(Self {
            current: SigningKey(fields.text("current signing key")?),
            next: SigningKey(fields.text("next signing key")?),
        })
    }
}
