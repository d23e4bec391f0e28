//! What a frame of the binary protocol costs: encoding and decoding a small request, and a produce request whose batch of
//! 1 MiB must not be copied.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "benches may panic, and the macros of criterion write undocumented functions"
)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use redrive::protocol::cursor::{Reader, Wire};
use redrive::protocol::fetch::{FetchPartition, FetchRequest};
use redrive::protocol::frame::{
    LENGTH_BYTES, Request, RequestHeader, body_bytes, decode_payload, encode_request,
};
use redrive::protocol::produce::{Acks, ProduceBatch, ProduceRequest};
use storage::offset::Offset;

const FRAME_BYTES_MAX: u32 = 8 << 20;

fn header<R: Request>() -> RequestHeader {
    RequestHeader {
        api_key: R::KEY.number(),
        api_version: R::KEY.version(),
        correlation_id: 7,
    }
}

fn encode<R: Request>(request: &R) -> Vec<Bytes> {
    encode_request(header::<R>(), |writer| request.write(writer)).unwrap()
}

/// Decodes the body of a frame.
fn decode<R: Request>(body: &Bytes) -> R {
    let mut reader = Reader::shared(body);
    let header = RequestHeader::read(&mut reader).unwrap();
    assert!(header.key() == Some(R::KEY));
    decode_payload(&mut reader).unwrap()
}

fn bench_request<R: Request>(criterion: &mut Criterion, name: &str, request: &R) {
    let frame = Bytes::from(encode(request).concat());
    let bytes = body_bytes(&frame, FRAME_BYTES_MAX).unwrap().unwrap();
    let body = frame.slice(LENGTH_BYTES..);
    assert_eq!(body.len(), bytes as usize);
    let mut group = criterion.benchmark_group("protocol");
    group.throughput(Throughput::Bytes(u64::from(bytes)));
    group.bench_function(format!("encode_{name}"), |b| {
        b.iter(|| black_box(encode(request)));
    });
    group.bench_function(format!("decode_{name}"), |b| {
        b.iter(|| black_box(decode::<R>(&body)));
    });
    group.finish();
}

fn produce(batch_count: u32, batch_bytes: usize) -> ProduceRequest {
    let batches = (0..batch_count).map(|partition| ProduceBatch {
        topic: "orders".to_owned(),
        partition,
        batch: Bytes::from(vec![7; batch_bytes]),
    });
    ProduceRequest {
        acks: Acks::TopicDefault,
        batches: batches.collect(),
    }
}

fn frames(criterion: &mut Criterion) {
    let fetch = FetchRequest {
        partitions: vec![FetchPartition {
            topic: "orders".to_owned(),
            partition: 3,
            offset: Offset(1 << 40),
            bytes_max: 1 << 20,
        }],
        bytes_min: 1,
        bytes_max: 8 << 20,
        wait_ms_max: 500,
    };
    bench_request(criterion, "fetch", &fetch);
    bench_request(criterion, "produce_1kib", &produce(1, 1 << 10));
    bench_request(criterion, "produce_1mib", &produce(1, 1 << 20));
    bench_request(criterion, "produce_64_partitions", &produce(64, 16 << 10));
}

criterion_group!(benches, frames);
criterion_main!(benches);
