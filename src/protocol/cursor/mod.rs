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
//! Invariants: reading allocates in proportion to the bytes that are there, never to a number among them; how many values of
//! arrays are taken, each of which is larger in memory than on the wire, is the reader's to bound. Neither side panics: what
//! does not fit is an error with the place.

mod error;
mod reader;
mod writer;
mod wire;

pub use error::{DecodeError, EncodeError};
pub use reader::Reader;
pub(crate) use wire::wire_struct;
pub use wire::{Text, Wire};
pub use writer::Writer;
