//! Tests of the batch format.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic,
    reason = "tests may panic"
)]

mod builder;
mod codec;
mod header;
mod produced;
mod record;
mod round_trip;
mod varint;

use super::*;
use crate::checksum::crc32;
use crate::offset::TimestampMs;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

fn value(text: &str) -> NewRecord<'_> {
    NewRecord {
        timestamp: NOW,
        value: Some(text.as_bytes()),
        ..NewRecord::default()
    }
}

fn build(codec: Codec, records: &[NewRecord<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.build(BuildOptions::default()).unwrap()
}

/// The batch with this section, its checksums right, whatever the section holds.
fn sealed(header: BatchHeader, section: &[u8]) -> Vec<u8> {
    packed(header, section.len() as u32, section)
}

/// The batch with this body, its checksums right, whatever the body unpacks to.
fn packed(mut header: BatchHeader, unpacked_bytes: u32, body: &[u8]) -> Vec<u8> {
    header.length = HEADER_BYTES_U32 + body.len() as u32;
    header.unpacked_bytes = unpacked_bytes;
    header.body_crc = crc32(body);
    [header.encode().as_slice(), body].concat()
}

fn header_of(batch: &[u8]) -> BatchHeader {
    BatchHeader::decode(batch).unwrap()
}
