//! Takes values from the body of a frame, checking that they are there.

use bytes::Bytes;

use super::error::DecodeError;
use crate::protocol::api_key::API_VERSION_MAX;

/// Reads values one after the other from the body of a frame.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Bytes>,
    position: usize,
    version: u16,
    /// Values of arrays that were begun.
    values: usize,
    values_max: usize,
}

impl<'a> Reader<'a> {
    /// Reads from borrowed bytes; values of type [`Bytes`] are copied.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            shared: None,
            position: 0,
            version: API_VERSION_MAX,
            values: 0,
            values_max: usize::MAX,
        }
    }

    /// Reads from shared bytes; values of type [`Bytes`] share them.
    #[must_use]
    pub fn shared(bytes: &'a Bytes) -> Self {
        Self {
            bytes,
            shared: Some(bytes),
            position: 0,
            version: API_VERSION_MAX,
            values: 0,
            values_max: usize::MAX,
        }
    }

    /// Reads from here on the layout of an API version; without this, of the newest.
    pub fn set_version(&mut self, version: u16) {
        self.version = version;
    }

    /// Returns the API version whose layout is read.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Takes at most so many values of arrays, over all arrays of the message; without this, as many as there are bytes.
    pub fn limit_values(&mut self, count_max: u32) {
        self.values_max = usize::try_from(count_max).unwrap_or(usize::MAX);
    }

    /// Returns how many values of arrays the message has so far.
    #[must_use]
    pub fn values(&self) -> usize {
        self.values
    }

    /// Returns how many bytes were read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.position.checked_add(count);
        let Some(bytes) = end.and_then(|end| self.bytes.get(self.position..end)) else {
            return Err(self.truncated(wide(count)));
        };
        self.position = self.position.saturating_add(count);
        Ok(bytes)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        bytes
            .first_chunk::<N>()
            .copied()
            .ok_or_else(|| self.truncated(wide(N)))
    }

    /// Takes the next `count` bytes, sharing the frame if it is shared.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn take_shared(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let bytes = self.take(count)?;
        Ok(match self.shared {
            Some(frame) => frame.slice_ref(bytes),
            None => Bytes::copy_from_slice(bytes),
        })
    }

    /// Reads the length of a value that is about to be taken.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer than 4 bytes are left.
    pub fn length(&mut self) -> Result<usize, DecodeError> {
        let length = u32::from_be_bytes(self.array()?);
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Reads how many values an array has that is about to be read.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when there cannot be so many; [`DecodeError::TooMany`] above the limit.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.length()?;
        // Every value takes at least a byte, so a count above the bytes that are left is a lie.
        if count > self.remaining() {
            return Err(self.truncated(wide(count)));
        }
        self.values = self.values.saturating_add(count);
        if self.values > self.values_max {
            return Err(DecodeError::TooMany {
                field: "",
                position: self.position,
                count,
                count_max: self.values_max,
            });
        }
        Ok(count)
    }

    /// Makes the error of a value, read as the `bytes` bytes before the current position, that means nothing.
    #[must_use]
    pub fn wrong(&self, bytes: usize, value: u64) -> DecodeError {
        DecodeError::Value {
            field: "",
            position: self.position.saturating_sub(bytes),
            value,
        }
    }

    /// Checks that the message ended where its bytes do.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing {
                position: self.position,
                bytes,
            }),
        }
    }

    pub(super) fn truncated(&self, needed: u64) -> DecodeError {
        DecodeError::Truncated {
            field: "",
            position: self.position,
            needed,
            available: self.remaining(),
        }
    }

    pub(super) fn utf8(&mut self, length: usize) -> Result<String, DecodeError> {
        let position = self.position;
        let bytes = self.take(length)?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(DecodeError::Utf8 {
                field: "",
                position,
            });
        };
        Ok(text.to_owned())
    }
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
