//! The values that messages are made of, and the checked reader and writer of them.
//!
//! | value | bytes | layout |
//! |---|---|---|
//! | `u8` `u16` `u32` `u64` | 1 2 4 8 | big-endian |
//! | `i64`, time | 8 | big-endian two's complement; a time is in milliseconds since 1970-01-01T00:00:00Z |
//! | offset | 8 | `u64` |
//! | bool | 1 | 0 or 1, nothing else |
//! | string | 2 + n | `u16` length in bytes, then UTF-8 |
//! | text | 4 + n | `u32` length in bytes, then UTF-8; where 65,535 bytes may not be enough |
//! | bytes | 4 + n | `u32` length, then the bytes |
//! | optional value | 1 or 1 + n | 0; or 1, then the value |
//! | array | 4 + n | `u32` count, then the values one after the other; each takes at least one byte |
//!
//! Invariants: reading allocates in proportion to the bytes that are there, never to a number among them. Neither side
//! panics: what does not fit is an error with the place.

use bytes::{BufMut, Bytes, BytesMut};
use storage::offset::{Offset, TimestampMs};

use super::limits::STRING_BYTES_MAX;

/// From this size on a value of shared bytes stands in its own part of the output instead of being copied.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// A message that does not decode. `field` is the innermost field, as `Message.field`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{field} at byte {position} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of the frame's body.
        position: usize,
        /// Bytes that it needs (for an array: at least).
        needed: u64,
        /// Bytes that are left.
        available: usize,
    },
    /// The value is none that this version knows.
    #[error("{field} at byte {position} has the value {value}, which means nothing here")]
    Value {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of the frame's body.
        position: usize,
        /// The value.
        value: u64,
    },
    /// A string is not UTF-8.
    #[error("{field} at byte {position} is not UTF-8")]
    Utf8 {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of the frame's body.
        position: usize,
    },
    /// Bytes are left behind the message.
    #[error("{bytes} bytes are left behind the message, from byte {position} on")]
    Trailing {
        /// Where the message ends, in bytes from the start of the frame's body.
        position: usize,
        /// How many bytes are left.
        bytes: usize,
    },
}

impl DecodeError {
    /// Names the field of an error that has no name yet.
    #[must_use]
    pub fn of(mut self, name: &'static str) -> Self {
        match &mut self {
            Self::Truncated { field, .. }
            | Self::Value { field, .. }
            | Self::Utf8 { field, .. } => {
                if field.is_empty() {
                    *field = name;
                }
            }
            Self::Trailing { .. } => {}
        }
        self
    }
}

/// A message that cannot be encoded: one of its values is longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {value} of {bytes} bytes or items does not fit, the most is {bytes_max}")]
pub struct EncodeError {
    /// What it is: string, text, bytes, array or frame.
    pub value: &'static str,
    /// Its length.
    pub bytes: usize,
    /// The largest length.
    pub bytes_max: usize,
}

/// Reads values one after the other from the body of a frame.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Bytes>,
    position: usize,
}

impl<'a> Reader<'a> {
    /// Reads from borrowed bytes; values of type [`Bytes`] are copied.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            shared: None,
            position: 0,
        }
    }

    /// Reads from shared bytes; values of type [`Bytes`] share them.
    #[must_use]
    pub fn shared(bytes: &'a Bytes) -> Self {
        Self {
            bytes,
            shared: Some(bytes),
            position: 0,
        }
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

    fn truncated(&self, needed: u64) -> DecodeError {
        DecodeError::Truncated {
            field: "",
            position: self.position,
            needed,
            available: self.remaining(),
        }
    }

    fn utf8(&mut self, length: usize) -> Result<String, DecodeError> {
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

/// Writes values one after the other. Large shared bytes are not copied: the output comes in parts.
///
/// The first value that does not fit is remembered and told at the end, so that encoding reads as a list of values.
#[derive(Debug, Default)]
pub struct Writer {
    /// The first part, still open to the frame's length.
    head: Option<BytesMut>,
    parts: Vec<Bytes>,
    open: BytesMut,
    refused: Option<EncodeError>,
}

impl Writer {
    /// Begins an empty output.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

/// A value that messages are made of.
pub trait Wire: Sized {
    /// Appends the value.
    fn write(&self, writer: &mut Writer);

    /// Reads the value.
    ///
    /// # Errors
    /// The [`DecodeError`] that was met first.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

macro_rules! wire_number {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn write(&self, writer: &mut Writer) {
                writer.put(&self.to_be_bytes());
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(reader.array()?))
            }
        }
    )*};
}
wire_number!(u8, u16, u32, u64, i64);

/// Implements [`Wire`] for a struct: its fields in the order given. The struct's docs give the same order.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::protocol::cursor::Wire for $name {
            fn write(&self, _writer: &mut $crate::protocol::cursor::Writer) {
                $($crate::protocol::cursor::Wire::write(&self.$field, _writer);)*
            }
            fn read(
                _reader: &mut $crate::protocol::cursor::Reader<'_>,
            ) -> Result<Self, $crate::protocol::cursor::DecodeError> {
                Ok(Self {
                    $($field: $crate::protocol::cursor::Wire::read(_reader)
                        .map_err(|error| {
                            error.of(concat!(stringify!($name), ".", stringify!($field)))
                        })?,)*
                })
            }
        }
    };
}
pub(crate) use wire_struct;

impl Wire for bool {
    fn write(&self, writer: &mut Writer) {
        writer.put(&[u8::from(*self)]);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::read(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(reader.wrong(1, u64::from(other))),
        }
    }
}

impl Wire for String {
    fn write(&self, writer: &mut Writer) {
        writer.string(self);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = u16::read(reader)?;
        reader.utf8(usize::from(length))
    }
}

/// A string whose length is a `u32`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(pub String);

impl Text {
    /// Returns the characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Wire for Text {
    fn write(&self, writer: &mut Writer) {
        writer.length("text", self.0.len());
        writer.put(self.0.as_bytes());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length()?;
        reader.utf8(length).map(Self)
    }
}

impl Wire for Bytes {
    fn write(&self, writer: &mut Writer) {
        writer.shared(self);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.length()?;
        reader.take_shared(length)
    }
}

impl Wire for Offset {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::read(reader).map(Self)
    }
}

impl Wire for TimestampMs {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        i64::read(reader).map(Self)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, writer: &mut Writer) {
        self.is_some().write(writer);
        if let Some(value) = self {
            value.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::read(reader)? {
            Some(T::read(reader)?)
        } else {
            None
        })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.length("array", self.len());
        for value in self {
            value.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.length()?;
        // Every value takes at least a byte, so a count above the bytes that are left is a lie.
        if count > reader.remaining() {
            return Err(reader.truncated(wide(count)));
        }
        let mut values = Self::new();
        for _ in 0..count {
            values.push(T::read(reader)?);
        }
        Ok(values)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
        self.1.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
