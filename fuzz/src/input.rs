//! What the targets share: taking decisions from bytes, and building what a log holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::batch::{BatchBuilder, BrokerMark, BuildOptions, Codec, NewRecord};
use storage::disk::sim::SimDisk;
use storage::log::LogPlace;
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::TimestampMs;

pub(crate) const ID: LogId = LogId::new(PartitionNumber(1), LogKind::Main);
pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
pub(crate) const FIRST_SEGMENT: &str = "/data/0000000001/main/00000000000000000000.log";

/// Takes numbers from bytes; zeros when they are used up.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// Takes at most `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// Writes the CRC-32 of the bytes before `at` to it, so that what lies behind a checksum is reached.
pub(crate) fn mend_crc(bytes: &mut [u8], at: usize) {
    if bytes.len() >= at + 4 {
        let crc = storage::checksum::crc32(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// A disk with an empty data directory.
pub(crate) fn new_disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.write_file(Path::new("/data/format"), b"1").unwrap();
    disk
}

pub(crate) fn place(disk: &SimDisk) -> LogPlace {
    let root = PathBuf::from("/data");
    LogPlace {
        disk: Arc::new(disk.clone()),
        dir: root.join("0000000001/main"),
        root,
        id: ID,
    }
}

/// Builds a batch of records that all hold `fill`.
pub(crate) fn batch(record_count: u8, fill: u8, value_bytes: u16) -> Vec<u8> {
    let value = vec![fill; usize::from(value_bytes)];
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..record_count.max(1) {
        let record = NewRecord {
            timestamp: NOW,
            key: Some(&[fill]),
            value: Some(&value),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    let options = BuildOptions {
        producer: None,
        broker: BrokerMark::Client,
    };
    builder.build(options).unwrap()
}
