//! Index files: any bytes are opened or refused, every look-up ends, and what opens comes back as it was.

use storage::disk::MappedBytes;
use storage::index::Index;
use storage::offset::TimestampMs;

use super::input::ID;

const HEADER_BYTES: usize = 64;

/// Opens the bytes as they are, and with a checksum that holds.
pub fn run(data: &[u8]) {
    check(data);
    if data.len() >= HEADER_BYTES {
        let mut mended = data.to_vec();
        let crc = storage::checksum::crc32_of(&[&data[..60], &data[HEADER_BYTES..]]);
        mended[60..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        check(&mended);
    }
}

fn check(data: &[u8]) {
    let Ok((index, extent)) = Index::open(ID, MappedBytes::Owned(data.to_vec())) else {
        return;
    };
    let found = |index: &Index| {
        let deltas = [0, 1, 1000, u64::from(u32::MAX), u64::MAX];
        let times = [i64::MIN, 0, 1_700_000_000_000, i64::MAX];
        (
            deltas.map(|delta| index.at_or_before(delta)),
            times.map(|time| index.before_time(TimestampMs(time))),
        )
    };
    let again = Index::open(ID, MappedBytes::Owned(index.encode(ID, &extent)));
    let (again, extent_again) = again.expect("what was encoded opens");
    assert_eq!((found(&index), extent), (found(&again), extent_again));
}
