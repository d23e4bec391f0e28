//! Checkpoint slots: any bytes are decoded or refused, and what decodes comes back as it was.

use storage::checkpoint::{decode, encode};
use storage::producers::{ProducerLimits, Producers};

use super::input::mend_crc;

/// Decodes the bytes as they are, and with a checksum that holds.
pub fn run(data: &[u8]) {
    check(data);
    producers(data);
    if let Some(length) = data.get(16..20) {
        let body = u32::from_be_bytes(length.try_into().unwrap());
        let at = usize::try_from(body).unwrap().saturating_add(24);
        if at < data.len() {
            let mut mended = data.to_vec();
            mend_crc(&mut mended, at);
            check(&mended);
        }
    }
}

fn check(data: &[u8]) {
    if let Ok((sequence, entries)) = decode(data) {
        let again = decode(&encode(sequence, &entries));
        assert_eq!(again, Ok((sequence, entries)));
    }
}

/// What a checkpoint holds of a partition's producers.
fn producers(data: &[u8]) {
    let limits = ProducerLimits::default();
    if let Ok(producers) = Producers::decode(limits, data) {
        let again = Producers::decode(limits, &producers.encode());
        assert_eq!(again, Ok(producers));
    }
}
