//! The formats against files that earlier programs wrote: `fixtures/`, in hexadecimal. Set `REDRIVE_WRITE_GOLDEN` to write the
//! files anew after a format got a new version; a version that was released never changes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use storage::address::{Address, AddressKind};
use storage::batch::{
    Batch, BatchBuilder, BatchLimits, BuildOptions, Codec, HeaderRef, NewRecord, Producer, Record,
    check_produced,
};
use storage::cause::{Cause, CauseDetail, CauseKind};
use storage::checkpoint::{self, LogCheckpoint};
use storage::disk::real::RealDisk;
use storage::disk::{Disk as _, OpenMode};
use storage::index::{Extent, Index};
use storage::limits::INDEX_INTERVAL_BYTES;
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{FilePosition, Offset, TimestampMs};
use storage::segment::SegmentHeader;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const LOG: LogId = LogId::new(PartitionNumber(7), LogKind::DeadLetter);

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Returns the golden file's text; `found` becomes it when the files are written anew.
fn golden_text(name: &str, found: &str) -> String {
    if std::env::var_os("REDRIVE_WRITE_GOLDEN").is_some() {
        std::fs::write(path(name), format!("{found}\n")).unwrap();
    }
    let text =
        std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    text.trim_end().to_owned()
}

fn golden_bytes(name: &str, found: &[u8]) -> Vec<u8> {
    let mut hex = String::new();
    for line in found.chunks(32) {
        for byte in line {
            write!(hex, "{byte:02x}").unwrap();
        }
        hex.push('\n');
    }
    let digits: Vec<u32> = golden_text(name, hex.trim_end())
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte * 16 + digit) as u8;
    digits.chunks(2).map(byte).collect()
}

/// Asserts that `found` are the golden file's bytes.
fn check(name: &str, found: &[u8]) {
    assert_eq!(found, golden_bytes(name, found), "{name}");
}

const HEADERS: [HeaderRef<'_>; 2] = [
    HeaderRef {
        name: "content-type",
        value: Some(b"text/plain"),
    },
    HeaderRef {
        name: "empty",
        value: None,
    },
];

fn records() -> [NewRecord<'static>; 3] {
    const TEXT: &[u8] =
        b"again and again and again and again and again and again and again and again";
    [
        NewRecord {
            timestamp: NOW,
            key: Some(b"key"),
            value: Some(TEXT),
            headers: &HEADERS,
        },
        NewRecord {
            timestamp: NOW.saturating_add(-5),
            ..NewRecord::default()
        },
        NewRecord {
            timestamp: NOW.saturating_add(100_000),
            key: Some(b""),
            value: Some(TEXT),
            headers: &[],
        },
    ]
}

fn owned(record: &NewRecord<'_>) -> Record {
    let bytes = Bytes::copy_from_slice;
    Record {
        timestamp: record.timestamp,
        key: record.key.map(bytes),
        value: record.value.map(bytes),
        headers: record
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), header.value.map(bytes)))
            .collect(),
    }
}

fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for record in &records() {
        builder.push(record).unwrap();
    }
    let producer = Some(Producer {
        id: 0x0102_0304_0506_0708,
        epoch: 9,
        base_sequence: 1000,
    });
    let options = BuildOptions {
        producer,
        ..BuildOptions::default()
    };
    builder.build(options).unwrap()
}

#[test]
fn batches_of_earlier_programs_pass_the_check_and_read_as_their_records() {
    for (codec, name) in [
        (Codec::None, "batch-none-v1.hex"),
        (Codec::Lz4, "batch-lz4-v1.hex"),
        (Codec::Zstd, "batch-zstd-v1.hex"),
    ] {
        let built = batch(codec);
        let golden = golden_bytes(name, &built);
        // How a codec packs may change with its library; that its frames unpack may not.
        assert!(codec != Codec::None || built == golden, "{name}");
        let header = check_produced(&golden, &BatchLimits::default()).unwrap();
        assert_eq!(header.attributes.codec, codec, "{name}");
        let read = Batch::decode(golden.into()).unwrap().records(1 << 20);
        assert_eq!(
            read.unwrap(),
            records().each_ref().map(|r| owned(r)),
            "{name}"
        );
    }
}

#[test]
fn cause() {
    let cause = Cause {
        kind: CauseKind::Republish,
        log: LOG,
        offset: Offset(0x1122_3344_5566_7788),
        detail: CauseDetail {
            request_id: Some("request".to_owned()),
            attempt: Some(3),
            due: Some(NOW),
            group: Some("group".to_owned()),
        },
    };
    check("cause-v1.hex", &cause.encode());
    assert_eq!(Cause::decode(&cause.encode()), Ok(cause));
}

#[test]
fn address() {
    let mut lines = Vec::new();
    for (kind, partition, offset) in [
        (AddressKind::Message, 0, 0),
        (AddressKind::Message, 7, 1_000_000),
        (AddressKind::Letter, u32::MAX, u64::MAX),
    ] {
        let address = Address {
            kind,
            partition: PartitionNumber(partition),
            offset: Offset(offset),
        };
        lines.push(address.to_string());
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    let found = lines.join("\n");
    assert_eq!(found, golden_text("address-v1.txt", &found));
}

#[test]
fn segment_header() {
    let header = SegmentHeader {
        log: LOG,
        base_offset: Offset(0x1122_3344_5566_7788),
        prev_header_crc: 0x99aa_bbcc,
    };
    check("segment-header-v1.hex", &header.encode());
    assert_eq!(SegmentHeader::decode(&header.encode()).unwrap(), header);
}

#[test]
fn checkpoint_slot() {
    let entry = |number, state: &[u8]| LogCheckpoint {
        id: LogId::new(PartitionNumber(number), LogKind::Main),
        log_start: Offset(10),
        durable_end: Offset(0x0102_0304_0506_0708),
        segment_base: Offset(20),
        position: FilePosition(4096),
        header_crc: 0x99aa_bbcc,
        append_time: NOW,
        state: state.to_vec(),
    };
    let entries = vec![entry(1, b""), entry(2, b"state")];
    let bytes = checkpoint::encode(5, &entries);
    check("checkpoint-v1.hex", &bytes);
    assert_eq!(checkpoint::decode(&bytes).unwrap(), (5, entries));
}

#[test]
fn index_of_a_sealed_segment() {
    let base = Offset(1000);
    let mut index = Index::default();
    for number in 0..3_u32 {
        index.note(
            base,
            Offset(1000 + u64::from(number) * 50),
            FilePosition(32 + u64::from(number) * INDEX_INTERVAL_BYTES),
            NOW.saturating_add(i64::from(number)),
        );
    }
    let extent = Extent {
        base_offset: base,
        end_offset: Offset(1150),
        end: FilePosition(200_000),
        first_append_time: NOW,
        last_append_time: NOW.saturating_add(2),
        last_header_crc: 0x99aa_bbcc,
    };
    let bytes = index.encode(LOG, &extent);
    check("index-v1.hex", &bytes);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    std::fs::write(&path, &bytes).unwrap();
    let file = RealDisk.open(&path, OpenMode::Read).unwrap();
    let (read, found) = Index::open(LOG, file.map().unwrap()).unwrap();
    assert_eq!(found, extent);
    assert_eq!(read.at_or_before(99), index.at_or_before(99));
}
