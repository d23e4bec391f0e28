//! How each value is laid out: the trait that all values have, and the values that every message is made of.

use bytes::Bytes;
use storage::offset::{Offset, TimestampMs};

use super::error::DecodeError;
use super::reader::Reader;
use super::writer::Writer;

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

/// Implements [`Wire`] for a struct: its fields in the order given. The struct's docs give the same order. Fields `since` an
/// API version stand behind the others, are left out of older ones, and have their default there.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? } $(since $version:literal { $($new:ident),* $(,)? })?) => {
        impl $crate::protocol::cursor::Wire for $name {
            fn write(&self, _writer: &mut $crate::protocol::cursor::Writer) {
                $($crate::protocol::cursor::Wire::write(&self.$field, _writer);)*
                $(if _writer.version() >= $version {
                    $($crate::protocol::cursor::Wire::write(&self.$new, _writer);)*
                })?
            }
            fn read(
                _reader: &mut $crate::protocol::cursor::Reader<'_>,
            ) -> Result<Self, $crate::protocol::cursor::DecodeError> {
                Ok(Self {
                    $($field: $crate::protocol::cursor::Wire::read(_reader)
                        .map_err(|error| {
                            error.of(concat!(stringify!($name), ".", stringify!($field)))
                        })?,)*
                    $($($new: if _reader.version() >= $version {
                        $crate::protocol::cursor::Wire::read(_reader).map_err(|error| {
                            error.of(concat!(stringify!($name), ".", stringify!($new)))
                        })?
                    } else {
                        Default::default()
                    },)*)?
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
        let count = reader.count()?;
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
