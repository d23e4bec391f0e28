//! Puts values behind each other into the parts of a frame, sharing what is large.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::EncodeError;
use crate::limits::STRING_BYTES_MAX;
use crate::protocol::api_key::API_VERSION_MAX;

/// From this size on a value of shared bytes stands in its own part of the output instead of being copied.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// Writes values one after the other. Large shared bytes are not copied: the output comes in parts.
///
/// The first value that does not fit is remembered and told at the end, so that encoding reads as a list of values.
#[derive(Debug)]
pub struct Writer {
    version: u16,
    /// The first part, still open to the frame's length.
    head: Option<BytesMut>,
    parts: Vec<Bytes>,
    open: BytesMut,
    refused: Option<EncodeError>,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// Begins an empty output in the newest layout.
    #[must_use]
    pub fn new() -> Self {
        Self::of_version(API_VERSION_MAX)
    }

    /// Begins an empty output in the layout of an API version.
    #[must_use]
    pub fn of_version(version: u16) -> Self {
        Self {
            version,
            head: None,
            parts: Vec::new(),
            open: BytesMut::new(),
            refused: None,
        }
    }

    /// Returns the API version whose layout is written.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Appends bytes as they are, without a length.
    pub fn put(&mut self, bytes: &[u8]) {
        self.open.put_slice(bytes);
    }

    /// Appends a `u32` length or count.
    pub fn length(&mut self, value: &'static str, length: usize) {
        let Ok(short) = u32::try_from(length) else {
            self.refuse(value, length, 0xFFFF_FFFF);
            return;
        };
        self.put(&short.to_be_bytes());
    }

    /// Appends a string of at most [`STRING_BYTES_MAX`] bytes.
    pub fn string(&mut self, text: &str) {
        let Ok(length) = u16::try_from(text.len()) else {
            self.refuse("string", text.len(), STRING_BYTES_MAX);
            return;
        };
        self.put(&length.to_be_bytes());
        self.put(text.as_bytes());
    }

    /// Appends a string, cut at the last character that fits.
    pub fn string_cut(&mut self, text: &str) {
        let end = text.floor_char_boundary(STRING_BYTES_MAX);
        self.string(text.get(..end).unwrap_or_default());
    }

    /// Appends bytes with their length; large ones as a part of their own, without copying.
    pub fn shared(&mut self, bytes: &Bytes) {
        self.length("value of bytes", bytes.len());
        if bytes.len() < SHARED_BYTES_MIN {
            self.put(bytes);
            return;
        }
        self.close_part();
        self.parts.push(bytes.clone());
    }

    /// Returns the output as parts that follow each other.
    ///
    /// # Errors
    /// The first value that did not fit.
    pub fn finish(mut self) -> Result<Vec<Bytes>, EncodeError> {
        self.close_part();
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if let Some(head) = self.head {
            self.parts.insert(0, head.freeze());
        }
        Ok(self.parts)
    }

    /// Writes the number of bytes behind them into the output's first four, then returns it as parts.
    ///
    /// # Errors
    /// The first value that did not fit; the whole when it is larger than a length can say.
    pub fn finish_frame(mut self) -> Result<Vec<Bytes>, EncodeError> {
        self.close_part();
        let head = self.head.as_ref().map_or(0, BytesMut::len);
        let bytes = self
            .parts
            .iter()
            .map(Bytes::len)
            .fold(head, usize::saturating_add);
        let behind = bytes.saturating_sub(4);
        match u32::try_from(behind) {
            Ok(length) => {
                let first = self
                    .head
                    .as_mut()
                    .and_then(|head| head.first_chunk_mut::<4>());
                if let Some(first) = first {
                    *first = length.to_be_bytes();
                }
            }
            Err(_) => self.refuse("frame", behind, 0xFFFF_FFFF),
        }
        self.finish()
    }

    fn close_part(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let part = self.open.split();
        if self.head.is_none() {
            self.head = Some(part);
        } else {
            self.parts.push(part.freeze());
        }
    }

    fn refuse(&mut self, value: &'static str, bytes: usize, bytes_max: usize) {
        self.refused.get_or_insert(EncodeError {
            value,
            bytes,
            bytes_max,
        });
    }
}
