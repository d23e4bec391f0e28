//! Batches: any bytes are refused or read, and whatever the produce check lets through can be read by every reader.

use bytes::Bytes;
use storage::batch::{Batch, BatchLimits, HEADER_BYTES, check_produced};

use super::input::mend_crc;

const UNPACKED_BYTES_MAX: u32 = 1 << 20;

/// Reads the bytes as they are, and with a length and checksums that hold.
pub fn run(data: &[u8]) {
    check(data);
    if data.len() >= HEADER_BYTES {
        let mut mended = data.to_vec();
        let length = u32::try_from(data.len()).unwrap();
        mended[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = storage::checksum::crc32(&data[HEADER_BYTES..]);
        mended[52..56].copy_from_slice(&crc.to_be_bytes());
        mend_crc(&mut mended, HEADER_BYTES - 4);
        check(&mended);
    }
}

fn check(data: &[u8]) {
    let limits = BatchLimits {
        unpacked_bytes_max: UNPACKED_BYTES_MAX,
        ..BatchLimits::new(1 << 16, 1 << 18)
    };
    let checked = check_produced(data, &limits);
    let batch = Batch::decode(Bytes::copy_from_slice(data));
    let records = batch
        .as_ref()
        .map(|batch| batch.records(UNPACKED_BYTES_MAX));
    if let Ok(header) = checked {
        let records = records.expect("what is produced decodes");
        let records = records.expect("what is produced has records");
        assert_eq!(u32::try_from(records.len()), Ok(header.record_count));
    }
}
