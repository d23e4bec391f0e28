//! CRC-32 (IEEE 802.3, polynomial 0x04C11DB7 reflected), the one checksum of the project and the only place that computes it.
//!
//! The CRC of no bytes is 0, so a run of zeros must never be able to pass for a valid structure: every structure that
//! carries a checksum opens with a non-zero magic that the checksum covers.

/// Returns the CRC-32 of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the CRC-32 of the parts, one after the other, as if they were one slice.
#[must_use]
pub fn crc32_of(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
