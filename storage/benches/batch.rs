//! What a record costs to build, to check and to decode, at 100 bytes and at 1 KiB.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "benches may panic, and the macros of criterion write undocumented functions"
)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use storage::batch::{
    Batch, BatchBuilder, BatchLimits, BuildOptions, Codec, NewRecord, Records, check_produced,
    unpack,
};
use storage::limits::BATCH_BYTES_CEILING;
use storage::offset::TimestampMs;

const RECORDS: u32 = 1000;
const KEY: [u8; 8] = *b"customer";
const START: TimestampMs = TimestampMs(1_700_000_000_000);
/// Value bytes: of a record of 100 bytes, key included, and of one of 1 KiB.
const VALUE_BYTES: [(&str, usize); 2] = [("100 B", 92), ("1 KiB", 1016)];

/// Bytes that compress about as well as small JSON documents do.
fn value(bytes: usize) -> Vec<u8> {
    let words = [
        r#"{"order":"#,
        r#","state":"paid","sum":"#,
        r#"},"note":null,"#,
    ];
    let mut state = 7_u32;
    let mut out = Vec::new();
    while out.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(words.get(out.len() % 3).unwrap().as_bytes());
        out.extend_from_slice(format!("{state:x}").as_bytes());
    }
    out.truncate(bytes);
    out
}

fn fill(builder: &mut BatchBuilder, value: &[u8]) {
    for number in 0..RECORDS {
        let record = NewRecord {
            timestamp: START.saturating_add(i64::from(number / 16)),
            key: Some(&KEY),
            value: Some(value),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
}

fn built(codec: Codec, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    fill(&mut builder, value);
    builder.build(BuildOptions::default()).unwrap()
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    for (name, bytes) in VALUE_BYTES {
        let value = value(bytes);
        let mut builder = BatchBuilder::new(Codec::None);
        group.bench_function(BenchmarkId::new("push", name), |b| {
            b.iter(|| {
                builder.clear();
                fill(&mut builder, black_box(&value));
                builder.unpacked_bytes()
            });
        });
        group.bench_function(BenchmarkId::new("push and build", name), |b| {
            b.iter(|| {
                fill(&mut builder, black_box(&value));
                let batch = builder.build(BuildOptions::default()).unwrap();
                black_box(&batch);
                builder.recycle(batch);
            });
        });
    }
    group.finish();
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("check");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    let limits = BatchLimits::default();
    for (name, bytes) in VALUE_BYTES {
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let batch = built(codec, &value(bytes));
            group.bench_function(BenchmarkId::new(format!("{codec:?}"), name), |b| {
                b.iter(|| check_produced(black_box(&batch), &limits).unwrap());
            });
        }
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    for (name, bytes) in VALUE_BYTES {
        let bytes = Bytes::from(built(Codec::None, &value(bytes)));
        let batch = Batch::decode(bytes.clone()).unwrap();
        group.bench_function(BenchmarkId::new("checksums", name), |b| {
            b.iter(|| Batch::decode(black_box(bytes.clone())).unwrap());
        });
        group.bench_function(BenchmarkId::new("walk", name), |b| {
            b.iter(|| {
                let section =
                    unpack(batch.header(), black_box(batch.body()), BATCH_BYTES_CEILING).unwrap();
                Records::new(batch.header(), &section)
                    .map(|record| record.unwrap().offset_delta)
                    .fold(0, u32::wrapping_add)
            });
        });
        group.bench_function(BenchmarkId::new("own", name), |b| {
            b.iter(|| batch.records(BATCH_BYTES_CEILING).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, encode, check, decode);
criterion_main!(benches);
