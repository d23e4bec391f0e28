//! Frames made by hand, and a socket that sends what it is told to.

use std::net::SocketAddr;

use bytes::Bytes;
use redrive::protocol::error_code::Refusal;
use redrive::protocol::frame::{Request, RequestHeader, decode_answer, encode_request};
use redrive::protocol::handshake::HandshakeRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::bounded;

/// Encodes a request as the bytes of its frame.
pub(crate) fn frame<R: Request>(id: u32, request: &R) -> Vec<u8> {
    let header = RequestHeader {
        api_key: R::KEY.number(),
        api_version: R::KEY.version(),
        correlation_id: id,
    };
    let parts = encode_request(header, |writer| request.write(writer)).unwrap();
    parts.concat()
}

/// Puts a frame together from a header's numbers and any payload.
pub(crate) fn frame_of(api_key: u16, api_version: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len() + 8)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.extend(api_key.to_be_bytes());
    bytes.extend(api_version.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn handshake() -> HandshakeRequest {
    HandshakeRequest {
        version_min: 1,
        version_max: 1,
        client_name: "by hand".to_owned(),
        token: None,
    }
}

/// A socket.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects and shakes hands.
    pub(crate) async fn shaken(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.send(&frame(7, &handshake())).await;
        let (id, answer) = raw.answer::<HandshakeRequest>().await.unwrap();
        assert_eq!(id, 7);
        answer.unwrap();
        raw
    }

    /// Sends bytes. A peer that has gone is no error here: what it answered counts.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Reads the body of a frame; `None` at the end of the stream.
    pub(crate) async fn body(&mut self) -> Option<Bytes> {
        bounded(async {
            let length = self.stream.read_u32().await.ok()?;
            let mut body = vec![0; length as usize];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Bytes::from(body))
        })
        .await
    }

    /// Reads an answer; `None` at the end of the stream.
    pub(crate) async fn answer<R: Request>(&mut self) -> Option<(u32, Result<R::Answer, Refusal>)> {
        let body = self.body().await?;
        Some(decode_answer(&body).unwrap())
    }
}
