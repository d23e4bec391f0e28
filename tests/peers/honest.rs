//! Honest clients: frames of the binary protocol over a plain socket, and rounds of work over both surfaces that must get
//! through whatever others do.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use redrive::protocol::create_topic::CreateTopicRequest;
use redrive::protocol::error_code::Refusal;
use redrive::protocol::frame::{Request, RequestHeader, decode_answer, encode_request};
use redrive::protocol::handshake::HandshakeRequest;
use redrive::protocol::produce::{Acks, ProduceBatch, ProduceRequest};
use redrive::protocol::settings::{Durability, SettingsChange};
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord};
use storage::offset::TimestampMs;

use crate::process::{Broker, Http, PATIENCE, TOKEN};

pub(crate) const TOPIC: &str = "t";

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

pub(crate) fn handshake() -> HandshakeRequest {
    HandshakeRequest {
        version_min: 1,
        version_max: 1,
        client_name: "by hand".to_owned(),
        token: Some(TOKEN.to_owned()),
    }
}

/// A batch of one record.
pub(crate) fn batch(value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = NewRecord {
        timestamp: TimestampMs(1),
        key: None,
        value: Some(value),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.build(BuildOptions::default()).unwrap()
}

pub(crate) fn produce(batch: Vec<u8>) -> ProduceRequest {
    ProduceRequest {
        acks: Acks::default(),
        batches: vec![ProduceBatch {
            topic: TOPIC.to_owned(),
            partition: 0,
            batch: batch.into(),
        }],
    }
}

/// A connection of the binary protocol.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// Connects and shows the token.
    pub(crate) fn shaken(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address);
        raw.call(&handshake()).unwrap();
        raw
    }

    /// Sends bytes. A peer that has gone is no error here: what it answers counts.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// Reads the body of a frame; `None` at the end of the stream.
    pub(crate) fn body(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if is_patience(&error) => panic!("neither an answer nor an end"),
            Err(_) => return None,
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some(body)
    }

    #[track_caller]
    pub(crate) fn call<R: Request>(&mut self, request: &R) -> Result<R::Answer, Refusal> {
        self.send(&frame(9, request));
        let body = self.body().expect("the broker answers");
        let (id, answer) = decode_answer::<R::Answer>(&body.into()).unwrap();
        // A refused handshake names no request.
        assert!(id == 9 || answer.is_err());
        answer
    }
}

fn is_patience(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Waits until the broker ends a connection, and returns how many bytes came before.
#[track_caller]
pub(crate) fn ended(stream: &mut TcpStream) -> u64 {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match std::io::copy(stream, &mut std::io::sink()) {
        Ok(count) => count,
        Err(error) if is_patience(&error) => panic!("the broker keeps the connection"),
        Err(_) => 0,
    }
}

pub(crate) fn create_topic(broker: &Broker) {
    let request = CreateTopicRequest {
        name: TOPIC.to_owned(),
        partition_count: 1,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    Raw::shaken(broker.protocol).call(&request).unwrap();
}

/// Does a little over each surface, on connections of its own.
pub(crate) fn round(broker: &Broker) {
    let mut raw = Raw::shaken(broker.protocol);
    let answer = raw.call(&produce(batch(b"honest"))).unwrap();
    assert!(answer.batches[0].is_ok(), "{answer:?}");
    let mut http = Http::connect(broker.http);
    let later = [("upstash-delay", "1h")];
    let published = http.post("/v2/publish/http://127.0.0.1:1/", &later, b"honest");
    assert!(published.json(200)["messageId"].is_string());
    http.get("/admin/v1/topics").expect(200);
}
