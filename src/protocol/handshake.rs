//! Handshake: the first request of a connection, and only the first. Its layout never changes.
//!
//! | request | type | meaning |
//! |---|---|---|
//! | magic | `u32` | [`MAGIC`], so that a stray HTTP client is recognised |
//! | version min, max | `u16`, `u16` | protocol versions that the client speaks, inclusive |
//! | client name | string | program and version, for logs |
//! | token | optional string | none when the broker asks for none |
//!
//! | answer | type | meaning |
//! |---|---|---|
//! | version | `u16` | the protocol version of this connection: the largest that both speak |
//! | broker version | string | for people |
//! | frame bytes max | `u32` | largest body, in either direction |
//! | batch bytes max | `u32` | largest batch that any topic takes by default |
//! | record bytes max | `u32` | largest record that any topic takes by default |
//!
//! Before a handshake was accepted a body has at most
//! [`HANDSHAKE_FRAME_BYTES_MAX`](crate::limits::HANDSHAKE_FRAME_BYTES_MAX) bytes. After a refused one the broker
//! closes the connection.

use std::fmt;

use super::api_key::ApiKey;
use super::cursor::{DecodeError, Reader, Wire, Writer, wire_struct};
use super::frame::Request;

/// Opens the payload of a handshake: `RDRV`.
pub const MAGIC: u32 = 0x5244_5256;
/// The protocol version that this build speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// Opens a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeRequest {
    /// Smallest protocol version that the client speaks.
    pub version_min: u16,
    /// Largest protocol version that the client speaks (inclusive).
    pub version_max: u16,
    /// Program and version, for logs.
    pub client_name: String,
    /// The secret that the broker asks for.
    pub token: Option<String>,
}

impl HandshakeRequest {
    /// Returns the largest protocol version that both sides speak.
    #[must_use]
    pub fn chosen_version(&self) -> Option<u16> {
        (self.version_min..=self.version_max)
            .contains(&PROTOCOL_VERSION)
            .then_some(PROTOCOL_VERSION)
    }
}

/// Never shows the token.
impl fmt::Debug for HandshakeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeRequest")
            .field("version_min", &self.version_min)
            .field("version_max", &self.version_max)
            .field("client_name", &self.client_name)
            .field("has_token", &self.token.is_some())
            .finish()
    }
}

impl Wire for HandshakeRequest {
    fn write(&self, writer: &mut Writer) {
        MAGIC.write(writer);
        self.version_min.write(writer);
        self.version_max.write(writer);
        self.client_name.write(writer);
        self.token.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let magic = u32::read(reader).map_err(|error| error.of("HandshakeRequest.magic"))?;
        if magic != MAGIC {
            let error = reader.wrong(4, u64::from(magic));
            return Err(error.of("HandshakeRequest.magic"));
        }
        Ok(Self {
            version_min: Wire::read(reader).map_err(|e| e.of("HandshakeRequest.version_min"))?,
            version_max: Wire::read(reader).map_err(|e| e.of("HandshakeRequest.version_max"))?,
            client_name: Wire::read(reader).map_err(|e| e.of("HandshakeRequest.client_name"))?,
            token: Wire::read(reader).map_err(|e| e.of("HandshakeRequest.token"))?,
        })
    }
}

/// What the connection may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// The protocol version of this connection.
    pub version: u16,
    /// Version of the broker, for people.
    pub broker_version: String,
    /// Largest body of a frame in either direction, in bytes.
    pub frame_bytes_max: u32,
    /// Largest batch that a topic takes by default, in bytes.
    pub batch_bytes_max: u32,
    /// Largest record that a topic takes by default, in bytes.
    pub record_bytes_max: u32,
}
wire_struct!(HandshakeAnswer {
    version,
    broker_version,
    frame_bytes_max,
    batch_bytes_max,
    record_bytes_max,
});

impl Request for HandshakeRequest {
    const KEY: ApiKey = ApiKey::Handshake;
    type Answer = HandshakeAnswer;
}
